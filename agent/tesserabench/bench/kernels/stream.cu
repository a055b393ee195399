// variants: ELEMENT=float,double
// read, fill and scale, sixteen bytes a thread and step; the tail element by element.
struct alignas(16) Pack {
    ELEMENT lane[16 / sizeof(ELEMENT)];
};

__device__ unsigned long long thread_of_grid()
{
    return (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
}

__device__ unsigned long long threads_of_grid()
{
    return (unsigned long long)gridDim.x * blockDim.x;
}

// partial[block] = the exclusive or of the 32-bit words this block visits: reading at the price of four operations a
// pack, with a result that is exact in any order. Blocks have at most 1024 threads.
extern "C" __global__ void read(const unsigned int* __restrict__ words, unsigned int* __restrict__ partial,
                                unsigned long long count)
{
    __shared__ unsigned int warps[32];
    const unsigned long long packs = count / 4;
    const uint4* from = reinterpret_cast<const uint4*>(words);
    unsigned int seen = 0;
    for (unsigned long long i = thread_of_grid(); i < packs; i += threads_of_grid()) {
        const uint4 x = from[i];
        seen ^= x.x ^ x.y ^ x.z ^ x.w;
    }
    for (unsigned long long i = packs * 4 + thread_of_grid(); i < count; i += threads_of_grid()) {
        seen ^= words[i];
    }
    for (int offset = 16; offset > 0; offset /= 2) {
        seen ^= __shfl_xor_sync(0xffffffffu, seen, offset);
    }
    if (threadIdx.x % 32 == 0) {
        warps[threadIdx.x / 32] = seen;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        seen = 0;
        for (unsigned int warp = 0; warp < (blockDim.x + 31) / 32; ++warp) {
            seen ^= warps[warp];
        }
        partial[blockIdx.x] = seen;
    }
}

extern "C" __global__ void fill(ELEMENT* __restrict__ b, ELEMENT value, unsigned long long count)
{
    const unsigned long long width = sizeof(Pack) / sizeof(ELEMENT);
    const unsigned long long packs = count / width;
    Pack* to = reinterpret_cast<Pack*>(b);
    Pack x;
#pragma unroll
    for (unsigned int lane = 0; lane < 16 / sizeof(ELEMENT); ++lane) {
        x.lane[lane] = value;
    }
    for (unsigned long long i = thread_of_grid(); i < packs; i += threads_of_grid()) {
        to[i] = x;
    }
    for (unsigned long long i = packs * width + thread_of_grid(); i < count; i += threads_of_grid()) {
        b[i] = value;
    }
}

extern "C" __global__ void scale(const ELEMENT* __restrict__ a, ELEMENT* __restrict__ b, ELEMENT s,
                                 unsigned long long count)
{
    const unsigned long long width = sizeof(Pack) / sizeof(ELEMENT);
    const unsigned long long packs = count / width;
    const Pack* from = reinterpret_cast<const Pack*>(a);
    Pack* to = reinterpret_cast<Pack*>(b);
    for (unsigned long long i = thread_of_grid(); i < packs; i += threads_of_grid()) {
        Pack x = from[i];
#pragma unroll
        for (unsigned int lane = 0; lane < 16 / sizeof(ELEMENT); ++lane) {
            x.lane[lane] *= s;
        }
        to[i] = x;
    }
    for (unsigned long long i = packs * width + thread_of_grid(); i < count; i += threads_of_grid()) {
        b[i] = a[i] * s;
    }
}
