// variants: ELEMENT=float,double
// partial[block] = the sum of the elements this block visits. Launched again over the partial sums with one block, it
// leaves the total. Fixed shape, no atomics: the same inputs give the same bits. Blocks have at most 1024 threads.
struct alignas(16) Pack {
    ELEMENT lane[16 / sizeof(ELEMENT)];
};

__device__ ELEMENT warp_sum(ELEMENT value)
{
    for (int offset = 16; offset > 0; offset /= 2) {
        value += __shfl_down_sync(0xffffffffu, value, offset);
    }
    return value;
}

extern "C" __global__ void reduction(const ELEMENT* __restrict__ a, ELEMENT* __restrict__ partial,
                                     unsigned long long count)
{
    __shared__ ELEMENT warps[32];
    const unsigned long long width = sizeof(Pack) / sizeof(ELEMENT);
    const unsigned long long packs = count / width;
    const unsigned long long stride = (unsigned long long)gridDim.x * blockDim.x;
    const unsigned long long first = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    const Pack* from = reinterpret_cast<const Pack*>(a);
    ELEMENT sum = 0;
    for (unsigned long long i = first; i < packs; i += stride) {
        const Pack x = from[i];
#pragma unroll
        for (unsigned int lane = 0; lane < 16 / sizeof(ELEMENT); ++lane) {
            sum += x.lane[lane];
        }
    }
    for (unsigned long long i = packs * width + first; i < count; i += stride) {
        sum += a[i];
    }
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) {
        warps[threadIdx.x / 32] = sum;
    }
    __syncthreads();
    if (threadIdx.x < 32) {
        const unsigned int used = (blockDim.x + 31) / 32;
        sum = warp_sum(threadIdx.x < used ? warps[threadIdx.x] : ELEMENT(0));
        if (threadIdx.x == 0) {
            partial[blockIdx.x] = sum;
        }
    }
}
