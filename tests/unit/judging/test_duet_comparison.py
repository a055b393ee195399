"""How a run that measured two arms is judged."""

import math
from collections.abc import Mapping, Sequence

import pytest
from tesserabench.analysis.words import Better, Reason, Verdict
from tesserabench.collector.core.duets import ArmFailure, ArmSeries, Duet, Reading, changed, compare
from tesserabench.collector.core.spec import DuetSpec, ParameterOverride, RunSpec

NOISE = (0.0, 0.001, -0.001, 0.0005, -0.0005)


def override(parameter: str, value: str) -> ParameterOverride:
    return ParameterOverride(parameter=parameter, value=value)


def series(
    arm: str, level: float, *, metric: str = "time", better: Better = Better.LOWER, n: str = "1", workers: int = 5
) -> ArmSeries:
    return ArmSeries(
        arm=arm,
        case_id=f"s/copy[n={n}]",
        benchmark="copy",
        suite="s",
        parameters={"n": n},
        mode="hot",
        metric=metric,
        unit="ns",
        better=better,
        primary=metric == "time",
        device="H100",
        readings={
            (1, worker): Reading(
                value=level * math.exp(NOISE[worker] * (arm in {"b", "null_b"})), samples=30, host="g1"
            )
            for worker in range(workers)
        },
    )


def duet(
    found: Sequence[ArmSeries],
    *,
    overrides: Sequence[ParameterOverride] = (),
    failures: Sequence[ArmFailure] = (),
    smallest_effect: float = 0.0,
) -> Duet:
    spec = DuetSpec(overrides=tuple(overrides), smallest_effect=smallest_effect)
    return Duet(run="runs/7", commit="abc", spec=spec, series=tuple(found), failures=tuple(failures))


def failure(arm: str, n: str) -> ArmFailure:
    return ArmFailure(
        arm=arm,
        case_id=f"s/copy[n={n}]",
        benchmark="copy",
        suite="s",
        parameters={"n": n},
        mode="hot",
        outcome="incorrect",
        reason="off by 0.5",
    )


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.05, Verdict.REGRESSED), (0.95, Verdict.IMPROVED), (1.0, Verdict.PASS)]
)
def test_arms_are_compared_worker_by_worker(factor: float, verdict: Verdict) -> None:
    found = compare(duet([series("a", 1000), series("b", 1000 * factor)]))
    (entry,) = found.entries
    assert (found.verdict, entry.judgement.verdict) == (verdict, verdict)
    assert entry.judgement.change == pytest.approx(factor - 1, abs=1e-3)
    assert (entry.base.launches, entry.base.run, entry.head.samples) == (5, "runs/7", 150)
    assert (found.base, found.head) == ("arm A", "arm B (the same)")


def test_what_the_host_does_to_both_arms_does_not_count() -> None:
    restless = [1000, 1500, 700, 2000, 900]
    a, b = series("a", 1000), series("b", 1000)
    shaken = [
        ArmSeries(
            **{
                **{name: getattr(item, name) for name in item.__slots__},
                "readings": {
                    key: Reading(value=reading.value * factor, samples=30, host="g1")
                    for (key, reading), factor in zip(item.readings.items(), restless, strict=True)
                },
            }
        )
        for item in (a, b)
    ]
    assert compare(duet(shaken)).verdict is Verdict.PASS


def test_the_smallest_effect_is_the_runs_own() -> None:
    found = [series("a", 1000), series("b", 1020)]
    assert compare(duet(found)).verdict is Verdict.REGRESSED
    assert compare(duet(found, smallest_effect=0.05)).verdict is Verdict.PASS


def test_every_metric_is_compared_in_its_own_direction() -> None:
    found = compare(
        duet(
            [
                series("a", 1000),
                series("b", 1050),
                series("a", 50, metric="rate", better=Better.HIGHER),
                series("b", 47, metric="rate", better=Better.HIGHER),
            ]
        )
    )
    assert {entry.series.key.metric: entry.judgement.verdict for entry in found.entries} == {
        "time": Verdict.REGRESSED,
        "rate": Verdict.REGRESSED,
    }


def test_arm_b_is_found_by_its_parameters_however_they_are_spelled() -> None:
    found = compare(duet([series("a", 1000, n="1"), series("b", 900, n="2")], overrides=[override("copy.n", " 2.0 ")]))
    assert found.verdict is Verdict.IMPROVED
    assert "Against s/copy[n=2]." in found.entries[0].judgement.explanation
    assert found.head == "arm B (copy.n= 2.0 )"


def test_overrides_reach_the_benchmark_that_they_name() -> None:
    case = ("hot", "copy", (("n", "1"),))
    assert changed(case, [override("triad.n", "5")]) == case
    assert changed(case, [override("memory/copy.n", "5"), override("n", "6")])[2] == (("n", "5"),)
    assert changed(case, [override("m", "5")]) == case


def test_an_arm_that_failed_decides_and_says_why() -> None:
    found = compare(
        duet(
            [series("a", 1000, n="1")], overrides=[override("n", "2")], failures=[failure("b", "2"), failure("b", "2")]
        )
    )
    (entry,) = found.entries
    assert entry.judgement.reason is Reason.CASE_FAILED
    assert "Arm B gave no valid result (incorrect: off by 0.5)" in entry.judgement.explanation
    assert found.verdict is Verdict.INCONCLUSIVE


def test_a_null_control_that_differs_leaves_nothing_but_advice() -> None:
    found = [series("a", 1000), series("b", 1050), series("null_a", 1000), series("null_b", 1030)]
    comparison = compare(duet(found))
    assert [entry.judgement.reason for entry in comparison.entries] == [Reason.NULL_CONTROL_FAILED]
    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert "A differs from itself" in comparison.summary
    quiet = compare(duet([*found[:3], series("null_b", 1000)]))
    assert quiet.verdict is Verdict.REGRESSED


def test_nothing_measured_is_inconclusive() -> None:
    assert compare(duet([])).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("told", [{}, {"overrides": [{"parameter": "n", "value": "2"}], "smallest_effect": 0.02}])
def test_a_spec_keeps_what_it_says_of_arms_even_when_that_is_nothing(told: Mapping[str, object]) -> None:
    spec = RunSpec.from_json({"suite": "s", "duet": told, "determinism_launches": 9})
    assert spec.duet is not None
    assert spec.to_json()["duet"] == told
    assert RunSpec.from_json(spec.to_json()) == spec
    assert "duet" not in RunSpec(suite="s").to_json()
    assert spec.settled(seed=1).trials == 5
    assert RunSpec.from_json({"suite": "s", "tier": "TIER_SMOKE", "duet": told}).settled(seed=1).trials == 5
