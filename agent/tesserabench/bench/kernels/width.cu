// variants: PACK="unsigned char","unsigned short","unsigned int",uint2,uint4
// b = a with one access of PACK's size for each thread and step: what narrow accesses cost.
extern "C" __global__ void width(const PACK* __restrict__ a, PACK* __restrict__ b, unsigned long long count)
{
    const unsigned long long stride = (unsigned long long)gridDim.x * blockDim.x;
    for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        b[i] = a[i];
    }
}
