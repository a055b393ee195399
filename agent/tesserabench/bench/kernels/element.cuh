// Element types by the names that parameters use, without CUDA's headers: they cost seconds to compile.
// Tests run the kernels on a host (CUDA_ON_CPU) with conversions of their own.
typedef float float32;

struct float16 {
    unsigned short bits;
};

struct bfloat16 {
    unsigned short bits;
};

#define LOWEST __int_as_float(0xff800000) // minus infinity: below every element

#ifdef CUDA_ON_CPU
using cuda_on_cpu::power_of_two;
inline float widen(float16 x) { return cuda_on_cpu::half_to_float(x.bits); }
inline void narrow(float x, float16& y) { y.bits = cuda_on_cpu::float_to_half(x); }
inline void narrow(float x, bfloat16& y) { y.bits = cuda_on_cpu::float_to_bfloat(x); }
#else
__device__ __forceinline__ float widen(float16 x)
{
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}

__device__ __forceinline__ void narrow(float x, float16& y)
{
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
}

__device__ __forceinline__ void narrow(float x, bfloat16& y)
{
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
}

__device__ __forceinline__ float power_of_two(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#endif

__device__ __forceinline__ float widen(bfloat16 x)
{
    return __uint_as_float((unsigned int)x.bits << 16);
}

__device__ __forceinline__ float widen(float x)
{
    return x;
}

__device__ __forceinline__ void narrow(float x, float& y)
{
    y = x;
}

// Neighbouring elements that one thread moves at once.
template <typename T, int N> struct alignas(sizeof(T) * N) Pack {
    T lane[N];
};
