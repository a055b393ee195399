"""The compile suite with the real NVRTC, which needs no GPU."""

import importlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tesserabench.bench import CaseFailure, DeviceInfo, DeviceKind, MeasureOptions, Outcome, run_locally
from tesserabench.bench.verification import compare
from tesserabench.bench.workloads import compiler_work
from tesserabench.bench.workloads.compiler_work import Compilation, load_nvrtc, load_work

TINY = replace(
    MeasureOptions.for_tier("smoke"),
    min_samples=10,
    max_samples=10,
    budget_seconds=0.1,
    warmup_min_seconds=0.0,
    warmup_cap_seconds=0.01,
    probe_ceilings=False,
)


def passed(work: Compilation) -> bool:
    return compare(work.outputs(), work.reference(), 0.0, poisoned=True).passed


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100", "sm_120"])
def test_compilation_gives_a_binary_with_every_kernel(architecture: str) -> None:
    work = Compilation("tick", architecture)
    assert not passed(work)
    work.launch()
    assert passed(work)
    work.poison()
    assert not passed(work)


def test_every_compilation_is_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    nvrtc = load_nvrtc()
    compiled: list[tuple[str, ...]] = []

    def compile_program(program: int, options: tuple[str, ...]) -> None:
        compiled.append(options)
        nvrtc.compileProgram(program, options)

    listening = SimpleNamespace(**{name: getattr(nvrtc, name) for name in dir(nvrtc) if not name.startswith("__")})
    listening.compileProgram = compile_program
    monkeypatch.setattr(compiler_work, "load_nvrtc", lambda: listening)
    work = Compilation("tick", "sm_90")
    work.launch()
    first = work.binary
    work.launch()
    assert len(compiled) == 2
    assert work.binary == first
    assert "--gpu-architecture=sm_90" in compiled[0]


def test_an_architecture_that_this_nvrtc_does_not_know_is_unsupported() -> None:
    with pytest.raises(CaseFailure, match="too old for the architecture") as refused:
        Compilation("tick", "sm_9999").launch()
    assert refused.value.outcome is Outcome.UNSUPPORTED


@pytest.mark.parametrize("error", [ImportError("no module"), RuntimeError("libnvrtc.so not found")])
def test_a_machine_without_nvrtc_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def absent(name: str) -> Any:
        raise error

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(CaseFailure, match=r"install tesserabench\[cuda13\]") as refused:
        load_nvrtc()
    assert refused.value.outcome is Outcome.UNSUPPORTED


def test_suite_runs_on_the_cpu() -> None:
    result = run_locally("compile", device="cpu", tier="smoke", overrides={"nvrtc.source": "tick"}, options=TINY)
    (measurement,) = result.measurements
    assert measurement.outcome is Outcome.OK, measurement.reason
    assert measurement.statistics is not None
    assert measurement.statistics.median > 1e6


def test_loading_loads_what_was_compiled_for_the_device() -> None:
    loaded: list[Any] = []

    class Module:
        def load(self, binary: bytes) -> None:
            assert binary.startswith(b"\x7fELF")
            loaded.append(binary)

        def get_function(self, name: str) -> None:
            loaded.append(name)

    device: Any = SimpleNamespace(
        xp=SimpleNamespace(cuda=SimpleNamespace(function=SimpleNamespace(Module=Module)), array=np.array),
        info=DeviceInfo(kind=DeviceKind.CUDA, model="stand-in", compute_capability="9.0"),
    )
    work = load_work(device, "tick")
    work.launch()
    assert len(loaded) == 2
    assert loaded[1] == "empty"
