// variants: ELEMENT="unsigned short",float,double
// b (columns, rows) = the transpose of a (rows, columns). Tiles of 32 by 32 elements go through shared memory, so that
// both reads and writes touch whole rows of a tile; the extra column keeps the lanes of a warp in different banks.
// One tile for each block of 32 by 8 threads.
#define TILE 32
#define STEP 8

extern "C" __global__ __launch_bounds__(TILE * STEP) void transpose(const ELEMENT* __restrict__ a,
                                                                    ELEMENT* __restrict__ b, unsigned int rows,
                                                                    unsigned int columns)
{
    __shared__ ELEMENT tile[TILE][TILE + 1];
    const unsigned int across = (columns + TILE - 1) / TILE;
    const unsigned int top = blockIdx.x / across * TILE, left = blockIdx.x % across * TILE;
#pragma unroll
    for (unsigned int y = threadIdx.y; y < TILE; y += STEP) {
        if (top + y < rows && left + threadIdx.x < columns) {
            tile[y][threadIdx.x] = a[(unsigned long long)(top + y) * columns + left + threadIdx.x];
        }
    }
    __syncthreads();
#pragma unroll
    for (unsigned int y = threadIdx.y; y < TILE; y += STEP) {
        if (left + y < columns && top + threadIdx.x < rows) {
            b[(unsigned long long)(left + y) * rows + top + threadIdx.x] = tile[threadIdx.x][y];
        }
    }
}
