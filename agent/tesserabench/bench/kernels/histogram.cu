// variants: BINS=256,2048
// Counts of value % BINS. Every block counts into its own copies in shared memory, one for each pair of warps while
// they fit, and adds them to the result at its end. Blocks have 256 threads.
#define THREADS 256
#define COPIES (BINS <= 1024 ? 4 : 1)

extern "C" __global__ void histogram_clear(unsigned int* bins)
{
    const unsigned int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < BINS) {
        bins[i] = 0;
    }
}

extern "C" __global__ __launch_bounds__(THREADS) void histogram(const unsigned int* __restrict__ values,
                                                                unsigned int* bins, unsigned long long count)
{
    __shared__ unsigned int counts[COPIES][BINS];
    for (unsigned int i = threadIdx.x; i < COPIES * BINS; i += THREADS) {
        counts[i / BINS][i % BINS] = 0;
    }
    __syncthreads();
    unsigned int* const mine = counts[threadIdx.x / 32 % COPIES];
    const unsigned long long packs = count / 4;
    const unsigned long long stride = (unsigned long long)gridDim.x * THREADS;
    const unsigned long long first = (unsigned long long)blockIdx.x * THREADS + threadIdx.x;
    const uint4* from = reinterpret_cast<const uint4*>(values);
    for (unsigned long long i = first; i < packs; i += stride) {
        const uint4 x = from[i];
        atomicAdd(&mine[x.x % BINS], 1u);
        atomicAdd(&mine[x.y % BINS], 1u);
        atomicAdd(&mine[x.z % BINS], 1u);
        atomicAdd(&mine[x.w % BINS], 1u);
    }
    for (unsigned long long i = packs * 4 + first; i < count; i += stride) {
        atomicAdd(&mine[values[i] % BINS], 1u);
    }
    __syncthreads();
    for (unsigned int bin = threadIdx.x; bin < BINS; bin += THREADS) {
        unsigned int sum = 0;
#pragma unroll
        for (unsigned int copy = 0; copy < COPIES; ++copy) {
            sum += counts[copy][bin];
        }
        if (sum != 0) {
            atomicAdd(&bins[bin], sum);
        }
    }
}
