from dataclasses import replace

import pytest
from tesserabench.analysis.compare import Comparison, Entry, compare
from tesserabench.analysis.launch import Launch, Side
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.results import Failure, ResultSet, SeriesKey, SeriesResult
from tesserabench.analysis.words import Better, Reason, Severity, Verdict

POLICY = Policy()
STEPS = (0.999, 1.0, 1.001, 0.9995, 1.0005)


def series(
    case: str,
    level: float = 1.0,
    *,
    primary: bool = True,
    metric: str = "time",
    device: str = "H100",
    spread: float = 1,
) -> SeriesResult:
    launches = tuple(
        Launch(value=level * (1 + spread * (step - 1)), samples=30, log_error=0.001, place="gpu0", comparability="a")
        for step in STEPS
    )
    return SeriesResult(
        key=SeriesKey(case_id=case, mode="cold", metric=metric, device=device),
        suite="core",
        benchmark=case.partition("[")[0],
        parameters={},
        unit="ns",
        primary=primary,
        side=Side(launches=launches, better=Better.LOWER, device_kind="cuda"),
        hosts=("node-1",),
    )


def results(*items: SeriesResult, label: str = "run:1", **fields: object) -> ResultSet:
    return ResultSet(label=label, run="runs/1", commit="abc", series=items, **fields)  # type: ignore[arg-type]


def by_case(comparison: Comparison) -> dict[str, Entry]:
    return {entry.series.key.case_id: entry for entry in comparison.entries}


def test_the_worst_comes_first_and_names_the_verdict() -> None:
    base = results(series("a"), series("b"), series("c"), series("d"))
    head = results(series("a"), series("b", 1.06), series("c", 1.2), series("d", 0.8), label="run:2")
    comparison = compare(base, head, POLICY)
    assert [entry.series.key.case_id for entry in comparison.entries] == ["c", "b", "d", "a"]
    assert (comparison.verdict, comparison.severity) == (Verdict.REGRESSED, Severity.CRITICAL)
    assert "2 regressed" in comparison.summary
    assert "c time +20.0 % (critical)" in comparison.summary


def test_a_secondary_metric_informs_and_does_not_decide() -> None:
    base = results(series("a"), series("a", primary=False, metric="energy"))
    head = results(series("a"), series("a", 1.5, primary=False, metric="energy"))
    comparison = compare(base, head, POLICY)
    assert comparison.verdict is Verdict.PASS
    assert comparison.severity is None
    assert comparison.entries[0].judgement.verdict is Verdict.REGRESSED


def test_without_a_baseline_nothing_is_claimed() -> None:
    comparison = compare(None, results(series("a"), series("b")), POLICY)
    assert (comparison.verdict, comparison.reason) == (Verdict.INCONCLUSIVE, Reason.NO_BASELINE)
    assert all(entry.judgement.reason is Reason.NO_BASELINE for entry in comparison.entries)
    assert "2 results without a baseline" in comparison.summary


def test_new_and_missing_cases_are_named_and_decide_nothing() -> None:
    comparison = compare(results(series("a"), series("old")), results(series("a"), series("new")), POLICY)
    assert comparison.verdict is Verdict.PASS
    assert by_case(comparison)["old"].judgement.reason is Reason.MISSING
    assert by_case(comparison)["new"].judgement.reason is Reason.NO_BASELINE
    assert "1 new" in comparison.summary
    assert "1 of the base was not measured" in comparison.summary


def test_a_partial_head_misses_nothing() -> None:
    comparison = compare(results(series("a"), series("old")), results(series("a"), partial=True), POLICY)
    assert list(by_case(comparison)) == ["a"]


def test_a_case_that_failed_is_not_a_case_that_is_missing() -> None:
    launch = Launch(value=None, outcome="incorrect", reason="error 3 over 1e-3")
    failure = Failure(case_id="b", mode="cold", suite="core", benchmark="b", parameters={}, launch=launch)
    new = replace(failure, case_id="brand-new")
    comparison = compare(results(series("a"), series("b")), results(series("a"), failures=(failure, new)), POLICY)
    entries = by_case(comparison)
    assert comparison.verdict is Verdict.INCONCLUSIVE
    for case in ("b", "brand-new"):
        assert entries[case].judgement.reason is Reason.CASE_FAILED
        assert "error 3 over 1e-3" in entries[case].judgement.explanation
    assert entries["b"].head.value is None


