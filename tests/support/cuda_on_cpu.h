// Runs CUDA kernels on the CPU: block after block, every thread of a block as a fiber. Tests reach index arithmetic,
// barriers, shuffles and atomics of our kernels with it on machines without a GPU; cuda_on_cpu.py compiles and calls.
//
// Threads run one at a time, each until it waits (barrier, warp operation) or returns; Order::seed shuffles which
// comes first, so that a missing barrier changes results. Found and reported: a barrier or warp operation that some
// thread never reaches, lanes that have returned, misaligned and out-of-bounds accesses (guard pages, the compiler's
// undefined-behaviour checks), arguments of a wrong size. Shared memory holds 0xFF before every block.
// Not modelled: blocks that wait for other blocks, inline PTX (write `#ifndef CUDA_ON_CPU` around it), timing.
// cuda_on_cpu::exchange(mask, value, received) is the warp operation to build others from, such as mma.
#pragma once
#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <math.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <utility>

#define CUDA_ON_CPU 1
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ static __attribute__((section("cuda_shared")))
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__

struct uint3 {
    unsigned int x, y, z;
};
struct dim3 {
    unsigned int x = 1, y = 1, z = 1;
};
static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
static const int warpSize = 32;

extern "C" char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));

namespace cuda_on_cpu {

// Stacks are no power of two apart, so that their tops do not compete for the same sets of the cache.
constexpr size_t STACK_BYTES = (192 << 10) + 17 * 64, LARGEST_VALUE = 64;
constexpr unsigned int MOST_THREADS = 1024, BARRIERS = 16, DYNAMIC_SHARED_BYTES = 228 << 10;
enum class State { RUNNABLE, AT_BARRIER, AT_WARP, DONE };

// What the lanes of one warp operation brought along; it is free again when all of them have read it.
struct Meeting {
    unsigned int readers;
    alignas(16) unsigned char value[32][LARGEST_VALUE];
};

struct Fiber {
    ucontext_t context; // for its start; afterwards it is left and entered by `resume`, which asks nothing of the system
    jmp_buf resume;
    bool started;
    State state;
    uint3 index;
    unsigned int number, barrier, mask;
    size_t size;
    alignas(16) unsigned char sent[LARGEST_VALUE];
    Meeting* meeting;
};

struct Barrier {
    unsigned int arrived, expected;
    int sum, result;
};

struct Order {
    unsigned int grid[3], block[3], shared_bytes, seed, arguments;
};

struct Fault { // what Python reads after a launch
    char text[400];
    void* program_counter;
};

static Fiber fibers[MOST_THREADS];
static Meeting meetings[MOST_THREADS]; // as many for a warp as it has lanes: a lane waits for one at a time
static Barrier barriers[BARRIERS];
alignas(128) static unsigned char dynamic_bytes[DYNAMIC_SHARED_BYTES];
static char* stacks;
static jmp_buf scheduler;
static Fiber* self;
static unsigned int threads, alive;
static Fault* fault;
static uint64_t random_state;
static void (*invoke)();
static void* kernel_address;
static void** kernel_arguments;

static unsigned int random_below(unsigned int limit)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned int)((random_state >> 33) % limit);
}

