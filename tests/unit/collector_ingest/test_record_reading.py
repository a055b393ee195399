"""Records from the wire: what is taken, what is set aside and why, what is refused."""

import json
import math
import re

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from support import uploads
from tesserabench.collector.api.records import RecordReader
from tesserabench.collector.errors import InvalidArgumentError
from tesserabench.collector.store.records import (
    AttemptFinished,
    CaseFinished,
    LogLines,
    Record,
    TrialFinished,
    TrialStarted,
    Unusable,
)
from tesserabench.collector.store.samples import decode_columns, decode_samples
from tesserabench.collector.store.words import Outcome
from tesserabench.v1 import ingest_service_pb2 as pb
from tesserabench.v1 import measurement_pb2
from tesserabench.wire.reasons import Reason

NOW_US = round(uploads.NOW.timestamp() * 1e6)


def read(*records: pb.Record) -> tuple[Record, ...]:
    return RecordReader(lambda: NOW_US).read(uploads.batch(*records)).records


def read_one(record: pb.Record) -> Record:
    return read(record)[0]


def read_case(record: pb.Record) -> CaseFinished:
    found = read_one(record)
    assert isinstance(found, CaseFinished), found
    return found


def test_a_whole_log_is_read() -> None:
    kinds = [type(record) for record in read(*uploads.whole_log(2))]
    assert kinds == [TrialStarted, CaseFinished, CaseFinished, TrialFinished, AttemptFinished]


def test_samples_are_the_numbers_that_were_sent() -> None:
    samples = [100.0, 250.0, 1e15]
    value = read_case(uploads.case_finished(1, samples=samples)).values[0]
    decoded = decode_samples(1, value.samples)
    assert decoded is not None
    assert decoded.tolist() == samples


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=400))
def test_any_finite_samples_come_back_bit_for_bit(samples: list[float]) -> None:
    record = uploads.case_finished(1)
    del record.case_finished.result.measurements[:]
    record.case_finished.result.measurements.append(uploads.measurement(samples, unit="B/s", metric="bandwidth"))
    value = read_case(record).values[0]
    decoded = decode_samples(1, value.samples)
    if samples:
        assert decoded is not None
        assert decoded.tobytes() == np.array(samples, dtype="<f8").tobytes()
    else:
        assert decoded is None


def test_times_are_stored_as_whole_nanoseconds() -> None:
    value = read_case(uploads.case_finished(1, samples=[100.4, 99.6, 100.0])).values[0]
    decoded = decode_samples(1, value.samples)
    assert decoded is not None
    assert decoded.tolist() == [100.0, 100.0, 100.0]


def test_other_columns_come_back() -> None:
    record = uploads.case_finished(1, samples=[1.0, 2.0])
    samples = record.case_finished.result.measurements[0].samples
    samples.sm_clock_mhz.extend([1980.0, 1755.0])
    samples.flags.extend([0, 8])
    value = read_case(record).values[0]
    columns = decode_columns(value.columns, 2)
    assert {name: values.tolist() for name, values in columns.items()} == {
        "sm_clock_mhz": [1980.0, 1755.0],
        "flags": [0, 8],
    }


def test_statistics_are_taken_over_and_absent_ones_stay_absent() -> None:
    record = uploads.case_finished(1)
    sent = record.case_finished.result.measurements[0].statistics
    sent.count, sent.min, sent.q1, sent.q3, sent.max, sent.mean = 3, 1.0, 2.0, 3.0, 4.0, 2.5
    sent.drift = 0.0
    found = read_case(record).values[0].statistics
    assert found is not None
    assert (found.count, found.minimum, found.q1, found.q3, found.maximum, found.mean) == (3, 1.0, 2.0, 3.0, 4.0, 2.5)
    assert found.drift == 0.0
    assert found.stdev is None


def test_statistics_without_a_column_are_kept_with_the_result() -> None:
    record = uploads.case_finished(1)
    statistics = record.case_finished.result.measurements[0].statistics
    statistics.count, statistics.mild_outliers, statistics.mode_count = 3, 0, 2
    statistics.minimum_detectable_effect = 0.01
    case = read_case(record)
    detail = json.loads(case.case.static_json + case.detail_json)
    kept = {"mild_outliers": 0, "mode_count": 2, "minimum_detectable_effect": 0.01}
    assert detail["measurements"] == [{"metric": "time", "statistics": kept}]


