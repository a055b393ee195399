"""The work of a declared kernel, with a device that runs kernels written in Python."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from tesserabench.bench import ArrayDevice, Params
from tesserabench.bench.bundle.declared import Declared, read_declared
from tesserabench.bench.bundle.declared_work import DeclaredWork, make_input
from tesserabench.bench.bundle.expression import ExpressionError
from tesserabench.bench.bundle.table import Source, Table

PARAMS = Params({"rows": 3, "columns": 5, "dtype": "float32"})
ARGUMENTS = [
    {"input": "x", "dtype": "dtype", "shape": ["rows", "columns"]},
    {"input": "index", "dtype": "int32", "shape": ["rows"], "distribution": "integers", "high": "columns"},
    {"output": "sums", "dtype": "dtype", "shape": ["rows"]},
    {"scalar": "factor", "type": "float32", "value": "0.5 * columns"},
    {"scalar": "rows", "type": "uint64"},
]


class PythonKernels:
    """A device whose kernels are Python functions by name; remembers what was asked of its compiler."""

    def __init__(self, **kernels: Callable[..., None]) -> None:
        self.xp, self.kernels = np, kernels
        self.compiled: list[tuple[str, str, tuple[str, ...], dict[str, str]]] = []
        self.launched: list[tuple[Any, Any, int]] = []

    def compile(
        self, source: str, function: str, *, name: str, options: Sequence[str] = (), defines: Mapping[str, str]
    ) -> Callable[..., None]:
        self.compiled.append((name, function, tuple(options), dict(defines)))

        def launch(grid: Any, block: Any, arguments: tuple[Any, ...], *, shared_mem: int = 0) -> None:
            self.launched.append((grid, block, shared_mem))
            self.kernels[function](*arguments)

        return launch

    def synchronize(self) -> None:
        """Nothing to wait for."""


def declared(**changes: object) -> Declared:
    data: dict[str, object] = {
        "name": "sums",
        "summary": "weighted sums of rows",
        "source": "sums.cu",
        "function": "sums",
        "grid": ["rows", 1],
        "block": "ceil_div(columns, 32) * 32",
        "shared_bytes": "4 * columns",
        "arguments": ARGUMENTS,
        "defines": {"ELEMENT": "ctype(dtype)", "WIDE": "columns > 4"},
        "options": ["--use_fast_math"],
        "parameters": {"rows,columns": [[3, 5]], "dtype": ["float32"]},
        "reference": {"sums": "factor * sum(x, axis=1) + index"},
    }
    return read_declared(Table(Source(name="tesserabench.toml", lines={}), ("benchmark", 0), {**data, **changes}))


def sums(x: Any, index: Any, out: Any, factor: Any, rows: Any) -> None:
    assert (factor.dtype, rows.dtype, int(rows)) == (np.float32, np.uint64, 3)
    out[:] = factor * x.sum(axis=1) + index


def work(found: Declared, device: PythonKernels, folder: Path) -> DeclaredWork:
    return DeclaredWork(found, folder, cast("ArrayDevice", device), PARAMS, seed=7)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("kernels")
    (found / "sums.cu").write_text("// read, never compiled")
    (found / "slow.cu").write_text("// likewise")
    return found


def test_kernel_is_compiled_and_launched_as_declared(folder: Path) -> None:
    device = PythonKernels(sums=sums)
    found = work(declared(), device, folder)
    found.launch()
    assert device.compiled == [("sums", "sums", ("--use_fast_math",), {"ELEMENT": "float", "WIDE": "1"})]
    assert device.launched == [((3, 1), (32,), 20)]


def test_outputs_are_compared_with_the_formula(folder: Path) -> None:
    found = work(declared(), PythonKernels(sums=sums), folder)
    found.poison()
    assert np.isnan(found.outputs()["sums"]).all()
    assert found.outputs()["sums.unwritten"] == 3
    found.launch()
    exact, got = found.reference(), found.outputs()
    assert set(exact) == set(got)
    assert exact["sums"].dtype == np.float64
    assert np.allclose(exact["sums"], got["sums"], rtol=1e-6)
    assert got["sums.unwritten"] == exact["sums.unwritten"] == 0


def test_kernel_that_writes_over_an_input_is_found_out(folder: Path) -> None:
    def careless(x: Any, index: Any, out: Any, factor: Any, rows: Any) -> None:
        sums(x, index, out, factor, rows)
        index[0] += 1

    good, bad = (work(declared(), PythonKernels(sums=kernel), folder) for kernel in (sums, careless))
    before = good.checksum()
    assert bad.checksum() == before
    for found in (good, bad):
        found.launch()
    assert good.checksum() == before
    assert bad.checksum() != before


def test_reference_may_be_another_kernel_over_the_same_inputs(folder: Path) -> None:
    slow = {"source": "slow.cu", "function": "slow", "grid": "rows", "block": "1"}
    device = PythonKernels(sums=sums, slow=sums)
    found = work(declared(reference={}, reference_kernel=slow), device, folder)
    found.launch()
    before = found.outputs()["sums"].copy()
    found.poison()
    assert np.array_equal(found.reference()["sums"], before.astype(np.float64))
    assert np.isnan(found.outputs()["sums"]).all(), "the reference has outputs of its own"
    assert device.launched[-1] == ((3,), (1,), 0)


def test_inputs_are_the_same_for_a_seed_and_never_zeros() -> None:
    found = declared()
    x, index = (make_input(np, item, PARAMS, 7, stream) for stream, item in enumerate(found.inputs))
    assert np.array_equal(x, make_input(np, found.inputs[0], PARAMS, 7, 0))
    assert not np.array_equal(x, make_input(np, found.inputs[0], PARAMS, 8, 0))
    assert x.shape == (3, 5)
    assert np.count_nonzero(x) == 15
    assert index.dtype == np.int32
    assert ((index >= 0) & (index < 5)).all()


def test_whole_numbers_need_a_range() -> None:
    whole = {"input": "index", "dtype": "int32", "shape": ["rows"]}
    found = declared(arguments=[ARGUMENTS[0], whole, *ARGUMENTS[2:]])
    with pytest.raises(ExpressionError, match="need the distribution 'integers'"):
        make_input(np, found.inputs[1], PARAMS, 0, 0)
