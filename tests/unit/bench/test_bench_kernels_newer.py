"""The second half of test_bench_kernels: every kernel compiles clean for the newer architectures."""

from collections.abc import Mapping

import pytest
from support.nvrtc_build import combinations, require_clean
from tesserabench.bench.kernels import ARCHITECTURES

OLDER = ("80", "90")


@pytest.mark.parametrize(
    ("module", "variant", "architecture"), combinations([name for name in ARCHITECTURES if name not in OLDER])
)
def test_kernel_compiles_clean(module: str, variant: Mapping[str, str], architecture: str) -> None:
    require_clean(module, variant, architecture)
