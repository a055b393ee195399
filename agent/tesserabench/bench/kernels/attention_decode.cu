// variants: ELEMENT=bfloat16 HEAD_DIM=128 GROUP=4
// variants: ELEMENT=float16 HEAD_DIM=64 GROUP=1
// variants: ELEMENT=float16 HEAD_DIM=128 GROUP=8
// One query for each sequence over its cache of keys and values: (batch, kv_heads * GROUP, HEAD_DIM) over twice
// (batch, kv_heads, length, HEAD_DIM). The cache is read once: a block serves all GROUP queries of its keys' head, and
// the length is split over blocks (grid x), whose parts `attention_decode_join` puts together in a fixed order.
#include "element.cuh"

#define THREADS 128
#define LANES (HEAD_DIM / 8) // threads that share a key, sixteen bytes each
#define SLOTS (THREADS / LANES)
#define AHEAD (GROUP > 4 ? 2 : 4) // keys and values in flight in every slot

typedef Pack<ELEMENT, 8> Eight;

struct State {
    float top[GROUP];          // highest score so far
    float total[GROUP];        // sum of weights
    float sum[GROUP][8];       // weighted values: this lane's eight elements
};

__device__ __forceinline__ float safe(float top)
{
    return top == LOWEST ? 0.0f : top; // of nothing seen yet, weights are zero and not NaN
}

__device__ __forceinline__ void fade(State& state, int g, float highest)
{
    const float factor = power_of_two(state.top[g] - safe(highest));
    state.top[g] = highest;
    state.total[g] *= factor;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        state.sum[g][i] *= factor;
    }
}

extern "C" __global__ __launch_bounds__(THREADS) void
attention_decode(const ELEMENT* __restrict__ q, const ELEMENT* __restrict__ k, const ELEMENT* __restrict__ v,
                 float* __restrict__ parts, float* __restrict__ statistics, int length, int length_part,
                 float scale_log2)
{
    __shared__ float warp_sum[THREADS / 32][GROUP][HEAD_DIM];
    __shared__ float warp_top[THREADS / 32][GROUP];
    __shared__ float warp_total[THREADS / 32][GROUP];
    const int slot = threadIdx.x / LANES;
    const int lane = threadIdx.x % LANES;
    const int warp = threadIdx.x / 32;
    const long long kv_head = (long long)blockIdx.z * gridDim.y + blockIdx.y;
    const int begin = blockIdx.x * length_part;
    const int end = min(length, begin + length_part);
    k += kv_head * length * HEAD_DIM + lane * 8;
    v += kv_head * length * HEAD_DIM + lane * 8;

    float query[GROUP][8];
    State state;
#pragma unroll
    for (int g = 0; g < GROUP; ++g) {
        const Eight part = *reinterpret_cast<const Eight*>(q + (kv_head * GROUP + g) * HEAD_DIM + lane * 8);
        state.top[g] = LOWEST;
        state.total[g] = 0.0f;
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            query[g][i] = widen(part.lane[i]) * scale_log2;
            state.sum[g][i] = 0.0f;
        }
    }
    for (int base = begin; base < end; base += SLOTS * AHEAD) {
        Eight keys[AHEAD] = {};
        Eight values[AHEAD] = {};
#pragma unroll
        for (int a = 0; a < AHEAD; ++a) {
            const int key = base + a * SLOTS + slot;
            if (key < end) {
                keys[a] = *reinterpret_cast<const Eight*>(k + (long long)key * HEAD_DIM);
                values[a] = *reinterpret_cast<const Eight*>(v + (long long)key * HEAD_DIM);
            }
        }
#pragma unroll
        for (int g = 0; g < GROUP; ++g) {
            float score[AHEAD];
            float highest = state.top[g];
#pragma unroll
            for (int a = 0; a < AHEAD; ++a) {
                score[a] = 0.0f;
#pragma unroll
                for (int i = 0; i < 8; ++i) {
                    score[a] += query[g][i] * widen(keys[a].lane[i]);
                }
#pragma unroll
                for (int offset = LANES / 2; offset > 0; offset /= 2) {
                    score[a] += __shfl_xor_sync(0xffffffffu, score[a], offset);
                }
                score[a] = base + a * SLOTS + slot < end ? score[a] : LOWEST;
                highest = fmaxf(highest, score[a]);
            }
            fade(state, g, highest);
#pragma unroll
            for (int a = 0; a < AHEAD; ++a) {
                const float weight = power_of_two(score[a] - safe(highest));
                state.total[g] += weight;
#pragma unroll
                for (int i = 0; i < 8; ++i) {
                    state.sum[g][i] += weight * widen(values[a].lane[i]);
                }
            }
        }
    }
    // The slots of a warp, then the warps of the block.
#pragma unroll
    for (int g = 0; g < GROUP; ++g) {
#pragma unroll
        for (int offset = LANES; offset < 32; offset *= 2) {
            const float other = __shfl_xor_sync(0xffffffffu, state.top[g], offset);
            fade(state, g, fmaxf(state.top[g], other));
            state.total[g] += __shfl_xor_sync(0xffffffffu, state.total[g], offset);
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                state.sum[g][i] += __shfl_xor_sync(0xffffffffu, state.sum[g][i], offset);
            }
        }
        if (threadIdx.x % 32 < LANES) {
            warp_top[warp][g] = state.top[g];
            warp_total[warp][g] = state.total[g];
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                warp_sum[warp][g][lane * 8 + i] = state.sum[g][i];
            }
        }
    }
    __syncthreads();
    const long long part = kv_head * gridDim.x + blockIdx.x;
    for (int at = threadIdx.x; at < GROUP * HEAD_DIM; at += THREADS) {
        const int g = at / HEAD_DIM;
        float highest = LOWEST;
        for (int w = 0; w < THREADS / 32; ++w) {
            highest = fmaxf(highest, warp_top[w][g]);
        }
        float total = 0.0f;
        float sum = 0.0f;
        for (int w = 0; w < THREADS / 32; ++w) {
            const float weight = power_of_two(warp_top[w][g] - safe(highest));
            total += weight * warp_total[w][g];
            sum += weight * warp_sum[w][g][at % HEAD_DIM];
        }
        parts[part * GROUP * HEAD_DIM + at] = sum;
        if (at % HEAD_DIM == 0) {
            statistics[(part * GROUP + g) * 2] = highest;
            statistics[(part * GROUP + g) * 2 + 1] = total;
        }
    }
}

// A block for each head (x) and sequence (z in the launch above, y here); a thread for each element.
extern "C" __global__ __launch_bounds__(HEAD_DIM) void
attention_decode_join(const float* __restrict__ parts, const float* __restrict__ statistics, ELEMENT* __restrict__ o,
                      int splits)
{
    const long long head = (long long)blockIdx.y * gridDim.x + blockIdx.x;
    const long long first = head / GROUP * splits; // of this head's keys
    const int g = head % GROUP;
    float highest = LOWEST;
    for (int s = 0; s < splits; ++s) {
        highest = fmaxf(highest, statistics[((first + s) * GROUP + g) * 2]);
    }
    float total = 0.0f;
    float sum = 0.0f;
    for (int s = 0; s < splits; ++s) {
        const long long at = (first + s) * GROUP + g;
        const float weight = power_of_two(statistics[at * 2] - safe(highest));
        total += weight * statistics[at * 2 + 1];
        sum += weight * parts[at * HEAD_DIM + threadIdx.x];
    }
    narrow(sum / total, o[head * HEAD_DIM + threadIdx.x]);
}