static void note(const char* format, va_list values)
{
    int used = snprintf(fault->text, sizeof(fault->text), "block (%u, %u, %u) thread (%u, %u, %u): ", blockIdx.x, blockIdx.y,
                        blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
    vsnprintf(fault->text + used, sizeof(fault->text) - used, format, values);
}

// Outside of fibers: whoever calls it returns at once.
static void report(const char* format, ...)
{
    va_list values;
    va_start(values, format);
    note(format, values);
    va_end(values);
}

// Inside of a fiber, which ends here.
[[noreturn]] static void fail(const char* format, ...)
{
    va_list values;
    va_start(values, format);
    note(format, values);
    va_end(values);
    _longjmp(scheduler, 1);
}

static void on_signal(int number, siginfo_t* info, void* context)
{
    fault->program_counter = (void*)info->si_addr;
#if defined(__x86_64__)
    fault->program_counter = (void*)static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    fault->program_counter = (void*)static_cast<ucontext_t*>(context)->uc_mcontext.pc;
#endif
    if (number == SIGILL || number == SIGTRAP) {
        fail("undefined behaviour (index out of an array's bounds, misaligned access, shift or overflow)");
    }
    fail("wrong access at %p (out of bounds or misaligned)", info->si_addr);
}

static void yield()
{
    if (_setjmp(self->resume) == 0) {
        _longjmp(scheduler, 1);
    }
}

static void enter(Fiber& fiber)
{
    if (fiber.started) {
        _longjmp(fiber.resume, 1);
    }
    fiber.started = true;
    setcontext(&fiber.context);
}

static void release_if_complete(unsigned int id)
{
    Barrier& barrier = barriers[id];
    if (barrier.arrived == 0 || barrier.arrived < (barrier.expected ? barrier.expected : alive)) {
        return;
    }
    for (unsigned int i = 0; i < threads; ++i) {
        if (fibers[i].state == State::AT_BARRIER && fibers[i].barrier == id) {
            fibers[i].state = State::RUNNABLE;
        }
    }
    barrier.result = barrier.sum;
    barrier.arrived = barrier.sum = 0;
}

// Waits until `expected` threads (0: every thread of the block that has not returned) stand at barrier `id`; returns
// the sum of their values.
static int barrier_sum(unsigned int id, unsigned int expected, int value)
{
    self->state = State::AT_BARRIER;
    self->barrier = id;
    barriers[id].expected = expected;
    barriers[id].arrived += 1;
    barriers[id].sum += value;
    release_if_complete(id);
    yield();
    return barriers[id].result;
}

static void release_warp_if_complete(unsigned int first, unsigned int mask)
{
    for (unsigned int lane = 0; lane < 32; ++lane) {
        if (mask >> lane & 1) {
            const Fiber& other = fibers[first + lane];
            if (first + lane >= threads || other.state == State::DONE) {
                fail("lane %u is named in the mask %08x but has returned or does not exist", lane, mask);
            }
            if (other.state != State::AT_WARP || other.mask != mask) {
                return;
            }
            if (other.size != self->size) {
                fail("lanes of one warp operation exchange values of %zu and %zu bytes", other.size, self->size);
            }
        }
    }
    Meeting* meeting = meetings + first;
    while (meeting->readers != 0) {
        ++meeting;
    }
    for (unsigned int lane = 0; lane < 32; ++lane) {
        if (mask >> lane & 1) {
            Fiber& member = fibers[first + lane];
            memcpy(meeting->value[lane], member.sent, self->size);
            meeting->readers += 1;
            member.meeting = meeting;
            member.state = State::RUNNABLE;
        }
    }
}

// Waits for the lanes of the mask; the values of all of them are then in `self->meeting`, until `part`.
template <class T> static void meet(unsigned int mask, const T& value)
{
    static_assert(sizeof(T) <= LARGEST_VALUE);
    const unsigned int lane = self->number % 32;
    if (!(mask >> lane & 1)) {
        fail("the mask %08x does not name the calling lane %u", mask, lane);
    }
    memcpy(self->sent, &value, sizeof(T));
    self->state = State::AT_WARP;
    self->mask = mask;
    self->size = sizeof(T);
    release_warp_if_complete(self->number - lane, mask);
    yield();
}

static void part() { self->meeting->readers -= 1; }

// Waits for the lanes of the mask and gives each the values of all: received[lane] for every lane in the mask.
template <class T> static void exchange(unsigned int mask, const T& value, T* received)
{
    meet(mask, value);
    for (unsigned int from = 0; from < 32; ++from) {
        if (mask >> from & 1) {
            memcpy(&received[from], self->meeting->value[from], sizeof(T));
        }
    }
    part();
}

template <class T> static T shuffle(unsigned int mask, T value, int source, bool inside)
{
    meet(mask, value);
    if (inside && !(mask >> source & 1)) {
        fail("reads lane %d, which the mask %08x does not name", source, mask);
    }
    if (inside) {
        memcpy(&value, self->meeting->value[source], sizeof(T));
    }
    part();
    return value;
}

static void fiber_main()
{
    invoke();
    self->state = State::DONE;
    alive -= 1;
    for (unsigned int id = 0; id < BARRIERS; ++id) {
        release_if_complete(id);
    }
    yield();
}

static void start(Fiber& fiber, unsigned int number)
{
    fiber.state = State::RUNNABLE;
    fiber.started = false;
    fiber.number = number;
    fiber.index = {number % blockDim.x, number / blockDim.x % blockDim.y, number / blockDim.x / blockDim.y};
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stacks + number * STACK_BYTES;
    fiber.context.uc_stack.ss_size = STACK_BYTES;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, fiber_main, 0);
}

// Seed 0: as they are numbered. Seed 1: whole warps in another order, each as far as it gets before the next one moves,
// which shows who reads too late. Other seeds: any order.
static void shuffle_turns(unsigned int* turn, unsigned int seed)
{
    if (seed == 1) {
        const unsigned int warps = (threads + 31) / 32, ragged = threads % 32, first = random_below(warps);
        for (unsigned int i = 0, warp = first; i < threads; warp = (warp + 1) % warps) {
            const unsigned int lanes = warp == warps - 1 && ragged != 0 ? ragged : 32;
            for (unsigned int lane = 0; lane < lanes; ++lane) {
                turn[i++] = warp * 32 + lane;
            }
        }
    } else if (seed != 0) {
        for (unsigned int i = threads - 1; i > 0; --i) {
            std::swap(turn[i], turn[random_below(i + 1)]);
        }
    }
}

