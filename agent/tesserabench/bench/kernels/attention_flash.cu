// variants: ELEMENT=bfloat16 HEAD_DIM=128 CAUSAL=0,1
// variants: ELEMENT=float16 HEAD_DIM=64 CAUSAL=1
// O = softmax(Q K^T / sqrt(D)) V without writing the scores (Dao et al., FlashAttention, 2022): tensor cores, online
// softmax in registers. Q, O are (batch, heads, length_q, HEAD_DIM), K, V are (batch, kv_heads, length_k, HEAD_DIM).
//
// A block of four warps works on 128 rows of Q and goes through K and V in tiles of 64 rows. Each warp owns 32 rows: it
// reads K and V from shared memory half as often as with 16, which else would bound it. There is one buffer for K and
// one for V: K's next tile arrives during softmax and P V, V's during Q K^T and softmax.
#include "tensor.cuh"

#define ROWS 128
#define KEYS 64
#define CHUNKS (HEAD_DIM / 8) // of 16 bytes, in a row
#define THREADS 128
// Steps of Q K^T whose operands are loaded ahead: as many as leave all sums in registers.
#define STEPS_AHEAD (HEAD_DIM == 64 ? 4 : __CUDA_ARCH__ >= 1000 ? 1 : 2)

struct alignas(16) Chunk {
    unsigned int word[4];
};

extern __shared__ __align__(256) Chunk shared[];

// Where a chunk of a tile's row lies: rows are turned against each other, so that the eight rows an ldmatrix reads at
// the same chunk lie in eight different groups of banks.
__device__ __forceinline__ int place(int row, int chunk)
{
    return row * CHUNKS + (chunk ^ (row & 7));
}

// The same as an address, for the even chunk `step` further on: turning is an exclusive or, and so is moving by it.
__device__ __forceinline__ unsigned int further(unsigned int address, int step)
{
    return address ^ (step * (unsigned int)sizeof(Chunk));
}

// Begin to fetch `COUNT` rows; those from row `left` on become zeros. A step of the loop moves by whole multiples of
// eight rows, so that a thread's places differ by constants.
template <int COUNT> __device__ __forceinline__ void fetch_tile(const Chunk* tile, const ELEMENT* from, int left)
{
    const int row = threadIdx.x / CHUNKS;
    const int chunk = threadIdx.x % CHUNKS;
    const unsigned int to = shared_address(tile + place(row, chunk));
    from += row * HEAD_DIM + chunk * 8;
#pragma unroll
    for (int i = 0; i < COUNT * CHUNKS / THREADS; ++i) {
        fetch(to + i * THREADS * (unsigned int)sizeof(Chunk), from + i * THREADS * 8,
              row + i * (THREADS / CHUNKS) < left);
    }
}

extern "C" __global__ __launch_bounds__(THREADS) void
attention_flash(const ELEMENT* __restrict__ q, const ELEMENT* __restrict__ k, const ELEMENT* __restrict__ v,
                ELEMENT* __restrict__ o, int length_q, int length_k, int heads_per_kv, float scale_log2)
{
    Chunk* const q_tile = shared;
    Chunk* const k_tile = q_tile + ROWS * CHUNKS;
    Chunk* const v_tile = k_tile + KEYS * CHUNKS;
    const int lane = threadIdx.x % 32;
    const int own = threadIdx.x / 32 * 32;                    // first row of this warp in the tile
    const int first = (gridDim.x - 1 - blockIdx.x) * ROWS;    // the longest rows of a causal mask begin first
    const long long head = (long long)blockIdx.z * gridDim.y + blockIdx.y;
    const long long kv_head = (long long)blockIdx.z * (gridDim.y / heads_per_kv) + blockIdx.y / heads_per_kv;
    q += head * length_q * HEAD_DIM;
    o += head * length_q * HEAD_DIM;
    k += kv_head * length_k * HEAD_DIM;
    v += kv_head * length_k * HEAD_DIM;
    int keys = length_k;
#if CAUSAL
    const int shift = length_k - length_q; // row i sees the keys up to i + shift
    keys = max(0, min(keys, first + ROWS + shift));
#endif
    const int tiles = (keys + KEYS - 1) / KEYS;

    const unsigned int bytes = CHUNKS * sizeof(Chunk); // of a row
    unsigned int q_rows = shared_address(q_tile + place(own + lane % 16, lane / 16));
    unsigned int k_rows = shared_address(k_tile + place(lane / 16 * 8 + lane % 8, lane / 8 % 2));
    unsigned int v_rows = shared_address(v_tile + place(lane % 16, lane / 16));

    float out[2][HEAD_DIM / 8][4] = {};
    float top[2][2] = {{LOWEST, LOWEST}, {LOWEST, LOWEST}};
    float total[2][2] = {};

    fetch_tile<ROWS>(q_tile, q + (long long)first * HEAD_DIM, length_q - first);
    fetch_tile<KEYS>(k_tile, k, length_k);
    end_fetches();
    for (int tile = 0; tile < tiles; ++tile) {
        const int begin = tile * KEYS;
        // Addresses are made where they are used: kept over the loop, two dozen of them would crowd out the sums.
        asm volatile("" : "+r"(q_rows), "+r"(k_rows), "+r"(v_rows));
        await_fetches<0>();
        __syncthreads(); // this tile of K is there, and nobody reads the last tile of V any more
        fetch_tile<KEYS>(v_tile, v, length_k - begin);
        v += KEYS * HEAD_DIM;
        end_fetches();

        float score[2][KEYS / 8][4] = {};
#pragma unroll STEPS_AHEAD
        for (int step = 0; step < HEAD_DIM / 16; ++step) {
            unsigned int rows[2][4];
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                load_matrices(rows[half], further(q_rows, step * 2) + half * 16 * bytes);
            }
#pragma unroll
            for (int group = 0; group < KEYS / 16; ++group) {
                unsigned int columns[4];
                load_matrices(columns, further(k_rows, step * 2) + group * 16 * bytes);
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    multiply(score[half][2 * group], rows[half], columns[0], columns[1], ELEMENT());
                    multiply(score[half][2 * group + 1], rows[half], columns[2], columns[3], ELEMENT());
                }
            }
        }
        __syncthreads(); // nobody reads this tile of K any more
        if (tile + 1 < tiles) {
            k += KEYS * HEAD_DIM;
            fetch_tile<KEYS>(k_tile, k, length_k - begin - KEYS);
        }
        end_fetches();

        // A lane holds, of every eight columns, two neighbours in row lane / 4 and two in the row eight below.
        bool ragged = begin + KEYS > length_k;
