// variants: ELEMENT=bfloat16 WIDTH=8 LANES=256 PACKS=4
// variants: ELEMENT=float16 WIDTH=1 LANES=32 PACKS=4
// In place over materialised scores: softmax(scale x) along rows, where row i of each (rows_each, columns) matrix sees
// the first i + 1 + columns - rows_each columns if it is causal, else all.
#include "row.cuh"

extern "C" __global__ __launch_bounds__(LANES > 256 ? LANES : 256, 1) void
attention_softmax(ELEMENT* __restrict__ x, unsigned long long rows, unsigned int columns, unsigned int rows_each,
                  int causal, float scale_log2)
{
    const unsigned long long row = row_of_thread();
    if (row >= rows) {
        return; // only where a row is one warp: whole warps leave
    }
    long long seen = columns;
    if (causal) {
        seen = (long long)(row % rows_each) + 1 + columns - rows_each;
        seen = max(0LL, min(seen, (long long)columns));
    }
    ELEMENT* const own = x + row * columns;
    RowPack held[PACKS];
    load_row(held, own, columns);
    float top = LOWEST;
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
#pragma unroll
        for (int i = 0; i < WIDTH; ++i) {
            if (column_of(p) + i < seen) {
                top = fmaxf(top, widen(held[p].lane[i]));
            }
        }
    }
    top = over_row(top, Max());
    const float shift = top == LOWEST ? 0.0f : top * scale_log2;
    float total = 0.0f;
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
#pragma unroll
        for (int i = 0; i < WIDTH; ++i) {
            if (column_of(p) + i < seen) {
                total += power_of_two(widen(held[p].lane[i]) * scale_log2 - shift);
            }
        }
    }
    total = over_row(total, Sum());
    const float part = total > 0.0f ? 1.0f / total : 0.0f;
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
        if (column_of(p) < columns) {
            RowPack out;
#pragma unroll
            for (int i = 0; i < WIDTH; ++i) {
                const bool visible = column_of(p) + i < seen;
                const float weight = visible ? power_of_two(widen(held[p].lane[i]) * scale_log2 - shift) * part : 0.0f;
                narrow(weight, out.lane[i]);
            }
            *reinterpret_cast<RowPack*>(own + column_of(p)) = out;
        }
    }
}