def test_what_a_trial_ran_under_and_what_its_device_did_are_documents() -> None:
    started, finished = uploads.trial_started(1), uploads.trial_finished(2)
    event = started.trial_started
    event.clock_policy, event.numa_node = "lock:1410", 0
    event.processors.extend([0, 2])
    finished.trial_finished.flags.append("contended")
    finished.trial_finished.telemetry.readings = 7
    finished.trial_finished.telemetry.fault_counts["pcie_replay"] = 0
    found = read(started, finished)
    assert isinstance(found[0], TrialStarted)
    assert found[0].context == {"clock_policy": "lock:1410", "processors": [0, 2], "numa_node": 0}
    assert isinstance(found[1], TrialFinished)
    assert found[1].telemetry == {
        "flags": ["contended"],
        "telemetry": {"readings": 7, "fault_counts": {"pcie_replay": "0"}},
    }
    bare = read_one(uploads.trial_started(1))
    assert isinstance(bare, TrialStarted)
    assert bare.context == {}


def test_reading_that_is_not_finite_is_set_aside_with_its_trial() -> None:
    record = uploads.trial_finished(1)
    record.trial_finished.telemetry.power_mean_watts = math.nan
    found = read_one(record)
    assert isinstance(found, Unusable)
    assert "not a finite number" in found.reason


def test_detail_is_the_json_mapping_of_what_has_no_column() -> None:
    record = uploads.case_finished(1)
    result = record.case_finished.result
    result.correctness.check, result.correctness.error, result.correctness.passed = "relative_frobenius", 1e-7, True
    result.flags.extend(["drill", "drifting"])
    result.timer_floor_ns, result.timer_quantum_ns, result.ceiling_ratio = 25.0, 0.5, 0.0
    result.ceiling = 'flops:"float32"'
    result.backend, result.inputs, result.blocks = "graph", "normal", 3
    result.cache.kind, result.cache.size_bytes, result.cache.copies = "rotation", 2**40, 4
    result.warmup.calls, result.warmup.complete = 12, True
    result.warmup.duration.FromMilliseconds(250)
    result.target_half_width, result.half_width = 0.0025, 0.0
    result.kernels.add(name='k"<>', registers=64, occupancy=0.5, options=["-O3"], architecture="sm_90")
    result.throttle = measurement_pb2.THROTTLE_CLASS_POWER_LIMITED
    result.throttle_fractions["sw_power_cap"] = 0.25
    case = read_case(record)
    expected = MessageToDict(result, preserving_proto_field_name=True)
    expected["warmup"]["duration"] = "0.250000000s"
    for column in ("mode", "outcome", "stop_reason", "measurements", "end_time"):
        del expected[column]
    expected["wall_time"] = "1.250000000s"
    assert json.loads(case.case.static_json + case.detail_json) == expected


def test_detail_of_wrong_outputs_may_have_an_infinite_error() -> None:
    record = uploads.case_finished(1, outcome=measurement_pb2.OUTCOME_INCORRECT)
    record.case_finished.result.correctness.error = math.inf
    case = read_case(record)
    assert case.outcome is Outcome.INCORRECT
    assert json.loads(case.case.static_json + case.detail_json)["correctness"] == {"error": "Infinity"}


def _break(path: str, value: object) -> pb.Record:
    """A case record with one field set; `path` is dotted, a number picks from a list."""
    record = uploads.case_finished(7)
    *holders, field = path.split(".")
    holder: object = record.case_finished
    for name in holders:
        holder = holder[int(name)] if name.isdigit() else getattr(holder, name)  # type: ignore[index]
    if isinstance(value, list):
        target = getattr(holder, field)
        del target[:]
        target.extend(value)
    else:
        setattr(holder, field, value)
    return record


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("result.measurements.0.samples.values", [1.0, math.nan], r"samples\.values\[1\]: nan: not a finite number"),
        ("result.measurements.0.samples.values", [math.inf], r"samples\.values\[0\]: inf: not a finite number"),
        ("result.measurements.0.value", math.nan, r"measurements\[0\]\.value: nan: not a finite number"),
        ("result.measurements.0.ci_high", math.inf, r"ci_high: inf"),
        ("result.measurements.0.samples.flags", [1], r"samples\.flags: 1: 3 values have as many entries"),
        ("result.measurements.0.metric", "", r"metric and unit are 1 to 256 characters"),
        ("result.measurements.0.unit", "n\x00s", r"metric and unit are 1 to 256 characters"),
        ("result.case.id", "", r"result\.case\.id: missing"),
        ("result.case.id", "x" * 1025, r"result\.case\.id: .*1025 characters; at most 1024"),
        ("result.case.benchmark", "a\x00b", r"result\.case\.benchmark: 'a\\x00b': holds a NUL"),
        ("result.reason", "r\x00", r"result\.reason: .*holds a NUL"),
        ("result.flags", ["f\x00"], r"result\.flags: .*holds a NUL"),
        ("result.outcome", 0, r"result\.outcome: 0: missing"),
        ("result.outcome", 99, r"result\.outcome: 99: missing, or one that this collector does not know"),
        ("result.mode", 0, r"result\.mode: 0: missing"),
        ("result.timer_floor_ns", math.nan, r"result\.timer_floor_ns: nan"),
        ("trial", 40_000, r"trial: 40000: larger than 32767"),
        ("result.end_time.seconds", 1, r"result\.end_time|end_time: '1\.\d+ s since 1970': before 2020"),
        ("result.end_time.seconds", 2**40, r"more than a day ahead: set the clock"),
    ],
)
def test_a_record_that_cannot_be_taken_is_set_aside_with_field_and_value(
    path: str, value: object, complaint: str
) -> None:
    record = _break(path, value)
    found = read_one(record)
    assert isinstance(found, Unusable)
    assert found.reason.startswith("record 7: case_finished: ")
    assert re.search(complaint, found.reason), found.reason
    assert pb.Record.FromString(found.content) == record


