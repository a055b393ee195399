// The tensor-core instructions of sm_80 and later, one function each (PTX ISA, "Matrix Fragments for mma.m16n8k16",
// "ldmatrix", "cp.async"). Addresses are those of shared memory. Tests run kernels on a host (CUDA_ON_CPU) with their own.
#include "element.cuh"

#ifdef CUDA_ON_CPU
using cuda_on_cpu::await_fetches;
using cuda_on_cpu::end_fetches;
using cuda_on_cpu::fetch;
using cuda_on_cpu::load_matrices;
using cuda_on_cpu::load_matrices_transposed;
using cuda_on_cpu::multiply;
using cuda_on_cpu::pair_of;
using cuda_on_cpu::shared_address;
#else
__device__ __forceinline__ unsigned int shared_address(const void* pointer)
{
    return (unsigned int)__cvta_generic_to_shared(pointer);
}

// Four 8x8 matrices of 16-bit elements. Lane i names row i % 8 of matrix i / 8; afterwards register j of a lane holds
// elements (lane / 4, 2 (lane % 4)) and its right neighbour of matrix j, or of its transpose.
__device__ __forceinline__ void load_matrices(unsigned int (&r)[4], unsigned int row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row));
}

__device__ __forceinline__ void load_matrices_transposed(unsigned int (&r)[4], unsigned int row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row));
}

// d += a b with a (16, 16), b (16, 8) and d (16, 8).
__device__ __forceinline__ void multiply(float (&d)[4], const unsigned int (&a)[4], unsigned int b0, unsigned int b1,
                                         float16)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ void multiply(float (&d)[4], const unsigned int (&a)[4], unsigned int b0, unsigned int b1,
                                         bfloat16)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Two elements in one register, the first one in the lower half.
__device__ __forceinline__ unsigned int pair_of(float low, float high, float16)
{
    unsigned int r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

__device__ __forceinline__ unsigned int pair_of(float low, float high, bfloat16)
{
    unsigned int r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

// Sixteen bytes into shared memory in the background; zeros when there is nothing to fetch.
__device__ __forceinline__ void fetch(unsigned int to, const void* from, bool any)
{
    const int size = any ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(size)
                 : "memory");
}

__device__ __forceinline__ void end_fetches()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most N of the groups that this thread ended are still under way.
template <int N> __device__ __forceinline__ void await_fetches()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
#endif
