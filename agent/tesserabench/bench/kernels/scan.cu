// variants: ELEMENT=int,float,double
// The inclusive sum in three passes of fixed shape, so that the same inputs give the same bits: every block sums its
// own run of the array, one block scans those sums, every block scans its run on top of what stands before it. Runs are
// whole packs of sixteen bytes; blocks have 256 threads, and there are at most 1024 of them.
#define THREADS 256
#define MOST_BLOCKS 1024
#define WIDTH (16 / sizeof(ELEMENT))

struct alignas(16) Pack {
    ELEMENT lane[WIDTH];
};

__device__ ELEMENT scan_warp(ELEMENT value)
{
    const unsigned int lane = threadIdx.x % 32;
    for (unsigned int offset = 1; offset < 32; offset *= 2) {
        const ELEMENT before = __shfl_up_sync(0xffffffffu, value, offset);
        value += lane >= offset ? before : ELEMENT(0);
    }
    return value;
}

// The inclusive sum over the threads of a block of N; `total` gets that of the last one.
template <int N> __device__ ELEMENT scan_block(ELEMENT value, ELEMENT& total)
{
    __shared__ ELEMENT warps[N / 32];
    value = scan_warp(value);
    __syncthreads(); // whoever still reads the sums of the step before
    if (threadIdx.x % 32 == 31) {
        warps[threadIdx.x / 32] = value;
    }
    __syncthreads();
    ELEMENT before = 0, sum = 0;
    for (unsigned int warp = 0; warp < N / 32; ++warp) {
        before = warp == threadIdx.x / 32 ? sum : before;
        sum += warps[warp];
    }
    total = sum;
    return before + value;
}

// The elements of a thread in one step; behind the end there is nothing to add.
__device__ Pack load(const ELEMENT* a, unsigned long long pack, unsigned long long count)
{
    const unsigned long long first = pack * WIDTH;
    if (first + WIDTH <= count) {
        return reinterpret_cast<const Pack*>(a)[pack];
    }
    Pack x;
#pragma unroll
    for (unsigned int lane = 0; lane < WIDTH; ++lane) {
        x.lane[lane] = first + lane < count ? a[first + lane] : ELEMENT(0);
    }
    return x;
}

// sums[block] = the sum of the block's run of `packs` packs.
extern "C" __global__ __launch_bounds__(THREADS) void scan_reduce(const ELEMENT* __restrict__ a,
                                                                  ELEMENT* __restrict__ sums,
                                                                  unsigned long long count, unsigned long long packs)
{
    const unsigned long long begin = blockIdx.x * packs;
    ELEMENT sum = 0, total;
    for (unsigned long long i = threadIdx.x; i < packs; i += THREADS) {
        const Pack x = load(a, begin + i, count);
#pragma unroll
        for (unsigned int lane = 0; lane < WIDTH; ++lane) {
            sum += x.lane[lane];
        }
    }
    scan_block<THREADS>(sum, total);
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = total;
    }
}

// sums[i] = the sum of all before i; one block of MOST_BLOCKS threads.
extern "C" __global__ __launch_bounds__(MOST_BLOCKS) void scan_sums(ELEMENT* __restrict__ sums, unsigned int blocks)
{
    ELEMENT total;
    const ELEMENT own = threadIdx.x < blocks ? sums[threadIdx.x] : ELEMENT(0);
    const ELEMENT until = scan_block<MOST_BLOCKS>(own, total);
    const ELEMENT before = __shfl_up_sync(0xffffffffu, until, 1);
    __shared__ ELEMENT last[MOST_BLOCKS / 32];
    if (threadIdx.x % 32 == 31) {
        last[threadIdx.x / 32] = until;
    }
    __syncthreads();
    if (threadIdx.x < blocks) {
        const unsigned int warp = threadIdx.x / 32;
        sums[threadIdx.x] = threadIdx.x % 32 != 0 ? before : warp == 0 ? ELEMENT(0) : last[warp - 1];
    }
}

extern "C" __global__ __launch_bounds__(THREADS) void scan_runs(const ELEMENT* __restrict__ a,
                                                                ELEMENT* __restrict__ b,
                                                                const ELEMENT* __restrict__ sums,
                                                                unsigned long long count, unsigned long long packs)
{
    const unsigned long long begin = blockIdx.x * packs;
    ELEMENT carry = sums[blockIdx.x], total;
    for (unsigned long long step = 0; step < packs; step += THREADS) {
        const unsigned long long i = step + threadIdx.x;
        Pack x = load(a, i < packs ? begin + i : count, count); // a pack behind the end is nothing
#pragma unroll
        for (unsigned int lane = 1; lane < WIDTH; ++lane) {
            x.lane[lane] += x.lane[lane - 1];
        }
        const ELEMENT until = scan_block<THREADS>(x.lane[WIDTH - 1], total);
        const ELEMENT before = carry + (until - x.lane[WIDTH - 1]);
        carry += total;
#pragma unroll
        for (unsigned int lane = 0; lane < WIDTH; ++lane) {
            x.lane[lane] += before;
        }
        const unsigned long long first = (begin + i) * WIDTH;
        if (i < packs && first + WIDTH <= count) {
            reinterpret_cast<Pack*>(b)[begin + i] = x;
        } else if (i < packs) {
            for (unsigned int lane = 0; lane < WIDTH && first + lane < count; ++lane) {
                b[first + lane] = x.lane[lane];
            }
        }
    }
}
