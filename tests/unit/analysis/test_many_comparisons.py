"""What many series say together: families, false findings, modes, one-sided movements and absolute limits."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.analysis.compare import compare
from tesserabench.analysis.false_discovery import by_family
from tesserabench.analysis.families import FEWEST, Family, family_of
from tesserabench.analysis.gate import judge
from tesserabench.analysis.launch import Launch, Side
from tesserabench.analysis.modes import mix_p_value
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.quality import QualityAnswer, QualityLimit, quality_line, quality_score
from tesserabench.analysis.results import ResultSet, SeriesKey, SeriesResult
from tesserabench.analysis.words import Better, Reason, Severity, Verdict

STEPS = (0.999, 1.0, 1.001, 0.9995, 1.0005)


def side(*values: float) -> Side:
    launches = tuple(Launch(value=value, samples=30, place="gpu0", comparability="a") for value in values)
    return Side(launches=launches, better=Better.LOWER, device_kind="cuda")


def series(case: str, *values: float) -> SeriesResult:
    return SeriesResult(
        key=SeriesKey(case_id=case, mode="cold", metric="time", device="H100"),
        suite="core",
        benchmark=case.partition("[")[0],
        parameters={},
        unit="ns",
        primary=True,
        side=side(*values),
    )


def results(*items: SeriesResult) -> ResultSet:
    return ResultSet(label="x", series=items)


def test_a_family_is_found_from_few_launches_of_many() -> None:
    rng = np.random.default_rng(1)
    members = [(float(rng.normal(0, 0.01, 3).var(ddof=1)), 2.0) for _ in range(300)]
    family = family_of(members)
    assert family is not None
    assert math.sqrt(family.variance) == pytest.approx(0.01, rel=0.1)
    assert family.degrees > 10
    unlike = [(float(rng.normal(0, 0.01 * math.exp(rng.normal(0, 1)), 3).var(ddof=1)), 2.0) for _ in range(300)]
    mixed = family_of(unlike)
    assert mixed is not None
    assert mixed.degrees < 4
    assert family_of(members[: FEWEST - 1]) is None


def test_launches_that_happen_to_agree_are_shrunk_to_their_family_and_an_outlier_keeps_its_own() -> None:
    family = Family(variance=1e-4, degrees=10)
    variance, degrees = family.moderated(1e-8, 2)
    assert variance == pytest.approx(1e-4 * 10 / 12, rel=0.01)
    assert degrees == 12
    assert family.moderated(1e-2, 4) == (1e-2, 4)


def test_a_family_lets_three_launches_speak_and_silences_lucky_ones() -> None:
    base, head = side(1.0, 1.025, 0.975), side(1.08, 1.107, 1.053)
    assert judge(base, head, Policy()).verdict is Verdict.INCONCLUSIVE
    assert judge(base, head, Policy(), family=Family(variance=1.5e-4, degrees=25)).verdict is Verdict.REGRESSED
    lucky = side(1.0, 1.0001, 0.9999), side(1.03, 1.0301, 1.0299)
    assert judge(*lucky, Policy()).verdict is Verdict.REGRESSED
    assert judge(*lucky, Policy(), family=Family(variance=4e-4, degrees=20)).verdict is Verdict.INCONCLUSIVE


def test_families_come_first_and_their_members_then() -> None:
    p_values = [0.001, 0.2, 0.9, 0.8, 0.03, 0.7]
    families = ["a", "a", "b", "b", "c", "c"]
    adjusted = by_family(p_values, families, 0.05)
    assert adjusted[0] == pytest.approx(0.006)  # 2 members, then one family of three chosen
    assert all(value > 0.05 for value in adjusted[1:])


@given(st.lists(st.tuples(st.floats(min_value=0, max_value=1), st.integers(0, 3)), max_size=20))
def test_adjusting_by_family_never_makes_a_p_value_smaller(found: list[tuple[float, int]]) -> None:
    adjusted = by_family([value for value, _ in found], [family for _, family in found], 0.05)
    assert all(raw <= after + 1e-12 and after <= 1 for (raw, _), after in zip(found, adjusted, strict=True))


def test_false_findings_stay_rare_under_dependence() -> None:
    rng = np.random.default_rng(2)
    wrong = 0
    for _ in range(40):
        shared = rng.normal(0, 0.004)  # what all of a run have in common
        base = results(*(series(f"b{index}", *np.exp(rng.normal(0, 0.005, 5))) for index in range(30)))
        head = results(*(series(f"b{index}", *np.exp(shared + rng.normal(0, 0.005, 5))) for index in range(30)))
        entries = compare(base, head, Policy()).entries
        wrong += any(entry.judgement.verdict in {Verdict.REGRESSED, Verdict.IMPROVED} for entry in entries)
    assert wrong <= 3


def test_every_compared_series_tells_its_raw_and_its_adjusted_p_value() -> None:
    base = results(*(series(f"b{index}", *STEPS) for index in range(4)))
    head = results(series("b0", *(1.1 * step for step in STEPS)), *(series(f"b{index}", *STEPS) for index in (1, 2, 3)))
    found = {entry.series.key.case_id: entry.judgement for entry in compare(base, head, Policy()).entries}
    assert found["b0"].p_value is not None
    assert found["b0"].q_value == pytest.approx(4 * found["b0"].p_value)
    assert found["b1"].q_value == 1.0


def test_shares_are_compared_as_fisher_does() -> None:
    # The lady tasting tea: all four right of eight.
    assert mix_p_value(4, 4, 0, 4) == pytest.approx(2 / 70)
    assert mix_p_value(2, 4, 2, 4) == pytest.approx(1.0)


def test_launches_in_two_modes_are_compared_each_with_itself() -> None:
    base = side(22.5, 25.5, 22.52, 25.48, 22.48)
    assert judge(base, side(25.5, 22.5, 25.52, 22.51, 25.49), Policy()).verdict is Verdict.PASS
    moved = judge(base, side(*(1.1 * value for value in (22.5, 25.5, 22.52, 25.48, 22.51))), Policy())
    assert moved.verdict is not Verdict.PASS
    fast, slow = [22.5, 22.51, 22.49, 22.5, 22.52] * 2, [25.5, 25.51, 25.49, 25.5, 25.52] * 2
    changed = judge(side(*fast[:9], slow[0], slow[1]), side(fast[0], fast[1], *slow[:9]), Policy())
    assert (changed.verdict, changed.reason) == (Verdict.INCONCLUSIVE, Reason.MODE_MIX_CHANGED)
    assert "pin it" in changed.recommendation


def test_nearly_everything_slower_by_a_little_points_at_the_machine() -> None:
    rng = np.random.default_rng(4)
    base = results(*(series(f"b{index}", *STEPS) for index in range(14)))

    def head(centre: float, spread: float) -> ResultSet:
        factors = np.exp(rng.normal(centre, spread, 14))
        return results(*(series(f"b{index}", *(factors[index] * step for step in STEPS)) for index in range(14)))

    (note,) = compare(base, head(0.012, 0.004), Policy()).notes
    assert "14 of 14 series became slower" in note
    assert "suspect the machine" in note
    assert not compare(base, head(0.0, 0.012), Policy()).notes
    assert not compare(base, head(0.2, 0.01), Policy()).notes


@pytest.mark.parametrize(
    ("value", "limit", "answer"),
    [
        (1.0, QualityLimit(minimum=1.0, maximum=1.0), QualityAnswer.PASS),
        (0.9, QualityLimit(minimum=1.0), QualityAnswer.FAIL),
        (1.1, QualityLimit(maximum=1.0), QualityAnswer.FAIL),
        (None, QualityLimit(maximum=1.0), QualityAnswer.UNKNOWN),
        (math.nan, QualityLimit(maximum=1.0), QualityAnswer.UNKNOWN),
    ],
)
def test_a_value_holds_its_limits_or_not(value: float | None, limit: QualityLimit, answer: QualityAnswer) -> None:
    assert quality_line(value, limit).answer is answer


def test_the_score_weighs_what_is_known() -> None:
    lines = [
        quality_line(1.0, QualityLimit(maximum=2.0, weight=3.0)),
        quality_line(3.0, QualityLimit(maximum=2.0)),
        quality_line(None, QualityLimit(maximum=2.0, weight=96.0)),
    ]
    assert quality_score(lines) == pytest.approx(0.75)
    assert quality_score(lines[2:]) is None


def test_a_limit_that_does_not_hold_fails_the_whole_without_a_baseline_too() -> None:
    head = results(series("a", *STEPS), series("b", *(2 * step for step in STEPS)))
    limits = {"b": QualityLimit(maximum=1.5)}
    found = compare(None, head, Policy(), quality=lambda item: limits.get(item.key.case_id))
    assert (found.verdict, found.reason, found.severity) == (Verdict.REGRESSED, Reason.QUALITY_LIMIT, Severity.CRITICAL)
    assert "b time is 2 ns, above 1.5" in found.summary
    assert {entry.judgement.verdict for entry in found.entries} == {Verdict.INCONCLUSIVE}
    held = compare(head, head, Policy(), quality=lambda _: QualityLimit(maximum=3.0))
    assert held.verdict is Verdict.PASS
    assert all(entry.quality and entry.quality.answer is QualityAnswer.PASS for entry in held.entries)


def test_limits_by_series_decide() -> None:
    base, head = results(series("a", *STEPS)), results(series("a", *(1.04 * step for step in STEPS)))
    loose = replace(Policy(), minor=0.1, major=0.2, critical=0.3)
    assert compare(base, head, Policy()).verdict is Verdict.REGRESSED
    assert compare(base, head, Policy(), rules=lambda _: loose).verdict is Verdict.PASS
