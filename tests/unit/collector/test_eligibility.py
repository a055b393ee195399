"""Which host may take which attempt."""

import pytest
from tesserabench.collector.core.eligibility import (
    Capability,
    Wanted,
    capability,
    claimable_kinds,
    device_for,
    explain_absence,
    why_not,
)
from tesserabench.collector.core.spec import HostSelector, RunSpec


def host(*devices: tuple[str, int], suites: dict[str, frozenset[str]] | None = None) -> Capability:
    known = suites if suites is not None else {"core": frozenset({"cpu", "cuda", "simulated"})}
    return Capability(host="alpha", suites=known, devices=frozenset(devices), attributes={"host": ["alpha"]})


def wanted(**changes: object) -> Wanted:
    return Wanted.by(RunSpec(suite="core", **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("device", "devices", "given"),
    [
        ("auto", [("cpu", 0), ("cuda", 0)], "cuda"),
        ("auto", [("cpu", 0)], "cpu"),
        ("auto", [("cpu", 0), ("simulated", 0)], "cpu"),
        ("auto", [("simulated", 0)], None),
        ("cuda", [("cpu", 0)], None),
        ("cuda:1", [("cuda", 0), ("cuda", 1)], "cuda:1"),
        ("cuda:2", [("cuda", 0), ("cuda", 1)], None),
        ("simulated", [("simulated", 0)], "simulated"),
    ],
)
def test_device(device: str, devices: list[tuple[str, int]], given: str | None) -> None:
    assert device_for(wanted(device=device), host(*devices)) == given


def test_auto_takes_the_cpu_when_the_suite_runs_on_nothing_else() -> None:
    can = host(("cuda", 0), ("cpu", 0), suites={"core": frozenset({"cpu"})})
    assert device_for(wanted(), can) == "cpu"


def test_reasons_name_what_is_missing() -> None:
    can = host(("cpu", 0))
    assert why_not(wanted(), can) == []
    assert why_not(wanted(selector=HostSelector(hosts=("beta",))), can) == ["not one of the named hosts"]
    assert why_not(Wanted.by(RunSpec(suite="fft")), can) == ["has no suite fft"]
    (said,) = why_not(wanted(device="cuda"), can)
    assert said.startswith("has no device cuda that suite core runs on, only cpu")
    assert said.endswith(": ask for --device cpu")
    assert why_not(wanted(selector=HostSelector(conditions=("gpu=h100",))), can) == ["gpu=h100: the host has no gpu"]


def test_a_capability_is_read_from_an_inventory() -> None:
    inventory = {
        "devices": [{"kind": "cuda", "uuid": "a"}, {"kind": "cuda", "uuid": "b", "index": 1}],
        "suites": [
            {
                "name": "core",
                "benchmarks": [{"name": "gemm", "devices": ["cuda"]}, {"name": "fft", "devices": ["cpu"]}],
            },
            {"name": "vague", "benchmarks": [{"name": "x"}]},
        ],
    }
    can = capability("alpha", inventory, {})
    assert can.devices == {("cuda", 0), ("cuda", 1)}
    assert can.suites == {"core": {"cuda", "cpu"}, "vague": {"cuda"}}


def test_auto_is_claimable_only_with_a_real_device() -> None:
    assert claimable_kinds(["cuda", "cpu"]) == ["cpu", "cuda", "auto"]
    assert claimable_kinds(["simulated"]) == ["simulated"]


def test_absence_is_explained_in_one_bounded_sentence() -> None:
    assert "start tesserabench-agent" in explain_absence([])
    many = explain_absence([(f"h{number}", "has no suite core") for number in range(30)])
    assert many.startswith("30 hosts known: h0: has no suite core")
    assert many.endswith("and 20 more")