#if CAUSAL
        ragged = ragged || begin + KEYS - 1 > first + own + shift;
#endif
        if (ragged) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
#pragma unroll
                for (int i = 0; i < KEYS / 8 * 4; ++i) {
                    const int key = begin + i / 4 * 8 + lane % 4 * 2 + i % 2;
                    bool hidden = key >= length_k;
#if CAUSAL
                    hidden = hidden || key > first + own + half * 16 + i % 4 / 2 * 8 + lane / 4 + shift;
#endif
                    if (hidden) {
                        score[half][i / 4][i % 4] = LOWEST;
                    }
                }
            }
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
#pragma unroll
            for (int low = 0; low < 2; ++low) {
                float highest = top[half][low];
#pragma unroll
                for (int n = 0; n < KEYS / 8; ++n) {
                    highest = fmaxf(highest, fmaxf(score[half][n][2 * low], score[half][n][2 * low + 1]));
                }
                highest = fmaxf(highest, __shfl_xor_sync(0xffffffffu, highest, 1));
                highest = fmaxf(highest, __shfl_xor_sync(0xffffffffu, highest, 2));
                // A row that has seen no key yet keeps its sums at zero.
                const float zero = highest == LOWEST ? 0.0f : highest * scale_log2;
                const float fade = power_of_two(top[half][low] * scale_log2 - zero);
                top[half][low] = highest;
                total[half][low] *= fade;
#pragma unroll
                for (int n = 0; n < HEAD_DIM / 8; ++n) {
                    out[half][n][2 * low] *= fade;
                    out[half][n][2 * low + 1] *= fade;
                }
#pragma unroll
                for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
                    for (int i = 2 * low; i < 2 * low + 2; ++i) {
                        score[half][n][i] = power_of_two(score[half][n][i] * scale_log2 - zero);
                        total[half][low] += score[half][n][i];
                    }
                }
            }
        }

        await_fetches<1>();
        __syncthreads(); // this tile of V is there; the next one of K may be under way
#pragma unroll
        for (int group = 0; group < KEYS / 16; ++group) {
            unsigned int weights[2][4]; // two eight-column parts of the scores are a 16x16 operand as they lie
#pragma unroll
            for (int half = 0; half < 2; ++half) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const float* part = score[half][2 * group + i / 2] + i % 2 * 2;
                    weights[half][i] = pair_of(part[0], part[1], ELEMENT());
                }
            }
#pragma unroll
            for (int n = 0; n < HEAD_DIM / 16; ++n) {
                unsigned int columns[4];
                load_matrices_transposed(columns, further(v_rows, n * 2) + group * 16 * bytes);
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    multiply(out[half][2 * n], weights[half], columns[0], columns[1], ELEMENT());
                    multiply(out[half][2 * n + 1], weights[half], columns[2], columns[3], ELEMENT());
                }
            }
        }
    }
    await_fetches<0>();
    __syncthreads(); // where a mask hides every key, Q may still be on its way

    // Through this warp's own rows of Q's tile, which nobody else reads, into whole chunks.
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int low = 0; low < 2; ++low) {
            float sum = total[half][low];
            sum += __shfl_xor_sync(0xffffffffu, sum, 1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
            const float part = sum > 0.0f ? 1.0f / sum : 0.0f;
            const int row = own + half * 16 + low * 8 + lane / 4;
#pragma unroll
            for (int n = 0; n < HEAD_DIM / 8; ++n) {
                const float* pair = out[half][n] + 2 * low;
                q_tile[place(row, n)].word[lane % 4] = pair_of(pair[0] * part, pair[1] * part, ELEMENT());
            }
        }
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
        const int row = own + (i * 32 + lane) / CHUNKS;
        const int chunk = lane % CHUNKS;
        if (first + row < length_q) {
            *reinterpret_cast<Chunk*>(o + (long long)(first + row) * HEAD_DIM + chunk * 8) = q_tile[place(row, chunk)];
        }
    }
}
