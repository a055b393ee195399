// variants: K=1,8,16 THREADS=32,256
// The K largest of every row of x (rows, columns) with their columns, largest first; of equal ones the smaller column
// first. A block of THREADS takes a row: each thread keeps the K largest it meets, sorted; then K times the block
// takes the largest head. Rows whose length is a multiple of four are read sixteen bytes at a time.
struct Entry {
    float value;
    unsigned int column;
};

#define NOTHING 0xffffffffu // a column no row has

__device__ bool ahead(Entry a, Entry b)
{
    return a.value > b.value || (a.value == b.value && a.column < b.column);
}

__device__ void offer(Entry (&best)[K], Entry x)
{
    if (!ahead(x, best[K - 1])) {
        return;
    }
#pragma unroll
    for (int i = 0; i < K; ++i) {
        const bool swap = ahead(x, best[i]);
        const Entry old = best[i];
        best[i] = swap ? x : old;
        x = swap ? old : x;
    }
}

__device__ Entry largest_of_block(Entry x)
{
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        const Entry other = {__shfl_xor_sync(0xffffffffu, x.value, offset),
                             __shfl_xor_sync(0xffffffffu, x.column, offset)};
        x = ahead(other, x) ? other : x;
    }
#if THREADS > 32
    __shared__ Entry warps[THREADS / 32];
    __syncthreads(); // whoever still reads the heads of the turn before
    if (threadIdx.x % 32 == 0) {
        warps[threadIdx.x / 32] = x;
    }
    __syncthreads();
#pragma unroll
    for (int warp = 0; warp < THREADS / 32; ++warp) {
        x = ahead(warps[warp], x) ? warps[warp] : x;
    }
#endif
    return x;
}

extern "C" __global__ __launch_bounds__(THREADS, 1) void topk(const float* __restrict__ x, float* __restrict__ values,
                                                           unsigned int* __restrict__ indices, unsigned int rows,
                                                           unsigned int columns)
{
    for (unsigned int row = blockIdx.x; row < rows; row += gridDim.x) {
        const float* const from = x + (unsigned long long)row * columns;
        Entry best[K];
#pragma unroll
        for (int i = 0; i < K; ++i) {
            best[i] = {__int_as_float(0xff800000), NOTHING}; // minus infinity
        }
        if (columns % 4 == 0) {
            for (unsigned int i = threadIdx.x; i < columns / 4; i += THREADS) {
                const float4 held = reinterpret_cast<const float4*>(from)[i];
                offer(best, {held.x, 4 * i});
                offer(best, {held.y, 4 * i + 1});
                offer(best, {held.z, 4 * i + 2});
                offer(best, {held.w, 4 * i + 3});
            }
        } else {
            for (unsigned int i = threadIdx.x; i < columns; i += THREADS) {
                offer(best, {from[i], i});
            }
        }
        for (int turn = 0; turn < K; ++turn) {
            const Entry winner = largest_of_block(best[0]);
            if (winner.column == best[0].column && winner.column != NOTHING) {
#pragma unroll
                for (int i = 0; i + 1 < K; ++i) {
                    best[i] = best[i + 1];
                }
                best[K - 1] = {__int_as_float(0xff800000), NOTHING};
            }
            if (threadIdx.x == 0) {
                values[(unsigned long long)row * K + turn] = winner.value;
                indices[(unsigned long long)row * K + turn] = winner.column;
            }
        }
    }
}
