// variants: ELEMENT=float32 WIDTH=4 LANES=1024 PACKS=4
// variants: ELEMENT=float16 WIDTH=8 LANES=32 PACKS=4
// variants: ELEMENT=bfloat16 WIDTH=8 LANES=256 PACKS=4
// variants: ELEMENT=bfloat16 WIDTH=1 LANES=1024 PACKS=8
// y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, along rows. The variance is taken from the centred values.
#include "row.cuh"

extern "C" __global__ __launch_bounds__(LANES > 256 ? LANES : 256, 1) void
layernorm(const ELEMENT* __restrict__ x, const ELEMENT* __restrict__ gamma, const ELEMENT* __restrict__ beta,
          ELEMENT* __restrict__ y, unsigned long long rows, unsigned int columns, float epsilon)
{
    const unsigned long long row = row_of_thread();
    if (row >= rows) {
        return; // only where a row is one warp: whole warps leave
    }
    RowPack held[PACKS];
    load_row(held, x + row * columns, columns);
    const float mean = sum_row(held, columns, Itself()) / columns;
    const float variance = sum_row(held, columns, SquareFrom{mean}) / columns;
    const float scale = rsqrtf(variance + epsilon);
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
        if (column_of(p) < columns) {
            const RowPack weight = *reinterpret_cast<const RowPack*>(gamma + column_of(p));
            const RowPack offset = *reinterpret_cast<const RowPack*>(beta + column_of(p));
            RowPack out;
#pragma unroll
            for (int i = 0; i < WIDTH; ++i) {
                const float centred = (widen(held[p].lane[i]) - mean) * scale;
                narrow(centred * widen(weight.lane[i]) + widen(offset.lane[i]), out.lane[i]);
            }
            *reinterpret_cast<RowPack*>(y + row * columns + column_of(p)) = out;
        }
    }
}
