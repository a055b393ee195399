// variants: ELEMENT=float32 WIDTH=4 LANES=1024 PACKS=4
// variants: ELEMENT=float16 WIDTH=8 LANES=32 PACKS=4
// variants: ELEMENT=bfloat16 WIDTH=8 LANES=256 PACKS=4
// variants: ELEMENT=bfloat16 WIDTH=1 LANES=1024 PACKS=8
// y = exp(x - max) / sum of the same, along rows; one read and one write where the row fits into registers.
#include "row.cuh"

#define LOG2_E 1.4426950408889634f

extern "C" __global__ __launch_bounds__(LANES > 256 ? LANES : 256, 1) void
softmax(const ELEMENT* __restrict__ x, ELEMENT* __restrict__ y, unsigned long long rows, unsigned int columns)
{
    const unsigned long long row = row_of_thread();
    if (row >= rows) {
        return; // only where a row is one warp: whole warps leave
    }
    RowPack held[PACKS];
    load_row(held, x + row * columns, columns);
    float top = LOWEST;
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
        if (column_of(p) < columns) {
#pragma unroll
            for (int i = 0; i < WIDTH; ++i) {
                top = fmaxf(top, widen(held[p].lane[i]));
            }
        }
    }
    const float shift = over_row(top, Max()) * LOG2_E;
    float total = 0.0f;
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
        if (column_of(p) < columns) {
#pragma unroll
            for (int i = 0; i < WIDTH; ++i) {
                total += exp2f(widen(held[p].lane[i]) * LOG2_E - shift);
            }
        }
    }
    const float scale = 1.0f / over_row(total, Sum());
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
        if (column_of(p) < columns) {
            RowPack out;
#pragma unroll
            for (int i = 0; i < WIDTH; ++i) {
                narrow(exp2f(widen(held[p].lane[i]) * LOG2_E - shift) * scale, out.lane[i]);
            }
            *reinterpret_cast<RowPack*>(y + row * columns + column_of(p)) = out;
        }
    }
}

// For rows that fit into no register file, a block each: an online pass (Milakov and Gimelshein 2018), then another.
extern "C" __global__ __launch_bounds__(LANES > 256 ? LANES : 256, 1) void
softmax_streamed(const ELEMENT* __restrict__ x, ELEMENT* __restrict__ y, unsigned long long rows, unsigned int columns)
{
    const unsigned long long row = row_of_thread();
    if (row >= rows) {
        return;
    }
    const ELEMENT* from = x + row * columns;
    float top = LOWEST;
    float total = 0.0f;
    for (unsigned int c = column_of(0); c < columns; c += LANES * WIDTH) {
        const RowPack pack = *reinterpret_cast<const RowPack*>(from + c);
        float higher = top;
#pragma unroll
        for (int i = 0; i < WIDTH; ++i) {
            higher = fmaxf(higher, widen(pack.lane[i]));
        }
        total *= exp2f((top - higher) * LOG2_E); // the first time: 0 times exp2(-inf)
        top = higher;
#pragma unroll
        for (int i = 0; i < WIDTH; ++i) {
            total += exp2f((widen(pack.lane[i]) - top) * LOG2_E);
        }
    }
    const float highest = over_row(top, Max());
    total *= top == LOWEST ? 0.0f : exp2f((top - highest) * LOG2_E);
    const float shift = highest * LOG2_E;
    const float scale = 1.0f / over_row(total, Sum());
    for (unsigned int c = column_of(0); c < columns; c += LANES * WIDTH) {
        const RowPack pack = *reinterpret_cast<const RowPack*>(from + c);
        RowPack out;
#pragma unroll
        for (int i = 0; i < WIDTH; ++i) {
            narrow(exp2f(widen(pack.lane[i]) * LOG2_E - shift) * scale, out.lane[i]);
        }
        *reinterpret_cast<RowPack*>(y + row * columns + c) = out;
    }
}
