// The vector types and built-in functions of CUDA that kernels under cuda_on_cpu.h may use; add what is missing.
#pragma once

namespace cuda_on_cpu {
template <class T> struct Identity {
    using type = T;
};
template <class T> using Same = typename Identity<T>::type; // a parameter that takes no part in deduction
} // namespace cuda_on_cpu

#define CUDA_VECTORS(T, NAME, A2, A4)                                                                                  \
    struct alignas(A2) NAME##2 {                                                                                       \
        T x, y;                                                                                                        \
    };                                                                                                                 \
    struct alignas(A4) NAME##4 {                                                                                       \
        T x, y, z, w;                                                                                                  \
    };                                                                                                                 \
    static inline NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }                                                  \
    static inline NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDA_VECTORS(float, float, 8, 16)
CUDA_VECTORS(double, double, 16, 16)
CUDA_VECTORS(int, int, 8, 16)
CUDA_VECTORS(unsigned int, uint, 8, 16)
CUDA_VECTORS(long long, longlong, 16, 16)
CUDA_VECTORS(unsigned long long, ulonglong, 16, 16)
CUDA_VECTORS(unsigned short, ushort, 4, 8)
CUDA_VECTORS(short, short, 4, 8)
CUDA_VECTORS(unsigned char, uchar, 2, 4)
CUDA_VECTORS(signed char, char, 2, 4)
#undef CUDA_VECTORS

// --- barriers and warp operations

#define __syncthreads() ((void)cuda_on_cpu::barrier_sum(0, 0, 0))
#define __syncthreads_count(p) (cuda_on_cpu::barrier_sum(0, 0, (p) ? 1 : 0))
#define __syncthreads_or(p) (cuda_on_cpu::barrier_sum(0, 0, (p) ? 1 : 0) != 0)
#define __syncthreads_and(p) (cuda_on_cpu::barrier_sum(0, 0, (p) ? 0 : 1) == 0)
#define __threadfence() ((void)0)
#define __threadfence_block() ((void)0)
#define __threadfence_system() ((void)0)

static inline void __syncwarp(unsigned int mask = 0xffffffffu)
{
    char all[32];
    cuda_on_cpu::exchange(mask, char(0), all);
}

static inline int cuda_lane() { return int(cuda_on_cpu::self->number % 32); }

template <class T> static inline T __shfl_sync(unsigned int mask, T value, int source, int width = 32)
{
    return cuda_on_cpu::shuffle(mask, value, (cuda_lane() & ~(width - 1)) + (source & (width - 1)), true);
}
template <class T> static inline T __shfl_up_sync(unsigned int mask, T value, unsigned int delta, int width = 32)
{
    const int source = cuda_lane() - int(delta);
    return cuda_on_cpu::shuffle(mask, value, source, source >= (cuda_lane() & ~(width - 1)));
}
template <class T> static inline T __shfl_down_sync(unsigned int mask, T value, unsigned int delta, int width = 32)
{
    const int source = cuda_lane() + int(delta);
    return cuda_on_cpu::shuffle(mask, value, source, source <= (cuda_lane() | (width - 1)));
}
template <class T> static inline T __shfl_xor_sync(unsigned int mask, T value, int bits, int width = 32)
{
    const int source = cuda_lane() ^ bits;
    return cuda_on_cpu::shuffle(mask, value, source, source <= (cuda_lane() | (width - 1)));
}

