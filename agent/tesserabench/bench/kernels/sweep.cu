// Reads a buffer larger than the last-level cache, so that what was cached before is evicted and the lines left behind
// are clean: a write sweep would leave dirty lines whose write-back the next kernel pays for.
extern "C" __global__ void sweep(const uint4* __restrict__ buffer, unsigned int* __restrict__ sink,
                                 unsigned long long count)
{
    const unsigned long long stride = (unsigned long long)gridDim.x * blockDim.x;
    unsigned int seen = 0;
    for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        const uint4 x = buffer[i];
        seen ^= x.x ^ x.y ^ x.z ^ x.w;
    }
    if (seen == 0x9e3779b9u) { // never true for the buffer we fill, but the compiler cannot know
        *sink = seen;
    }
}

// Writes the buffer instead: the lines left behind are dirty. `value` changes nothing that matters.
extern "C" __global__ void sweep_write(uint4* __restrict__ buffer, unsigned int value, unsigned long long count)
{
    const unsigned long long stride = (unsigned long long)gridDim.x * blockDim.x;
    for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        buffer[i] = make_uint4(value, value, value, value);
    }
}
