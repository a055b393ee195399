"""Every kernel compiles for every architecture we name, without a warning and without spilled registers.

NVRTC and ptxas need no GPU for that. What is compiled stands in the first lines of each source. The newer half of the
architectures stands in a file of its own, so that two workers share the compilations.
"""

from collections.abc import Mapping

import pytest
from support.nvrtc_build import build, combinations, require_clean
from tesserabench.bench.kernels import ARCHITECTURES, compile_options, expand, find, modules, parse, source


@pytest.mark.parametrize(("module", "variant", "architecture"), combinations(("80", "90")))
def test_kernel_compiles_clean(module: str, variant: Mapping[str, str], architecture: str) -> None:
    require_clean(module, variant, architecture)


def test_compiler_is_really_asked() -> None:
    built = build(source("spin") + "oops", "spin", compile_options({}), "90")
    assert built.binary == b""
    assert "spin.cu" in built.log


def test_spills_are_really_seen() -> None:
    text = """extern "C" __global__ void greedy(float* x) {
        float y[64];
        #pragma unroll
        for (int i = 0; i < 64; ++i) y[i] = x[i * 1024 + threadIdx.x];
        __syncthreads();
        #pragma unroll
        for (int i = 0; i < 64; ++i) x[i * 1024 + threadIdx.x] = y[63 - i] * y[(i * 7) % 64];
    }"""
    built = build(text, "greedy", (*compile_options({}), "--maxrregcount=32"), "90")
    assert built.resources["greedy"].registers <= 32
    assert built.resources["greedy"].spilled_bytes > 0


def test_device_service_kernels_are_found() -> None:
    assert {"spin", "sweep"} <= set(modules())
    assert find("copy").variants == ({"ELEMENT": "float"}, {"ELEMENT": "double"})
    assert find("spin").variants == ({},)
    assert find("copy").functions == ("copy",)


def test_first_lines_say_how_to_compile() -> None:
    text = """// What it does.
// variants: ELEMENT=float,double WIDTH=1,2
// variants: ELEMENT="long long"
// architectures: 90a, 100a
// spills: its accumulators are worth it
extern "C" __global__ __launch_bounds__(sizeof(float) * (32)) void first(float* a) {}
template <int N> __device__ void inner() {}
extern "C" __global__ void
second(float* a) {}
__global__ void __launch_bounds__(256, 2) third(float* a) {}
// variants: LATE=1
"""
    found = parse("shown", text, lambda _: "")
    assert len(found.variants) == 5
    assert found.variants[1] == {"ELEMENT": "float", "WIDTH": "2"}
    assert found.variants[4] == {"ELEMENT": "long long"}
    assert (found.architectures, found.may_spill) == (("90a", "100a"), True)
    assert found.functions == ("first", "second", "third")
    assert parse("bare", "int x;", lambda _: "").architectures == ARCHITECTURES


def test_wrong_variant_names_its_line() -> None:
    with pytest.raises(ValueError, match=r"shown.cu: '// variants: ELEMENT': 'ELEMENT' is no definition"):
        parse("shown", "// variants: ELEMENT\n", lambda _: "")


def test_own_files_are_included_once_and_cycles_end() -> None:
    files = {"a.cuh": '#include "b.cuh"\nint a;\n', "b.cuh": '#include "a.cuh"\n#include <cuda_fp16.h>\nint b;\n'}
    text = expand("shown", '#include "a.cuh"\n  # include "b.cuh"\nint c;\n', files.__getitem__)
    assert [line for line in text.splitlines() if line.startswith("int")] == ["int b;", "int a;", "int c;"]
    assert text.count("<cuda_fp16.h>") == 1
