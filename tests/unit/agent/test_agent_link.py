"""Back-off, what failures mean, batches and their window."""

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.agent.link.backoff import Backoff
from tesserabench.agent.link.batches import LARGEST_BATCH_BYTES, Window, WindowError, batch_limit, make_batch
from tesserabench.agent.link.channel import is_loopback
from tesserabench.agent.link.failures import Remedy, classify
from tesserabench.agent.link.pace import Pace
from tesserabench.agent.spool.views import AttemptKey, StoredRecord
from tesserabench.v1.agent_service_pb2 import Pacing
from tesserabench.v1.ingest_service_pb2 import LogLines, Record
from tesserabench.wire.reasons import Reason

KEY = AttemptKey(name="runs/1/attempts/1", epoch=1)


def stored(first: int, count: int) -> tuple[StoredRecord, ...]:
    return tuple(
        StoredRecord(
            key=KEY,
            sequence=sequence,
            body=Record(sequence=sequence, log_lines=LogLines(lines=["x"])).SerializeToString(),
        )
        for sequence in range(first, first + count)
    )


@given(st.floats(0, 1), st.integers(1, 200))
def test_waits_stay_between_zero_and_the_largest(fortune: float, failures: int) -> None:
    backoff = Backoff(first_seconds=1, largest_seconds=60, random=lambda: fortune)
    waits = [backoff.next_seconds() for _ in range(failures)]
    assert all(0 <= wait <= 60 for wait in waits)


def test_bound_doubles_until_the_largest_and_starts_over_after_a_success() -> None:
    backoff = Backoff(first_seconds=1, largest_seconds=10, random=lambda: 1.0)
    assert [backoff.next_seconds() for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    backoff.reset()
    assert backoff.next_seconds() == 1


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, "", Remedy.RETRY),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", Remedy.RETRY),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "", Remedy.RETRY),
        (grpc.StatusCode.INTERNAL, "INTERNAL", Remedy.RETRY),
        (grpc.StatusCode.UNKNOWN, "", Remedy.RETRY),
        (grpc.StatusCode.UNAUTHENTICATED, Reason.TOKEN_INVALID, Remedy.WAIT),
        (grpc.StatusCode.PERMISSION_DENIED, Reason.ROLE_MISSING, Remedy.WAIT),
        (grpc.StatusCode.UNIMPLEMENTED, "", Remedy.WAIT),
        (grpc.StatusCode.INVALID_ARGUMENT, Reason.INVALID_FIELD, Remedy.WAIT),
        (grpc.StatusCode.NOT_FOUND, Reason.ATTEMPT_NOT_FOUND, Remedy.WAIT),
        (grpc.StatusCode.FAILED_PRECONDITION, Reason.SCHEMA_VERSION_UNSUPPORTED, Remedy.WAIT),
        (grpc.StatusCode.NOT_FOUND, Reason.HOST_NOT_REGISTERED, Remedy.REGISTER),
        (grpc.StatusCode.FAILED_PRECONDITION, Reason.HOST_NOT_REGISTERED, Remedy.REGISTER),
        (grpc.StatusCode.FAILED_PRECONDITION, Reason.SUPERSEDED, Remedy.STOP),
        (grpc.StatusCode.FAILED_PRECONDITION, Reason.DATABASE_UNAVAILABLE, Remedy.RETRY),
    ],
)
def test_failure_has_one_remedy(code: grpc.StatusCode, reason: str, expected: Remedy) -> None:
    assert classify(code, str(reason), "words").remedy is expected


def test_refusal_that_a_person_must_mend_says_how() -> None:
    assert "token_file" in classify(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID", "").advice
    advice = classify(grpc.StatusCode.FAILED_PRECONDITION, "SCHEMA_VERSION_UNSUPPORTED", "").advice
    assert "upgrade" in advice


def test_batch_carries_its_records_in_sequence() -> None:
    batch = make_batch(stored(3, 4))
    assert (batch.first, batch.last) == (3, 6)
    assert [record.sequence for record in batch.request.batch.records] == [3, 4, 5, 6]


@pytest.mark.parametrize(("asked", "expected"), [(0, 1 << 20), (1000, 1000), (1 << 40, LARGEST_BATCH_BYTES)])
def test_batch_limit_keeps_below_the_message_limit(asked: int, expected: int) -> None:
    assert batch_limit(asked) == expected


def test_window_closes_when_full_and_opens_with_an_answer() -> None:
    window = Window(2, 0)
    window.send(make_batch(stored(1, 2)))
    window.send(make_batch(stored(3, 2)))
    assert not window.open
    assert window.answer(2) == 2
    assert window.open
    assert window.sent_until == 4


def test_answer_may_run_ahead_within_what_was_sent() -> None:
    window = Window(4, 0)
    window.send(make_batch(stored(1, 2)))
    window.send(make_batch(stored(3, 2)))
    assert window.answer(4) == 4
    assert window.answer(4) == 4
    assert not window.waiting


def test_batch_that_was_not_applied_breaks_the_window_and_tells_where_to_go_on() -> None:
    window = Window(4, 5)
    window.send(make_batch(stored(6, 2)))
    with pytest.raises(WindowError):
        window.answer(3)
    assert window.committed == 3


def test_answer_beyond_what_was_sent_breaks_the_window() -> None:
    window = Window(4, 0)
    window.send(make_batch(stored(1, 2)))
    with pytest.raises(WindowError):
        window.answer(9)


def test_answer_without_a_question_breaks_the_window() -> None:
    with pytest.raises(WindowError):
        Window(4, 0).answer(0)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("10.0.0.1", False),
        ("a.example", False),
    ],
)
def test_loopback_is_told_from_the_network(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_pace_takes_over_what_the_collector_says_and_keeps_the_rest() -> None:
    pace = Pace()
    pacing = Pacing(max_batch_bytes=5000)
    pace.update(pacing)
    assert (pace.heartbeat_seconds, pace.max_batch_bytes) == (10.0, 5000)
    pacing.heartbeat.FromMilliseconds(2500)
    pace.update(pacing)
    assert pace.heartbeat_seconds == 2.5
    pacing.heartbeat.FromMilliseconds(0)
    pace.update(pacing)
    assert pace.heartbeat_seconds > 0
