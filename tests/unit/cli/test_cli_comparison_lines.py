from tesserabench.cli.views.comparisons import verdict_lines
from tesserabench.v1.comparison_pb2 import Comparison, ComparisonEntry
from tesserabench.v1.measurement_pb2 import Case
from tesserabench.v1.run_pb2 import Verdict


def entry(metric: str, verdict: Verdict.ValueType, *, primary: bool, regression: str = "") -> ComparisonEntry:
    case = Case(id="gemm[m=1]")
    return ComparisonEntry(
        case=case, metric=metric, primary=primary, verdict=verdict, change=0.1, regression=regression
    )


def test_what_moved_with_a_finding_that_was_answered_is_not_brought_up_again() -> None:
    worse = entry("energy", Verdict.VERDICT_REGRESSED, primary=False)
    passed = entry("time", Verdict.VERDICT_PASS, primary=True)
    accepted = entry("time", Verdict.VERDICT_PASS, primary=True, regression="regressions/7")
    said = "worse, but not deciding: gemm[m=1] energy"
    assert any(said in line for line in verdict_lines(Comparison(entries=[passed, worse]), None))
    assert not any(said in line for line in verdict_lines(Comparison(entries=[accepted, worse]), None))
