// Rows of a matrix that fit into the registers of LANES threads: 32 (several rows in a block) or the whole block.
// Each thread holds PACKS packs of WIDTH neighbouring elements; WIDTH is 1 where rows are not aligned to packs.
#include "element.cuh"

typedef Pack<ELEMENT, WIDTH> RowPack;

struct Sum {
    __device__ __forceinline__ float operator()(float a, float b) const
    {
        return a + b;
    }
};

struct Max {
    __device__ __forceinline__ float operator()(float a, float b) const
    {
        return fmaxf(a, b);
    }
};

// Every thread of the row gets the result; the order of operations is fixed, so it is the same bits every time.
template <typename Combine> __device__ __forceinline__ float over_row(float value, Combine combine)
{
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        value = combine(value, __shfl_xor_sync(0xffffffffu, value, offset));
    }
#if LANES > 32
    __shared__ float warps[LANES / 32];
    __syncthreads(); // whoever still reads the result before this one
    if (threadIdx.x % 32 == 0) {
        warps[threadIdx.x / 32] = value;
    }
    __syncthreads();
    value = warps[threadIdx.x % (LANES / 32)];
#pragma unroll
    for (int offset = LANES / 64; offset > 0; offset /= 2) {
        value = combine(value, __shfl_xor_sync(0xffffffffu, value, offset));
    }
#endif
    return value;
}

__device__ __forceinline__ unsigned long long row_of_thread()
{
    return (unsigned long long)blockIdx.x * (blockDim.x / LANES) + threadIdx.x / LANES;
}

// First column of this thread's pack number `index`.
__device__ __forceinline__ unsigned int column_of(int index)
{
    return (index * LANES + threadIdx.x % LANES) * WIDTH;
}

__device__ __forceinline__ void load_row(RowPack (&held)[PACKS], const ELEMENT* from, unsigned int columns)
{
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
        if (column_of(p) < columns) {
            held[p] = *reinterpret_cast<const RowPack*>(from + column_of(p));
        }
    }
}

// The sum of f(x) over the row's elements.
template <typename F> __device__ __forceinline__ float sum_row(const RowPack (&held)[PACKS], unsigned int columns, F f)
{
    float total = 0.0f;
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
        if (column_of(p) < columns) {
#pragma unroll
            for (int i = 0; i < WIDTH; ++i) {
                total += f(widen(held[p].lane[i]));
            }
        }
    }
    return over_row(total, Sum());
}

struct Itself {
    __device__ __forceinline__ float operator()(float x) const
    {
        return x;
    }
};

struct Square {
    __device__ __forceinline__ float operator()(float x) const
    {
        return x * x;
    }
};

struct SquareFrom {
    float mean;
    __device__ __forceinline__ float operator()(float x) const
    {
        return (x - mean) * (x - mean);
    }
};
