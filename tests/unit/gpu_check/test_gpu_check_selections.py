"""What the sections ask for exists: a selection that matches nothing would only show on a device."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tesserabench.bench import find_benchmark, plan_trial

HERE = Path(__file__).resolve().parents[2] / "gpu"


def section(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"gpu_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look their own module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


PEERS = section("section_peers").PEERS
WORK = section("section_spread").WORK
SANITIZED = section("sanitized").chosen("memcheck")


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_comparison_is_of_exactly_one_case(peer: object) -> None:
    plan = plan_trial(
        peer.suite,  # type: ignore[attr-defined]
        tier="smoke",
        device_kind="cuda",
        overrides=peer.overrides,  # type: ignore[attr-defined]
        include=peer.include,  # type: ignore[attr-defined]
        mode=peer.mode,  # type: ignore[attr-defined]
    )
    assert len(plan.cases) == 1, [case.id for case in plan.cases]


@pytest.mark.parametrize(("suite", "include", "overrides"), WORK)
def test_every_workload_of_the_spread_exists(suite: str, include: str, overrides: dict[str, str]) -> None:
    assert plan_trial(suite, tier="smoke", device_kind="cuda", overrides=overrides, include=include).cases


@pytest.mark.parametrize(("name", "params"), SANITIZED)
def test_every_case_for_the_sanitizer_has_the_parameters_of_its_benchmark(name: str, params: dict[str, object]) -> None:
    assert set(params) == set(find_benchmark(name).domain)
