// variants: ELEMENT=float,double
// b = a. Sixteen bytes a thread and step; the tail element by element.
struct alignas(16) Pack {
    ELEMENT lane[16 / sizeof(ELEMENT)];
};

extern "C" __global__ void copy(const ELEMENT* __restrict__ a, ELEMENT* __restrict__ b, unsigned long long count)
{
    const unsigned long long width = sizeof(Pack) / sizeof(ELEMENT);
    const unsigned long long packs = count / width;
    const unsigned long long stride = (unsigned long long)gridDim.x * blockDim.x;
    const unsigned long long first = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    const Pack* from = reinterpret_cast<const Pack*>(a);
    Pack* to = reinterpret_cast<Pack*>(b);
    for (unsigned long long i = first; i < packs; i += stride) {
        to[i] = from[i];
    }
    for (unsigned long long i = packs * width + first; i < count; i += stride) {
        b[i] = a[i];
    }
}