static bool warp_can_go_on(unsigned int warp)
{
    for (unsigned int i = warp * 32; i < threads && i < warp * 32 + 32; ++i) {
        if (fibers[i].state == State::RUNNABLE) {
            return true;
        }
    }
    return false;
}

static void run_block(unsigned int seed)
{
    if (__start_cuda_shared != nullptr) {
        memset(__start_cuda_shared, 0xFF, __stop_cuda_shared - __start_cuda_shared);
    }
    memset(dynamic_bytes, 0xFF, sizeof(dynamic_bytes));
    memset(barriers, 0, sizeof(barriers));
    for (unsigned int i = 0; i < threads; ++i) {
        meetings[i].readers = 0;
    }
    alive = threads;
    static unsigned int turn[MOST_THREADS];
    for (unsigned int i = 0; i < threads; ++i) {
        start(fibers[i], i);
        turn[i] = i;
    }
    // Volatile: what changes between two visits of _setjmp must not live in a register.
    volatile bool progress = true;
    while (alive > 0 && !fault->text[0]) {
        if (!progress) {
            report("deadlock: %u thread(s) wait for others that never come", alive);
            return;
        }
        shuffle_turns(turn, seed);
        progress = false;
        for (volatile unsigned int i = 0; i < threads && !fault->text[0]; i = i + 1) {
            self = &fibers[turn[i]];
            if (self->state == State::RUNNABLE) {
                progress = true;
                threadIdx = self->index;
                if (_setjmp(scheduler) == 0) {
                    enter(*self);
                }
            }
            const bool last = i + 1 == threads || turn[i + 1] / 32 != turn[i] / 32;
            if (seed == 1 && last && warp_can_go_on(turn[i] / 32)) {
                i = i - turn[i] % 32 - 1; // once more from the first lane of this warp
            }
        }
    }
}

static void run_grid(const Order& order)
{
    const unsigned int blocks = gridDim.x * gridDim.y * gridDim.z;
    const unsigned int offset = order.seed == 0 ? 0 : random_below(blocks);
    for (unsigned int i = 0; i < blocks && !fault->text[0]; ++i) {
        const unsigned int block = (i + offset) % blocks;
        blockIdx = {block % gridDim.x, block / gridDim.x % gridDim.y, block / gridDim.x / gridDim.y};
        run_block(order.seed);
    }
}

template <class... A, size_t... I> static void call(std::index_sequence<I...>)
{
    reinterpret_cast<void (*)(A...)>(kernel_address)(*static_cast<std::remove_const_t<A>*>(kernel_arguments[I])...);
}

template <class... A> static void launch(void (*kernel)(A...), const Order& order, void** values, const unsigned int* sizes,
                                         Fault* found)
{
    fault = found;
    random_state = order.seed;
    blockDim = {order.block[0], order.block[1], order.block[2]};
    gridDim = {order.grid[0], order.grid[1], order.grid[2]};
    threads = blockDim.x * blockDim.y * blockDim.z;
    threadIdx = blockIdx = {0, 0, 0};
    const unsigned int wanted[] = {(unsigned int)sizeof(A)...};
    if (threads == 0 || threads > MOST_THREADS || order.shared_bytes > DYNAMIC_SHARED_BYTES) {
        return report("a block of %u threads with %u bytes of shared memory cannot be launched", threads,
                      order.shared_bytes);
    }
    if (order.arguments != sizeof...(A)) {
        return report("takes %zu arguments but was given %u", sizeof...(A), order.arguments);
    }
    for (size_t i = 0; i < sizeof...(A); ++i) {
        if (sizes[i] != wanted[i]) {
            return report("argument %zu takes %u bytes but was given %u", i, wanted[i], sizes[i]);
        }
    }
    if (stacks == nullptr) {
        stacks = static_cast<char*>(mmap(nullptr, MOST_THREADS * STACK_BYTES, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    }
    kernel_address = reinterpret_cast<void*>(kernel);
    kernel_arguments = values;
    invoke = [] { call<A...>(std::index_sequence_for<A...>{}); };
    run_grid(order);
}

template <class... A> static void guarded(void (*kernel)(A...), const Order* order, void** values,
                                          const unsigned int* sizes, Fault* found)
{
    static char signal_stack[64 << 10];
    stack_t alternate = {}, before_stack;
    alternate.ss_sp = signal_stack;
    alternate.ss_size = sizeof(signal_stack);
    sigaltstack(&alternate, &before_stack);
    const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    struct sigaction before[5], action = {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (int i = 0; i < 5; ++i) {
        sigaction(signals[i], &action, &before[i]);
    }
    launch(kernel, *order, values, sizes, found);
    for (int i = 0; i < 5; ++i) {
        sigaction(signals[i], &before[i], nullptr);
    }
    sigaltstack(&before_stack, nullptr);
}

} // namespace cuda_on_cpu

#include "cuda_on_cpu_intrinsics.h"
#include "cuda_on_cpu_tensor.h"
