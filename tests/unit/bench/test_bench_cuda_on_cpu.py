"""The emulator itself: it runs what is right and catches what is wrong, because tests of kernels lean on it."""

import numpy as np
import pytest
from support.cuda_on_cpu import SEEDS, EmulationError, needs_gxx, text_module

pytestmark = needs_gxx

REVERSE = """
extern "C" __global__ void reverse(float* data) {
    extern __shared__ float held[];
    held[threadIdx.x] = data[threadIdx.x];
    BARRIER
    data[threadIdx.x] = held[blockDim.x - 1 - threadIdx.x];
}
"""
WARP = """
extern "C" __global__ void __launch_bounds__(64) warp(unsigned int* out) {
    const unsigned int lane = threadIdx.x % 32;
    unsigned int sum = lane;
    for (int offset = 16; offset > 0; offset /= 2) { sum += __shfl_xor_sync(0xffffffffu, sum, offset); }
    const unsigned int up = __shfl_up_sync(0xffffffffu, lane, 3);
    const unsigned int down = __shfl_down_sync(0xffffffffu, lane, 5, 8);
    unsigned int half = 0;
    if (lane < 16) { half = __shfl_sync(0x0000ffffu, lane, 2); } else { half = __shfl_sync(0xffff0000u, lane, 17); }
    const unsigned int odd = __ballot_sync(0xffffffffu, lane & 1);
    const unsigned int same = __match_any_sync(0xffffffffu, lane / 8);
    unsigned int* mine = out + 6 * threadIdx.x;
    mine[0] = sum; mine[1] = up; mine[2] = down; mine[3] = half; mine[4] = odd; mine[5] = same;
}
"""


@pytest.mark.parametrize("seed", SEEDS)
def test_barriers_order_shared_memory(seed: int) -> None:
    data = np.arange(96, dtype=np.float32)
    kernel = text_module(REVERSE, "reverse", BARRIER="__syncthreads();")
    kernel.seed = seed
    kernel((1,), (96,), (data,), shared_mem=96 * 4)
    assert data.tolist() == list(range(95, -1, -1))


def test_missing_barrier_changes_the_result() -> None:
    data = np.arange(96, dtype=np.float32)
    text_module(REVERSE, "reverse", BARRIER=";")((1,), (96,), (data,), shared_mem=96 * 4)
    assert data.tolist() != list(range(95, -1, -1))


LATE = """
extern "C" __global__ void late(int* out) {
    __shared__ int held;
    int sum = 0;
    for (int turn = 0; turn < 4; ++turn) {
        AFTER
        if (threadIdx.x == 0) { held = turn; }
        __syncthreads();
        sum = 10 * sum + held;
        sum = __shfl_xor_sync(0xffffffffu, sum, 1);
    }
    out[threadIdx.x] = sum;
}
"""


def test_reading_too_late_is_seen_when_one_warp_runs_ahead() -> None:
    def run(after: str) -> bool:
        right = []
        for seed in SEEDS:
            out = np.zeros(96, dtype=np.int32)
            kernel = text_module(LATE, "late", AFTER=after)
            kernel.seed = seed
            kernel((1,), (96,), (out,))
            right.append(bool((out == 123).all()))
        return all(right)

    assert run("__syncthreads();")
    assert not run(";")


