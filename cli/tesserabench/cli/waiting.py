"""Waiting for a run: one stream at a time, opened again where it broke, until the run has finished or time is up."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import grpc
from tesserabench.cli.call_errors import call_error
from tesserabench.cli.connection import Collector, backoff_seconds
from tesserabench.cli.errors import CallError, WaitTimedOut
from tesserabench.cli.parsing import short_id
from tesserabench.report.quantity import duration
from tesserabench.v1.run_pb2 import Run, RunState
from tesserabench.v1.run_service_pb2 import WatchRunRequest, WatchRunResponse

_LONGEST_STREAM_SECONDS = 600.0
_TICK_SECONDS = 0.25
# A collector that goes down, or a proxy before it, may end a stream with any of these; the second kind only so often.
_PASSING = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})
_PASSING_FOR_A_WHILE = frozenset({"ABORTED", "RESOURCE_EXHAUSTED", "UNKNOWN", "INTERNAL", "CANCELLED"})


class Observer(Protocol):
    """What is told about a run that is being waited for, all in the caller's thread."""

    def seen(self, run: Run) -> None:
        """The run as it is now."""

    def lost(self, error: CallError) -> None:
        """The connection is lost; it is being opened again."""

    def found(self) -> None:
        """The connection is there again."""

    def tick(self) -> None:
        """A quarter of a second has passed, or less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """A stream ended; with an error unless the collector closed it."""

    error: CallError | None


@dataclass(kw_only=True)
class RunWatch:
    """Follows one run. `timeout_seconds` of 0 waits for ever."""

    collector: Collector
    name: str
    timeout_seconds: float
    observer: Observer
    clock: Callable[[], float] = time.monotonic
    cursor: str = ""
    failures: int = 0
    disconnected: CallError | None = None
    run: Run | None = None
    _events: "queue.Queue[WatchRunResponse | _Ended]" = field(default_factory=queue.Queue)

    def follow(self) -> Run:
        """The run once it has finished.

        Raises:
            CallError: the collector refused, or could not be reached when the time was up.
            WaitTimedOut: the time was up.
        """
        deadline = self.clock() + self.timeout_seconds if self.timeout_seconds else None
        while True:
            with self._stream(deadline):
                if finished := self._until_end(deadline):
                    return finished
            self._pause(deadline)

    @contextlib.contextmanager
    def _stream(self, deadline: float | None) -> Iterator[None]:
        """One stream, read by a thread of its own so that this one can tick and be interrupted."""
        left = _LONGEST_STREAM_SECONDS if deadline is None else max(0.1, deadline - self.clock() + _TICK_SECONDS)
        request = WatchRunRequest(name=self.name, cursor=self.cursor)
        call = self.collector.stubs.runs.WatchRun(
            request, timeout=min(left, _LONGEST_STREAM_SECONDS), metadata=self.collector.metadata
        )
        self._events = queue.Queue()
        reader = threading.Thread(target=_read, args=(call, self._events, self.collector), daemon=True)
        reader.start()
        try:
            yield
        finally:
            call.cancel()
            reader.join(timeout=1.0)

    def _until_end(self, deadline: float | None) -> Run | None:
        while True:
            self._check_time(deadline)
            self.observer.tick()
            try:
                event = self._events.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                continue
            if isinstance(event, _Ended):
                self._note_end(event.error)
                return None
            self._note_run(event)
            if event.run.state == RunState.RUN_STATE_FINISHED:
                return event.run

    def _note_run(self, response: WatchRunResponse) -> None:
        if self.disconnected is not None:
            self.observer.found()
        self.failures, self.disconnected = 0, None
        self.cursor, self.run = response.cursor, response.run
        self.observer.seen(response.run)

    def _note_end(self, error: CallError | None) -> None:
        self.failures += 1
        if error is None or (error.status == "DEADLINE_EXCEEDED" and self.disconnected is None):
            return
        patient = error.status in _PASSING_FOR_A_WHILE and self.failures <= self.collector.retries
        if not patient and error.status not in _PASSING:
            raise error
        if self.disconnected is None:
            self.observer.lost(error)
        self.disconnected = error

    def _pause(self, deadline: float | None) -> None:
        until = self.clock() + backoff_seconds(self.failures)
        while self.clock() < until:
            self._check_time(deadline)
            self.observer.tick()
            time.sleep(min(_TICK_SECONDS, max(0.0, until - self.clock())))

    def _check_time(self, deadline: float | None) -> None:
        if deadline is None or self.clock() < deadline:
            return
        number = short_id(self.name)
        if self.disconnected is not None:
            raise CallError(
                f"the collector at {self.collector.address.text} could not be reached any more when the time was up; "
                f"run {number} may go on: tbctl run watch {number}",
                status="UNAVAILABLE",
            )
        raise WaitTimedOut(
            f"run {number} has not finished within {duration(self.timeout_seconds)}; it goes on: "
            f"tbctl run watch {number}, or stop it: tbctl run cancel {number}"
        )


def _read(
    call: Iterator[WatchRunResponse], events: "queue.Queue[WatchRunResponse | _Ended]", collector: Collector
) -> None:
    try:
        for response in call:
            events.put(response)
    except grpc.RpcError as error:
        events.put(_Ended(error=call_error(error, address=collector.address)))
    else:
        events.put(_Ended(error=None))
