"""What passes between a worker and the agent: frames, lines, endings."""

import json
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.agent.runner import ending
from tesserabench.agent.runner.budget import Overrun
from tesserabench.agent.runner.capture import Capture, LineBudget
from tesserabench.agent.runner.process import worker_environment
from tesserabench.bench import Outcome
from tesserabench.bench.worker.frames import FrameDecoder, WorkerProtocolError, encode_frame

MESSAGES = st.lists(
    st.builds(lambda kind, text: {"kind": kind, "text": text}, st.text(max_size=5), st.text(max_size=30)), max_size=6
)


@given(MESSAGES, st.integers(1, 50))
def test_messages_survive_any_cutting(messages: list[dict[str, str]], size: int) -> None:
    stream = b"".join(map(encode_frame, messages))
    decoder = FrameDecoder()
    found = [message for start in range(0, len(stream), size) for message in decoder.feed(stream[start : start + size])]
    assert found == messages


def test_message_is_only_given_when_it_is_whole() -> None:
    decoder = FrameDecoder()
    whole = encode_frame({"kind": "a"})
    assert list(decoder.feed(whole[:-1])) == []
    assert list(decoder.feed(whole[-1:])) == [{"kind": "a"}]


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        (3).to_bytes(4, "big") + b"{{{",
        (2).to_bytes(4, "big") + b"[]",
        (2).to_bytes(4, "big") + b"{}",
        len(body := json.dumps({"kind": 5}).encode()).to_bytes(4, "big") + body,
    ],
)
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(WorkerProtocolError):
        list(FrameDecoder().feed(data))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_are_put_together_from_pieces() -> None:
    capture = Capture("stdout", LineBudget(Clock()))
    capture.feed(b"one\ntw")
    capture.feed(b"o\r\nthr")
    lines = capture.drain()
    assert lines is not None
    assert (lines.source, lines.lines) == ("stdout", ("one", "two"))
    assert capture.drain() is None
    capture.finish()
    rest = capture.drain()
    assert rest is not None
    assert rest.lines == ("thr",)


def test_long_line_is_cut_and_says_so() -> None:
    capture = Capture("stderr", LineBudget(Clock()))
    capture.feed(b"x" * 5000 + b"\n")
    lines = capture.drain()
    assert lines is not None
    assert lines.lines[0].startswith("x" * 2000 + "…")
    assert "5000 characters" in lines.lines[0]


def test_line_without_an_end_does_not_fill_the_memory() -> None:
    capture = Capture("stdout", LineBudget(Clock()))
    for _ in range(100):
        capture.feed(b"y" * 1000)
    lines = capture.drain()
    assert lines is not None
    assert len(lines.lines) > 5


def test_flood_is_bounded_and_counted() -> None:
    clock = Clock()
    capture = Capture("stdout", LineBudget(clock))
    capture.feed(b"z\n" * 2000)
    first = capture.drain()
    assert first is not None
    assert len(first.lines) == 501
    assert "1500 lines were left out" in first.lines[-1]
    clock.now = 1.0
    capture.feed(b"z\n" * 100)
    second = capture.drain()
    assert second is not None
    assert len(second.lines) == 51


def test_bytes_that_are_no_text_are_kept_readable() -> None:
    capture = Capture("stdout", LineBudget(Clock()))
    capture.feed(b"\xff\xfe\n")
    lines = capture.drain()
    assert lines is not None
    assert lines.lines == ("��",)


@pytest.mark.parametrize(
    ("status", "outcome", "word"),
    [
        (-signal.SIGSEGV, Outcome.DEVICE_ERROR, "SIGSEGV"),
        (128 + signal.SIGSEGV, Outcome.DEVICE_ERROR, "SIGSEGV"),
        (-signal.SIGABRT, Outcome.DEVICE_ERROR, "SIGABRT"),
        (-signal.SIGKILL, Outcome.DEVICE_ERROR, "memory runs out"),
        (124, Outcome.TIMEOUT, "124"),
        (0, Outcome.HARNESS_ERROR, "exit status 0"),
        (3, Outcome.HARNESS_ERROR, "exit status 3"),
    ],
)
def test_silent_end_becomes_an_outcome(status: int, outcome: Outcome, word: str) -> None:
    end = ending.of_exit(status, "gemm/matmul")
    assert end.outcome is outcome
    assert word in end.reason
    assert "gemm/matmul" in end.reason
    assert not end.ok


def test_overrun_becomes_a_timeout_of_its_case() -> None:
    end = ending.of_overrun(Overrun(case="a", phase="verify", limit_seconds=10))
    assert (end.outcome, end.case) == (Outcome.TIMEOUT, "a")
    assert "raise the limit" in end.reason


def test_worker_inherits_what_is_allowed_and_no_secret() -> None:
    parent = {
        "PATH": "/bin",
        "OMP_NUM_THREADS": "2",
        "TESSERABENCH_AGENT_TOKEN": "secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "CUDA_LAUNCH_BLOCKING": "1",
        "CUDA_VISIBLE_DEVICES": "0,1",
        "PYTHONPATH": "/evil",
        "LD_PRELOAD": "/evil.so",
    }
    found = worker_environment(parent, Path("/work"), {"CUDA_VISIBLE_DEVICES": "GPU-1"})
    assert found == {
        "PATH": "/bin",
        "OMP_NUM_THREADS": "2",
        "CUDA_VISIBLE_DEVICES": "GPU-1",
        "HOME": "/work",
        "PYTHONUNBUFFERED": "1",
    }
