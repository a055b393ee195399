from datetime import UTC, datetime

import pytest
from google.protobuf.json_format import ParseDict
from tesserabench.analysis.compare import compare
from tesserabench.analysis.launch import Launch, Side
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.results import ResultSet, SeriesKey, SeriesResult
from tesserabench.analysis.words import Better, Reason, Severity, Verdict
from tesserabench.collector.core.comparisons import comparison_json, key_of_entry
from tesserabench.collector.store import words
from tesserabench.v1 import comparison_pb2, measurement_pb2, run_pb2

NOW = datetime(2024, 5, 1, 12, 30, 15, 250_000, tzinfo=UTC)
KEY = SeriesKey(case_id="gemm[n=1]", mode="cold", metric="time", device="H100")


def results(level: float, **fields: object) -> ResultSet:
    launches = tuple(
        Launch(value=level * step, samples=30, place="p", comparability="a") for step in (0.999, 1.0, 1.001, 1.0, 1.0)
    )
    item = SeriesResult(
        key=KEY,
        suite="core",
        benchmark="gemm",
        parameters={"n": "1"},
        unit="ns",
        primary=True,
        side=Side(launches=launches, better=Better.LOWER, device_kind="cuda"),
        hosts=("node-1",),
    )
    return ResultSet(label="x", series=(item,), **fields)  # type: ignore[arg-type]


def test_a_comparison_is_one_of_the_contract() -> None:
    base = results(1e6, run="runs/1", commit="abc", facts={"a": ({"driver": "570"},)})
    head = results(1.1e6, run="runs/2", commit="def", facts={"a": ({"driver": "580"},)})
    content = comparison_json(compare(base, head, Policy()), NOW, {KEY: 7})
    message = ParseDict(content, comparison_pb2.Comparison())
    (entry,) = message.entries
    assert (entry.case.id, entry.case.parameters["n"], entry.mode) == (
        "gemm[n=1]",
        "1",
        measurement_pb2.TIMING_MODE_COLD,
    )
    assert (entry.base.run, entry.head.run, entry.head.host, entry.head.launches) == ("runs/1", "runs/2", "node-1", 5)
    assert entry.change == pytest.approx(0.1)
    assert entry.change_low < 0.1 < entry.change_high
    assert (entry.verdict, entry.severity) == (run_pb2.VERDICT_REGRESSED, run_pb2.SEVERITY_CRITICAL)
    assert (entry.better, entry.primary, entry.regression) == (measurement_pb2.BETTER_LOWER, True, "regressions/7")
    assert message.verdict == run_pb2.VERDICT_REGRESSED
    assert (message.differences[0].fact, message.differences[0].base, message.differences[0].head) == (
        "driver",
        "570",
        "580",
    )
    assert message.create_time.ToDatetime(tzinfo=UTC) == NOW
    assert key_of_entry(content["entries"][0]) == KEY


def test_what_is_unknown_is_absent() -> None:
    content = comparison_json(compare(None, results(1e6), Policy()), NOW)
    message = ParseDict(content, comparison_pb2.Comparison())
    (entry,) = message.entries
    for field in ("change", "change_low", "p_value", "smallest_visible_change"):
        assert not entry.HasField(field)
    assert not entry.base.HasField("value")
    assert entry.reason == comparison_pb2.VERDICT_REASON_NO_BASELINE


def test_every_word_has_a_value_in_the_contract() -> None:
    for word in Reason:
        assert comparison_pb2.VerdictReason.Value(f"VERDICT_REASON_{word.upper()}")
    for verdict in Verdict:
        assert run_pb2.Verdict.Value(f"VERDICT_{verdict.upper()}")
        assert words.Verdict(verdict.value)
    for severity in Severity:
        assert run_pb2.Severity.Value(f"SEVERITY_{severity.upper()}")
        assert words.Severity(severity.value)
