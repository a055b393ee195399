// variants: PACK=uint4,uint2,"unsigned int","unsigned short"
// out[i] = table[rows[i]] for rows of `packs` packs: one pack a thread and step, neighbouring threads in one row.
extern "C" __global__ void embedding(const PACK* __restrict__ table, const int* __restrict__ rows,
                                     PACK* __restrict__ out, unsigned long long total, unsigned int packs)
{
    const unsigned long long stride = (unsigned long long)gridDim.x * blockDim.x;
    for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        const unsigned long long lookup = i / packs;
        const unsigned int part = (unsigned int)(i - lookup * packs);
        out[i] = table[(unsigned long long)rows[lookup] * packs + part];
    }
}
