// variants: OPERATION=multiply_add STEPS=1,2,8,32
// variants: OPERATION=exponential,gelu STEPS=1
// y = f(f(...f(x))) with STEPS applications, sixteen bytes a thread and step; the tail element by element.
struct alignas(16) Pack {
    float lane[4];
};

__device__ float multiply_add(float x)
{
    return fmaf(x, 0.875f, 0.125f);
}

__device__ float exponential(float x)
{
    return expf(x);
}

// The form with tanh (Hendrycks and Gimpel 2016).
__device__ float gelu(float x)
{
    return 0.5f * x * (1.0f + tanhf(0.7978845608028654f * (x + 0.044715f * x * x * x)));
}

__device__ float apply(float x)
{
#pragma unroll
    for (int step = 0; step < STEPS; ++step) {
        x = OPERATION(x);
    }
    return x;
}

extern "C" __global__ void elementwise(const float* x, float* y, unsigned long long count)
{
    const unsigned long long packs = count / 4;
    const unsigned long long stride = (unsigned long long)gridDim.x * blockDim.x;
    const unsigned long long first = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    const Pack* from = reinterpret_cast<const Pack*>(x);
    Pack* to = reinterpret_cast<Pack*>(y);
    for (unsigned long long i = first; i < packs; i += stride) {
        Pack held = from[i];
#pragma unroll
        for (int lane = 0; lane < 4; ++lane) {
            held.lane[lane] = apply(held.lane[lane]);
        }
        to[i] = held;
    }
    for (unsigned long long i = packs * 4 + first; i < count; i += stride) {
        y[i] = apply(x[i]);
    }
}
