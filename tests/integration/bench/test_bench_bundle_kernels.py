"""Kernels of the templates and of the tutorial, run thread by thread on the CPU and held against their references."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from support.cuda_on_cpu import SEEDS, EmulatedCuda, EmulatedKernel, check_work, needs_gxx, text_module
from tesserabench.bench import ArrayDevice, Params
from tesserabench.bench.bundle import load_bundle
from tesserabench.bench.bundle.beginning import begin_bundle

TUTORIAL = Path(__file__).resolve().parents[3] / "docs" / "guide" / "your-own-kernels.md"


class BundleCuda(EmulatedCuda):
    """An emulated device that also compiles what is not ours."""

    def compile(
        self, source: str, function: str, *, name: str, options: Sequence[str] = (), defines: Mapping[str, str]
    ) -> EmulatedKernel:
        assert not options
        plain = re.sub(r"^#line .*$", "", source, flags=re.MULTILINE)
        found = text_module(plain, function, **defines)
        found.seed = self.seed
        return found


def check(folder: Path, benchmark: str, params: Mapping[str, Any], order: int) -> None:
    bundle = load_bundle(folder)
    device = cast("ArrayDevice", BundleCuda(seed=order))
    work = bundle.registry.find_benchmark(f"{bundle.name}/{benchmark}").prepare(device, Params(params), 3)
    check_work(work, 1e-5)


@needs_gxx
@pytest.mark.parametrize("order", SEEDS)
@pytest.mark.parametrize("n", [1, 255, 1001])
def test_saxpy_of_the_cuda_template_is_right_at_every_size(n: int, order: int, tmp_path: Path) -> None:
    begin_bundle(tmp_path / "mine", "cuda")
    check(tmp_path / "mine", "saxpy", {"n": n, "threads": 64, "dtype": "float64"}, order)


@needs_gxx
@pytest.mark.parametrize("fused", [True, False])
def test_kernels_of_the_fusion_template_are_right(*, fused: bool, tmp_path: Path) -> None:
    begin_bundle(tmp_path / "mine", "fusion")
    check(tmp_path / "mine", "bias_gelu", {"n": 777, "fused": fused}, 1)


@needs_gxx
@pytest.mark.parametrize("order", SEEDS)
@pytest.mark.parametrize(("rows", "columns", "threads"), [(1, 1, 32), (3, 1000, 128), (5, 33, 64)])
def test_kernel_of_the_tutorial_is_right(rows: int, columns: int, threads: int, order: int, tmp_path: Path) -> None:
    for name, text in re.findall(
        r"^```\w+ file=rows/(\S+)\n(.*?)^```$", TUTORIAL.read_text(), re.MULTILINE | re.DOTALL
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    params = {"rows": rows, "columns": columns, "threads": threads, "dtype": "float32"}
    check(tmp_path, "row_sum", params, order)
