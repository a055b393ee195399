// variants: ELEMENT=float,double
// c = a + s b. Sixteen bytes a thread and step; the tail element by element.
struct alignas(16) Pack {
    ELEMENT lane[16 / sizeof(ELEMENT)];
};

extern "C" __global__ void triad(const ELEMENT* __restrict__ a, const ELEMENT* __restrict__ b,
                                 ELEMENT* __restrict__ c, ELEMENT s, unsigned long long count)
{
    const unsigned long long width = sizeof(Pack) / sizeof(ELEMENT);
    const unsigned long long packs = count / width;
    const unsigned long long stride = (unsigned long long)gridDim.x * blockDim.x;
    const unsigned long long first = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    const Pack* left = reinterpret_cast<const Pack*>(a);
    const Pack* right = reinterpret_cast<const Pack*>(b);
    Pack* to = reinterpret_cast<Pack*>(c);
    for (unsigned long long i = first; i < packs; i += stride) {
        const Pack x = left[i];
        const Pack y = right[i];
        Pack z;
#pragma unroll
        for (unsigned int lane = 0; lane < 16 / sizeof(ELEMENT); ++lane) {
            z.lane[lane] = x.lane[lane] + s * y.lane[lane];
        }
        to[i] = z;
    }
    for (unsigned long long i = packs * width + first; i < count; i += stride) {
        c[i] = a[i] + s * b[i];
    }
}