def test_another_kind_of_device_is_a_mismatch_and_not_a_new_case() -> None:
    comparison = compare(results(series("a", device="H100")), results(series("a", 2.0, device="H200")), POLICY)
    (entry,) = comparison.entries
    assert entry.judgement.reason is Reason.ENVIRONMENT_MISMATCH
    assert "'H100' against 'H200'" in entry.judgement.explanation
    assert comparison.verdict is Verdict.INCONCLUSIVE


def test_an_environment_that_does_not_compare_names_the_facts() -> None:
    base = results(series("a"), facts={"a": ({"cpu.cores": "8", "host.boot_id": "1"},)})
    launches = tuple(replace(launch, comparability="b") for launch in series("a", 2.0).side.launches)
    other = replace(series("a"), side=replace(series("a").side, launches=launches))
    head = results(other, facts={"b": ({"cpu.cores": "16", "host.boot_id": "2"},)})
    comparison = compare(base, head, POLICY)
    (entry,) = comparison.entries
    assert entry.judgement.reason is Reason.ENVIRONMENT_MISMATCH
    assert "cpu.cores 8 against 16" in entry.judgement.explanation
    assert "boot_id" not in entry.judgement.explanation
    assert next((fact.fact, fact.decisive) for fact in comparison.differences) == ("cpu.cores", True)


def test_facts_that_differ_within_a_class_are_told_and_do_not_decide() -> None:
    base = results(series("a"), facts={"a": ({"driver": "570", "host.boot_id": "1"},)})
    head = results(series("a"), facts={"a": ({"driver": "580", "host.boot_id": "2"},)})
    comparison = compare(base, head, POLICY)
    assert comparison.verdict is Verdict.PASS
    assert [(fact.fact, fact.base, fact.head, fact.decisive) for fact in comparison.differences] == [
        ("driver", "570", "580", False)
    ]


def test_a_folder_of_a_host_is_no_fact_about_what_was_measured() -> None:
    base = results(series("a"), facts={"a": ({"env.CUDA_CACHE_PATH": "/one", "env.CUDA_CACHE_DISABLE": "0"},)})
    head = results(series("a"), facts={"a": ({"env.CUDA_CACHE_PATH": "/two", "env.CUDA_CACHE_DISABLE": "1"},)})
    assert [fact.fact for fact in compare(base, head, POLICY).differences] == ["env.CUDA_CACHE_DISABLE"]


def test_a_finding_that_many_comparisons_bring_by_chance_is_taken_back() -> None:
    head_spread = series("lucky", 1.068, spread=16)
    alone = compare(results(series("lucky", spread=16)), results(head_spread), POLICY)
    assert alone.verdict is Verdict.REGRESSED
    others = [series(f"other{index}") for index in range(400)]
    crowd = compare(results(series("lucky", spread=16), *others), results(head_spread, *others), POLICY)
    lucky = by_case(crowd)["lucky"].judgement
    assert (lucky.verdict, lucky.reason, lucky.severity) == (Verdict.INCONCLUSIVE, Reason.TOO_NOISY, None)
    assert "401 comparisons" in lucky.explanation


def test_a_large_finding_survives_many_comparisons() -> None:
    others = [series(f"other{index}") for index in range(400)]
    comparison = compare(results(series("a"), *others), results(series("a", 1.1), *others), POLICY)
    assert next(entry.series.key.case_id for entry in comparison.entries) == "a"
    assert comparison.verdict is Verdict.REGRESSED


def test_sides_are_summarised() -> None:
    comparison = compare(results(series("a", 10.0)), results(series("a", 10.0), label="run:2"), POLICY)
    base = comparison.entries[0].base
    assert (base.run, base.commit, base.host, base.launches, base.samples) == ("runs/1", "abc", "node-1", 5, 150)
    assert base.value == pytest.approx(10.0)
    assert base.launch_noise == pytest.approx(0.00079, rel=0.01)
    assert base.comparability == "a"


def test_nothing_measured_is_inconclusive() -> None:
    comparison = compare(results(), results(), POLICY)
    assert (comparison.verdict, comparison.entries) == (Verdict.INCONCLUSIVE, ())


def test_the_order_of_results_changes_nothing() -> None:
    items = [series(f"case{index}", 1 + 0.01 * index) for index in range(8)]
    base = results(*[series(f"case{index}") for index in range(8)])
    assert compare(base, results(*items), POLICY) == compare(base, results(*reversed(items)), POLICY)
