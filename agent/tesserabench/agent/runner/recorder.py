"""Writes the log of one attempt."""

import asyncio
from collections.abc import Callable

from tesserabench.agent.completion import complete
from tesserabench.agent.runner.capture import Lines
from tesserabench.agent.spool import AttemptKey, Spool
from tesserabench.v1.ingest_service_pb2 import (
    AttemptFinished,
    CaseFinished,
    LogLines,
    Record,
    TrialFinished,
    TrialStarted,
)
from tesserabench.v1.measurement_pb2 import CaseResult, Outcome

# A result larger than this is kept without its samples: one record must fit into a message with room to spare.
_LARGEST_RESULT = 4 << 20


class Recorder:
    """Appends records to the disk log, off the event loop, and has them sent."""

    def __init__(self, spool: Spool, key: AttemptKey, written: Callable[[], None]) -> None:
        self.key = key
        self._spool, self._written = spool, written

    async def trial_started(self, started: TrialStarted) -> None:
        """Write that a trial began."""
        await self._append(Record(trial_started=started))

    async def case_finished(self, trial: int, result: CaseResult) -> None:
        """Write what a case gave."""
        if result.ByteSize() > _LARGEST_RESULT:
            for measurement in result.measurements:
                measurement.ClearField("samples")
            result.flags.append("samples_dropped")
        await self._append(Record(case_finished=CaseFinished(trial=trial, result=result)))

    async def trial_finished(self, finished: TrialFinished) -> None:
        """Write that a trial ended."""
        await self._append(Record(trial_finished=finished))

    async def lines(self, lines: Lines, trial: int | None = None) -> None:
        """Write what a worker printed, or, without a trial, what the agent has to say."""
        await self._append(Record(log_lines=LogLines(trial=trial, source=lines.source, lines=lines.lines)))

    async def attempt_finished(self, outcome: Outcome.ValueType, reason: str) -> None:
        """Write the last record."""
        await self._append(Record(attempt_finished=AttemptFinished(outcome=outcome, reason=reason)))

    async def _append(self, record: Record) -> None:
        # A record that is being written is written: the next one must not overtake it.
        await complete(asyncio.to_thread(self._spool.append, self.key, record))
        self._written()
