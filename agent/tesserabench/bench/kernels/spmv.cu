// variants: ELEMENT=float,double
// y = A x for a matrix of compressed sparse rows; one warp for each row, lanes side by side in it. Blocks have a
// multiple of 32 threads.
extern "C" __global__ void spmv(const int* __restrict__ begins, const int* __restrict__ columns,
                                const ELEMENT* __restrict__ values, const ELEMENT* __restrict__ x,
                                ELEMENT* __restrict__ y, unsigned int rows)
{
    const unsigned int warps = gridDim.x * (blockDim.x / 32);
    const unsigned int lane = threadIdx.x % 32;
    for (unsigned int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; row < rows; row += warps) {
        const int end = begins[row + 1];
        ELEMENT sum = 0;
        for (int i = begins[row] + (int)lane; i < end; i += 32) {
            sum += values[i] * x[columns[i]];
        }
        for (int offset = 16; offset > 0; offset /= 2) {
            sum += __shfl_xor_sync(0xffffffffu, sum, offset);
        }
        if (lane == 0) {
            y[row] = sum;
        }
    }
}