def test_two_values_of_one_metric_are_set_aside() -> None:
    record = uploads.case_finished(1)
    record.case_finished.result.measurements.append(uploads.measurement([1.0]))
    found = read_one(record)
    assert isinstance(found, Unusable)
    assert "a metric comes twice" in found.reason


def test_a_bad_record_leaves_its_neighbours_alone() -> None:
    bad = uploads.case_finished(2, samples=[math.nan])
    kinds = [type(r) for r in read(uploads.case_finished(1), bad, uploads.case_finished(3, samples=[1.5, 2.5]))]
    assert kinds == [CaseFinished, Unusable, CaseFinished]


def test_the_case_of_a_record_that_is_set_aside_is_told_when_it_can_be() -> None:
    found = read_one(_break("result.measurements.0.value", math.nan))
    assert isinstance(found, Unusable)
    assert found.case is not None
    assert (found.case.case_id, found.trial) == ("gemm/matmul[n=512]", 0)
    nameless = read_one(_break("result.case.id", ""))
    assert isinstance(nameless, Unusable)
    assert nameless.case is None


def test_an_event_of_a_newer_agent_is_set_aside() -> None:
    # Field 15 of Record, which this release does not have.
    future = pb.Record.FromString(uploads.record(3).SerializeToString() + b"\x7a\x02hi")
    found = read_one(future)
    assert isinstance(found, Unusable)
    assert "does not know" in found.reason
    assert found.content.endswith(b"\x7a\x02hi")


def test_a_closing_record_without_an_outcome_still_closes() -> None:
    found = read_one(uploads.attempt_finished(4, measurement_pb2.OUTCOME_UNSPECIFIED))
    assert isinstance(found, Unusable)
    assert found.closing


def test_lines_of_a_process_are_kept_without_what_postgresql_cannot_keep() -> None:
    found = read_one(uploads.log_lines(1, "a\x00b", "x" * 20_000, trial=2))
    assert isinstance(found, LogLines)
    assert found.lines[0] == "a\N{REPLACEMENT CHARACTER}b"
    assert (len(found.lines[1]), found.lines[1][-1]) == (16_384, "…")
    assert found.trial == 2


def test_facts_with_nul_are_set_aside() -> None:
    record = uploads.trial_started(1)
    record.trial_started.environment.facts["driver_version"] = "5\x0080"
    found = read_one(record)
    assert isinstance(found, Unusable)
    assert "environment.facts.driver_version" in found.reason


def test_device_state_that_is_not_finite_is_set_aside() -> None:
    record = uploads.trial_started(1)
    record.trial_started.state.power_watts = math.nan
    found = read_one(record)
    assert isinstance(found, Unusable)
    assert "state.power_watts: 'NaN': not a finite number" in found.reason


@pytest.mark.parametrize(
    ("sequences", "field"),
    [([0], "records[0]"), ([5, 7], "records[1]"), ([5, 5], "records[1]"), ([2**63], "records[0]")],
)
def test_records_that_do_not_follow_one_another_are_refused(sequences: list[int], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        read(*[uploads.log_lines(sequence, "x") for sequence in sequences])
    assert caught.value.reason is Reason.MALFORMED_BATCH
    assert caught.value.violations[0].field == f"batch.{field}.sequence"


def test_nothing_follows_the_closing_record() -> None:
    with pytest.raises(InvalidArgumentError, match="nothing follows the closing record"):
        read(uploads.attempt_finished(1), uploads.log_lines(2, "x"))


def test_an_empty_batch_is_a_question() -> None:
    assert read() == ()


@pytest.mark.parametrize("arm", ["", "a", "b", "null_a", "null_b"])
def test_arms_are_part_of_a_result(arm: str) -> None:
    record = uploads.case_finished(1)
    record.case_finished.result.arm = arm
    found = read_case(record)
    assert found.arm == arm
    assert json.loads(found.case.static_json + found.detail_json).get("arm", "") == arm


def test_an_arm_that_nobody_knows_is_set_aside() -> None:
    record = uploads.case_finished(1)
    record.case_finished.result.arm = "c"
    found = read_one(record)
    assert isinstance(found, Unusable)
    assert "result.arm: 'c'" in found.reason