@pytest.mark.parametrize("seed", SEEDS)
def test_warp_operations_mean_what_cuda_says(seed: int) -> None:
    out = np.zeros((64, 6), dtype=np.uint32)
    kernel = text_module(WARP, "warp")
    kernel.seed = seed
    kernel((1,), (64,), (out,))
    lane = np.arange(64, dtype=np.uint32) % 32
    assert (out[:, 0] == 496).all()
    assert (out[:, 1] == np.where(lane < 3, lane, lane - 3)).all()
    assert (out[:, 2] == np.where(lane % 8 < 3, lane + 5, lane)).all()
    assert (out[:, 3] == np.where(lane < 16, 2, 17)).all()
    assert (out[:, 4] == 0xAAAAAAAA).all()
    assert (out[:, 5] == 0xFF << (lane // 8 * 8)).all()


def test_grid_and_block_have_three_dimensions() -> None:
    text = """extern "C" __global__ void mark(int* out, int step) {
        const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
        const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
        atomicAdd(&out[block], thread * step);
    }"""
    out = np.zeros(24, dtype=np.int32)
    text_module(text, "mark")((4, 3, 2), (2, 3, 5), (out, np.int32(2)))
    assert (out == 2 * 29 * 30 // 2).all()


FAULTS = {
    "a write one element behind an array": ("a[blockDim.x] = 1;", "wrong access"),
    "a read behind an array": ("a[0] = a[blockDim.x + 64];", "wrong access"),
    "a misaligned vector": ("*reinterpret_cast<float4*>(a + 1) = make_float4(1, 2, 3, 4);", "undefined behaviour"),
    "an index outside shared memory": ("__shared__ float s[4]; s[threadIdx.x] = 1; a[0] = s[0];", "undefined"),
    "a shift by the whole width": ("a[0] = 1 << (blockDim.x + n - 32);", "undefined behaviour"),
    "a shuffle that one lane never reaches": (
        "if (threadIdx.x != 3) { a[0] = __shfl_sync(0xffffffffu, a[0], 0); }",
        "lane 3 is named in the mask",
    ),
    "a read of a lane outside the mask": ("if (threadIdx.x < 2) a[0] = __shfl_sync(3u, 1.0f, 5);", "reads lane 5"),
    "a caller outside its mask": ("a[0] = __shfl_sync(0x7fffffffu, 1.0f, 5);", "does not name the calling lane 31"),
    "a barrier against a shuffle": (
        "if (threadIdx.x == 0) { __syncthreads(); } else { a[0] = __shfl_sync(0xffffffffu, 1.0f, 0); }",
        "deadlock",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_named(name: str) -> None:
    body, message = FAULTS[name]
    kernel = text_module(f'extern "C" __global__ void bad(float* a, int n) {{ {body} }}', "bad")
    with pytest.raises(EmulationError, match=message):
        kernel((1,), (32,), (np.zeros(32, dtype=np.float32), np.int32(32)))
    good = np.zeros(96, dtype=np.float32)
    text_module(REVERSE, "reverse", BARRIER="__syncthreads();")((1,), (96,), (good,), shared_mem=384)


def test_shared_memory_is_never_zero_by_luck() -> None:
    text = """extern "C" __global__ void leak(unsigned int* out) {
        __shared__ unsigned int held[32];
        out[blockIdx.x] = held[threadIdx.x]; __syncthreads(); held[threadIdx.x] = 7;
    }"""
    out = np.zeros(3, dtype=np.uint32)
    text_module(text, "leak")((3,), (32,), (out,))
    assert (out == 0xFFFFFFFF).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(4, dtype=np.float32), np.int64(4)), "argument 1 takes 4 bytes but was given 8"),
        ((np.zeros(4, dtype=np.float32),), "takes 2 arguments but was given 1"),
        ((np.zeros((4, 4), dtype=np.float32)[:, 1], np.int32(4)), "not contiguous"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[object, ...], message: str) -> None:
    kernel = text_module('extern "C" __global__ void none(float* a, int n) {}', "none")
    with pytest.raises(EmulationError, match=message):
        kernel((1,), (32,), arguments)


def test_writing_before_an_array_is_found() -> None:
    kernel = text_module('extern "C" __global__ void before(float* a) { a[-1] = 0; }', "before")
    with pytest.raises(EmulationError, match="outside an array of 16 bytes"):
        kernel((1,), (1,), (np.zeros(4, dtype=np.float32),))


def test_overlapping_arguments_are_refused() -> None:
    kernel = text_module('extern "C" __global__ void two(float* a, float* b) {}', "two")
    data = np.zeros(8, dtype=np.float32)
    with pytest.raises(EmulationError, match="share memory"):
        kernel((1,), (1,), (data[:6], data[4:]))


def test_source_that_does_not_compile_is_told() -> None:
    with pytest.raises(EmulationError, match=r"text\.cu:1"):
        text_module('extern "C" __global__ void bad(float* a) { oops }', "bad")