static inline unsigned int __ballot_sync(unsigned int mask, int predicate)
{
    int all[32];
    unsigned int found = 0;
    cuda_on_cpu::exchange(mask, predicate, all);
    for (int lane = 0; lane < 32; ++lane) {
        found |= (mask >> lane & 1) && all[lane] ? 1u << lane : 0u;
    }
    return found;
}
static inline int __any_sync(unsigned int mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
static inline int __all_sync(unsigned int mask, int predicate) { return __ballot_sync(mask, predicate) == mask; }

template <class T> static inline unsigned int __match_any_sync(unsigned int mask, T value)
{
    T all[32];
    unsigned int found = 0;
    cuda_on_cpu::exchange(mask, value, all);
    for (int lane = 0; lane < 32; ++lane) {
        found |= (mask >> lane & 1) && all[lane] == value ? 1u << lane : 0u;
    }
    return found;
}

#define CUDA_REDUCE(NAME, EXPRESSION)                                                                                  \
    template <class T> static inline T __reduce_##NAME##_sync(unsigned int mask, T value)                              \
    {                                                                                                                  \
        T all[32], a = value;                                                                                          \
        cuda_on_cpu::exchange(mask, value, all);                                                                       \
        for (int lane = 0; lane < 32; ++lane) {                                                                        \
            if ((mask >> lane & 1) && lane != cuda_lane()) {                                                           \
                const T b = all[lane];                                                                                 \
                a = EXPRESSION;                                                                                        \
            }                                                                                                          \
        }                                                                                                              \
        return a;                                                                                                      \
    }
CUDA_REDUCE(add, T(a + b))
CUDA_REDUCE(min, a < b ? a : b)
CUDA_REDUCE(max, a < b ? b : a)
CUDA_REDUCE(and, T(a& b))
CUDA_REDUCE(or, T(a | b))
CUDA_REDUCE(xor, T(a ^ b))
#undef CUDA_REDUCE

// --- atomics: threads run one at a time, so plain operations are indivisible

#define CUDA_ATOMIC(NAME, EXPRESSION)                                                                                  \
    template <class T> static inline T NAME(T* address, cuda_on_cpu::Same<T> value)                                 \
    {                                                                                                                  \
        const T old = *address;                                                                                        \
        *address = EXPRESSION;                                                                                         \
        return old;                                                                                                    \
    }
CUDA_ATOMIC(atomicAdd, T(old + value))
CUDA_ATOMIC(atomicSub, T(old - value))
CUDA_ATOMIC(atomicExch, value)
CUDA_ATOMIC(atomicMin, value < old ? value : old)
CUDA_ATOMIC(atomicMax, old < value ? value : old)
CUDA_ATOMIC(atomicAnd, T(old& value))
CUDA_ATOMIC(atomicOr, T(old | value))
CUDA_ATOMIC(atomicXor, T(old ^ value))
CUDA_ATOMIC(atomicInc, T(old >= value ? 0 : old + 1))
#undef CUDA_ATOMIC
template <class T> static inline T atomicCAS(T* address, cuda_on_cpu::Same<T> compare, cuda_on_cpu::Same<T> value)
{
    const T old = *address;
    *address = old == compare ? value : old;
    return old;
}

// --- loads, stores, bits, arithmetic

template <class T> static inline T __ldg(const T* p) { return *p; }
template <class T> static inline T __ldcg(const T* p) { return *p; }
template <class T> static inline T __ldcs(const T* p) { return *p; }
template <class T> static inline T __ldca(const T* p) { return *p; }
template <class T> static inline void __stcs(T* p, cuda_on_cpu::Same<T> v) { *p = v; }
template <class T> static inline void __stcg(T* p, cuda_on_cpu::Same<T> v) { *p = v; }

template <class To, class From> static inline To cuda_bits(From value)
{
    static_assert(sizeof(To) == sizeof(From));
    To result;
    memcpy(&result, &value, sizeof(To));
    return result;
}
static inline unsigned int __float_as_uint(float v) { return cuda_bits<unsigned int>(v); }
static inline int __float_as_int(float v) { return cuda_bits<int>(v); }
static inline float __uint_as_float(unsigned int v) { return cuda_bits<float>(v); }
static inline float __int_as_float(int v) { return cuda_bits<float>(v); }
static inline long long __double_as_longlong(double v) { return cuda_bits<long long>(v); }
static inline double __longlong_as_double(long long v) { return cuda_bits<double>(v); }

static inline int __popc(unsigned int v) { return __builtin_popcount(v); }
static inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
static inline int __clz(int v) { return v == 0 ? 32 : __builtin_clz((unsigned int)v); }
static inline int __clzll(long long v) { return v == 0 ? 64 : __builtin_clzll((unsigned long long)v); }
static inline int __ffs(int v) { return __builtin_ffs(v); }
static inline int __ffsll(long long v) { return __builtin_ffsll(v); }
static inline unsigned int __umulhi(unsigned int a, unsigned int b) { return (unsigned int)((1ull * a * b) >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
static inline unsigned int __byte_perm(unsigned int a, unsigned int b, unsigned int selector)
{
    const unsigned long long both = (unsigned long long)b << 32 | a;
    unsigned int result = 0;
    for (int i = 0; i < 4; ++i) {
        result |= (unsigned int)(both >> (8 * (selector >> (4 * i) & 7)) & 0xff) << (8 * i);
    }
    return result;
}

#define CUDA_MINMAX(T)                                                                                                 \
    static inline T min(T a, T b) { return b < a ? b : a; }                                                            \
    static inline T max(T a, T b) { return a < b ? b : a; }
CUDA_MINMAX(int)
CUDA_MINMAX(unsigned int)
CUDA_MINMAX(long long)
CUDA_MINMAX(unsigned long long)
CUDA_MINMAX(float)
CUDA_MINMAX(double)
#undef CUDA_MINMAX

static inline float rsqrtf(float v) { return 1.0f / sqrtf(v); }
static inline double rsqrt(double v) { return 1.0 / sqrt(v); }
#define __expf expf
#define __logf logf
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __frcp_rn(float v) { return 1.0f / v; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline int __float2int_rn(float v) { return (int)rintf(v); }
