"""A driver's library that a test scripts: compiled here, and read by the real nvidia-ml-py.

`FakeNvml` holds the GPUs in a text file that the library reads at every call, so that a test can change a GPU while an
agent in this process, or in another, reads it. `loaded` gives it to this process, `environment` to others.
"""

import contextlib
import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

SONAME = "libnvidia-ml.so.1"
_SOURCE = Path(__file__).with_name("library.c")

CLOCK_SM, CLOCK_MEMORY = 1, 2
POWER_CAP, SYNC_BOOST, SW_THERMAL, HW_THERMAL, POWER_BRAKE = 74, 76, 269, 270, 271
"""Field ids of the counters of time under a clock limit."""

Value = str | float

_H100 = """
name NVIDIA H100 80GB HBM3
major 9
minor 0
memory_total 85899345920
memory_used 1073741824
clock.1 1980
clock.2 2619
clock_max.1 1980
clock_max.2 2619
temperature.0 41
power 123000
power_limit 700000
power_limit_default 700000
power_limit_min 200000
power_limit_max 700000
utilization 0
memory_utilization 0
reasons 1
processes ,
field.74 0
field.76 0
field.269 0
field.270 0
field.271 0
violation.0 0
violation.1 0
ecc_volatile.0 0
ecc_volatile.1 0
remapped 0
pcie_replay 0
vbios 96.00.74.00.01
inforom G520.0200.00.05
gsp 580.65.06
ecc 1
ecc_pending 1
mig 0
mig_pending 0
compute_mode 0
persistence 1
pcie_generation 5
pcie_generation_max 5
pcie_width 16
pcie_width_max 16
bus_width 5120
virtualization 0
performance_state 0
"""


@functools.cache
def compiler() -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The C compiler of this machine, if it has one: its command, and what comes after the source.

    The last to be tried is tcc, which deploy/test-tools unpacks where there is no other: it has no headers and no C
    library of its own, and the source needs none.
    """
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return (found, "-fPIC", "-fno-builtin"), ()
    if found := shutil.which("tcc"):
        for own in Path(found).parents[1].glob("lib/*/tcc"):
            return (found, f"-B{own}", "-nostdinc", "-nostdlib"), (str(own / "libtcc1.a"),)
    return None


@functools.cache
def library_path(hidden: frozenset[str] = frozenset()) -> Path:
    """The compiled library; the functions `hidden` are not in it, as in that of an older driver.

    Skips the test where there is no C compiler.
    """
    found = compiler()
    if found is None:
        pytest.skip("no C compiler: the driver's library cannot be built; make test-tools, or apt-get install gcc")
    # Beside no test's own files, because every test of this process uses the same library.
    folder = Path(tempfile.mkdtemp(prefix="fake-nvml-"))
    source = folder / "library.c"
    renames = "".join(f"#define {name} hidden_{name}\n" for name in sorted(hidden))
    source.write_text(renames + _SOURCE.read_text(encoding="utf-8"), encoding="utf-8")
    target = folder / SONAME
    command, libraries = found
    options = ("-shared", f"-Wl,-soname,{SONAME}", "-o", str(target), str(source), *libraries)
    subprocess.run([*command, *options], check=True, capture_output=True, text=True)
    return target


def gpu(index: int = 0, **changes: Value | None) -> dict[str, Value]:
    """A healthy, idle H100 as the lines of the state file; None takes a line out, so that it is not supported."""
    lines: dict[str, Value | None] = {}
    for line in _H100.strip().splitlines():
        key, _, lines[key] = line.partition(" ")
    lines["uuid"] = f"GPU-{index}0000000-0000-0000-0000-000000000000"
    lines["energy"] = moving(5_000, 123_000, period_ms=20)
    lines.update({name.replace("__", "."): value for name, value in changes.items()})
    return {f"{index}.{name}": value for name, value in lines.items() if value is not None}


def moving(base: float, per_second: float, *, since: int | None = None, period_ms: float = 0) -> str:
    """A number that grows by itself, in steps of `period_ms`; `since` is a moment of CLOCK_MONOTONIC."""
    start = time.monotonic_ns() if since is None else since
    return f"{base:g}+{per_second:g}@{start}/{max(1, int(period_ms * 1e6))}"


class FakeNvml:
    """The GPUs of one test."""

    def __init__(self, folder: Path, count: int = 1, hidden: frozenset[str] = frozenset()) -> None:
        self.path = folder / "nvml-state"
        self.library = library_path(hidden)
        self._lines: dict[str, Value] = {"count": count, "driver": "580.65.06", "nvml": "13.580.65", "cuda": 13000}
        for index in range(count):
            self._lines |= gpu(index)
        self._write()

    def set(self, index: int = 0, **changes: Value | None) -> None:
        """Change lines of a GPU; `__` in a name stands for a point, None takes the line out."""
        for name, value in changes.items():
            key = f"{index}.{name.replace('__', '.')}"
            if value is None:
                self._lines.pop(key, None)
            else:
                self._lines[key] = value
        self._write()

    def counter(self, field: int, value: Value, index: int = 0) -> None:
        """Set a counter of time under a clock limit, in nanoseconds."""
        self.set(index, **{f"field__{field}": value})

    def fail(self, function: str, code: int, index: int = 0) -> None:
        """Make a function of a GPU fail from now on."""
        self.set(index, **{f"error__{function}": code})

    def xid(self, number: int, index: int = 0) -> None:
        """Report an error of the GPU, as the driver's event does."""
        with self._beside("events").open("a", encoding="utf-8") as events:
            events.write(f"{index} {number}\n")

    @property
    def calls(self) -> list[tuple[str, int, int, int]]:
        """What was changed: `lock` or `reset`, the GPU's index, lowest and highest frequency."""
        path = self._beside("calls")
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [(what, int(index), int(low), int(high)) for what, index, low, high in map(str.split, lines)]

    def locked(self, index: int = 0) -> tuple[int, int] | None:
        """The frequencies that a GPU is locked to."""
        path = self._beside(f"locked.{index}")
        if not path.exists():
            return None
        low, high = path.read_text(encoding="utf-8").split()
        return int(low), int(high)

    @property
    def environment(self) -> Mapping[str, str]:
        """What makes another process see these GPUs."""
        before = os.environ.get("LD_LIBRARY_PATH", "")
        paths = [str(self.library.parent), *([before] if before else [])]
        return {"LD_LIBRARY_PATH": ":".join(paths), "FAKE_NVML_STATE": str(self.path)}

    @contextlib.contextmanager
    def loaded(self) -> Iterator[Any]:
        """nvidia-ml-py in this process, speaking with this library."""
        import pynvml  # noqa: PLC0415 - a module of the product must not be needed to collect tests

        before = pynvml.nvmlLib
        os.environ["FAKE_NVML_STATE"] = str(self.path)
        # What nvidia-ml-py loads by name, given to it by path: the loader looks for names only where it did at start.
        pynvml.nvmlLib = ctypes.CDLL(str(self.library))
        pynvml._nvmlGetFunctionPointer_cache.clear()
        try:
            yield pynvml
        finally:
            pynvml.nvmlLib = before
            pynvml._nvmlGetFunctionPointer_cache.clear()
            del os.environ["FAKE_NVML_STATE"]

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{suffix}")

    def _write(self) -> None:
        text = "".join(f"{key} {value}\n" for key, value in self._lines.items())
        new = self._beside("new")
        new.write_text(text, encoding="utf-8")
        new.replace(self.path)
