// Accesses to random 64-bit entries of a table whose length is a power of two. The indices are computed, not loaded:
// access i goes to the entry mix(key + i) & mask, with the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
#define IN_FLIGHT 8 // independent loads of a thread

__device__ unsigned long long mix(unsigned long long z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

__device__ unsigned long long entry_of(unsigned long long access, unsigned long long key, unsigned long long mask)
{
    return mix(key + access * 0x9e3779b97f4a7c15ull) & mask;
}

// partial[block] = the exclusive or of the entries this block reads. Blocks have at most 1024 threads.
extern "C" __global__ void gather(const unsigned long long* __restrict__ table,
                                  unsigned long long* __restrict__ partial, unsigned long long count,
                                  unsigned long long key, unsigned long long mask)
{
    __shared__ unsigned long long warps[32];
    const unsigned long long stride = (unsigned long long)gridDim.x * blockDim.x;
    unsigned long long seen = 0;
    unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    for (; i + (IN_FLIGHT - 1) * stride < count; i += IN_FLIGHT * stride) {
        unsigned long long held[IN_FLIGHT];
#pragma unroll
        for (int j = 0; j < IN_FLIGHT; ++j) {
            held[j] = table[entry_of(i + j * stride, key, mask)];
        }
#pragma unroll
        for (int j = 0; j < IN_FLIGHT; ++j) {
            seen ^= held[j];
        }
    }
    for (; i < count; i += stride) {
        seen ^= table[entry_of(i, key, mask)];
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

// Counts the accesses to each entry: atomic, so that no order and no race changes the result.
extern "C" __global__ void update(unsigned long long* table, unsigned long long count, unsigned long long key,
                                  unsigned long long mask)
{
    const unsigned long long stride = (unsigned long long)gridDim.x * blockDim.x;
    for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        atomicAdd(&table[entry_of(i, key, mask)], 1ull);
    }
}
