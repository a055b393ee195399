// variants: ELEMENT=float32 WIDTH=4 LANES=1024 PACKS=4
// variants: ELEMENT=float16 WIDTH=8 LANES=32 PACKS=4
// variants: ELEMENT=bfloat16 WIDTH=8 LANES=256 PACKS=4
// variants: ELEMENT=bfloat16 WIDTH=1 LANES=1024 PACKS=8
// y = x / sqrt(mean of squares + epsilon) * gamma, along rows; and the same of a sum that is written too.
#include "row.cuh"

__device__ __forceinline__ void write_normed(const RowPack (&held)[PACKS], const ELEMENT* gamma, ELEMENT* to,
                                             unsigned int columns, float epsilon)
{
    const float scale = rsqrtf(sum_row(held, columns, Square()) / columns + epsilon);
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
        if (column_of(p) < columns) {
            const RowPack weight = *reinterpret_cast<const RowPack*>(gamma + column_of(p));
            RowPack out;
#pragma unroll
            for (int i = 0; i < WIDTH; ++i) {
                narrow(widen(held[p].lane[i]) * scale * widen(weight.lane[i]), out.lane[i]);
            }
            *reinterpret_cast<RowPack*>(to + column_of(p)) = out;
        }
    }
}

extern "C" __global__ __launch_bounds__(LANES > 256 ? LANES : 256, 1) void
rmsnorm(const ELEMENT* __restrict__ x, const ELEMENT* __restrict__ gamma, ELEMENT* __restrict__ y,
        unsigned long long rows, unsigned int columns, float epsilon)
{
    const unsigned long long row = row_of_thread();
    if (row >= rows) {
        return; // only where a row is one warp: whole warps leave
    }
    RowPack held[PACKS];
    load_row(held, x + row * columns, columns);
    write_normed(held, gamma, y + row * columns, columns, epsilon);
}

// sum = x + residual, rounded to the element; y = the norm of what was written.
extern "C" __global__ __launch_bounds__(LANES > 256 ? LANES : 256, 1) void
residual_rmsnorm(const ELEMENT* __restrict__ x, const ELEMENT* __restrict__ residual, const ELEMENT* __restrict__ gamma,
                 ELEMENT* __restrict__ sum, ELEMENT* __restrict__ y, unsigned long long rows, unsigned int columns,
                 float epsilon)
{
    const unsigned long long row = row_of_thread();
    if (row >= rows) {
        return;
    }
    RowPack held[PACKS];
    load_row(held, x + row * columns, columns);
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
        if (column_of(p) < columns) {
            const RowPack other = *reinterpret_cast<const RowPack*>(residual + row * columns + column_of(p));
#pragma unroll
            for (int i = 0; i < WIDTH; ++i) {
                narrow(widen(held[p].lane[i]) + widen(other.lane[i]), held[p].lane[i]);
            }
            *reinterpret_cast<RowPack*>(sum + row * columns + column_of(p)) = held[p];
        }
    }
    write_normed(held, gamma, y + row * columns, columns, epsilon);
}
