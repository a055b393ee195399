// variants: ELEMENT=float32,float16,bfloat16
// y = x * f: two-dimensional convolution of (images, height, width, channels) with (filters, taps, taps, channels), zeros
// beyond the borders, into (images, rows, columns, filters). Sums are float32 on the ordinary cores: a block makes 64
// pixels times 64 filters, sixteen terms (tap, channel) at a time; a thread four by four of them.
#include "element.cuh"

#define TILE 64
#define DEPTH 16
#define ROW (TILE + 4) // four more, so that neighbouring rows begin in other banks and stay aligned

extern "C" __global__ __launch_bounds__(256) void
conv_direct(const ELEMENT* __restrict__ x, const ELEMENT* __restrict__ f, ELEMENT* __restrict__ y, int pixels, int height,
            int width, int channels, int filters, int taps, int stride, int padding, int rows, int columns)
{
    __shared__ __align__(16) float left[DEPTH][ROW];
    __shared__ __align__(16) float right[DEPTH][ROW];
    const int terms = taps * taps * channels;
    const int own = threadIdx.x / 4;       // the pixel, and the filter, that this thread fetches
    const int part = threadIdx.x % 4 * 4;  // its four of the sixteen terms
    const int pixel = blockIdx.x * TILE + own;
    const int filter = blockIdx.y * TILE + own;
    const int image = pixel / (rows * columns);
    const int top = pixel / columns % rows * stride - padding;
    const int begin = pixel % columns * stride - padding;
    const int across = threadIdx.x % 16 * 4;
    const int down = threadIdx.x / 16 * 4;
    float sum[4][4] = {};
    for (int base = 0; base < terms; base += DEPTH) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int term = base + part + i;
            const int tap = term / channels;
            const int h = top + tap / taps;
            const int w = begin + tap % taps;
            const bool inside = pixel < pixels && term < terms && h >= 0 && h < height && w >= 0 && w < width;
            const long long at = (((long long)image * height + h) * width + w) * channels + term % channels;
            left[part + i][own] = inside ? widen(x[at]) : 0.0f;
            right[part + i][own] = filter < filters && term < terms ? widen(f[(long long)filter * terms + term]) : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int d = 0; d < DEPTH; ++d) {
            const Pack<float, 4> a = *reinterpret_cast<const Pack<float, 4>*>(&left[d][down]);
            const Pack<float, 4> b = *reinterpret_cast<const Pack<float, 4>*>(&right[d][across]);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    sum[i][j] += a.lane[i] * b.lane[j];
                }
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const int row = blockIdx.x * TILE + down + i;
            const int column = blockIdx.y * TILE + across + j;
            if (row < pixels && column < filters) {
                narrow(sum[i][j], y[(long long)row * filters + column]);
            }
        }
    }
}
