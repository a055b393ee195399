"""How a run begins, ends and becomes ready to be judged. `docs/states/run.md` draws the machine.

queued → running      a first attempt is listed by its host
running → judging     every attempt has ended, and there are results to judge
→ finished            judged, or nothing to judge: cancelled, no results, a run that only helps to judge another one
"""

from collections.abc import Iterable
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import metrics
from tesserabench.collector.store import history_due
from tesserabench.collector.store import runs as store
from tesserabench.collector.store.notices import after_commit, notify_run
from tesserabench.collector.store.tables import Run
from tesserabench.collector.store.words import AttemptState, IdenticalRun, Outcome, RunState, TriggerKind

_BEST_TO_WORST = (
    Outcome.OK,
    Outcome.THROTTLED,
    Outcome.UNSUPPORTED,
    Outcome.INCORRECT,
    Outcome.IMPLAUSIBLE,
    Outcome.BUSY,
    Outcome.TIMEOUT,
    Outcome.OUT_OF_MEMORY,
    Outcome.NO_ELIGIBLE_HOST,
    Outcome.INTERRUPTED,
    Outcome.DEVICE_ERROR,
    Outcome.DEVICE_LOST,
    Outcome.HARNESS_ERROR,
    # Somebody stopped it: what else went wrong explains nothing.
    Outcome.CANCELLED,
)

_log = structlog.get_logger(__name__)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The worst of some outcomes; ok for none."""
    return max(outcomes, key=_BEST_TO_WORST.index, default=Outcome.OK)


def begin(run: Run, now: datetime) -> None:
    """A host has taken a first attempt. The row is locked."""
    if run.state == RunState.QUEUED:
        run.state = RunState.RUNNING
        run.started_at = now
        run.reason = ""


async def settle(session: AsyncSession, run: Run, now: datetime) -> None:
    """After an attempt has ended: move the run on when all have. The row is locked."""
    ends = await store.attempt_ends(session, run.id)
    if run.state not in {RunState.QUEUED, RunState.RUNNING} or any(end.state != AttemptState.FINISHED for end in ends):
        run.revision_number += 1
        await notify_run(session, run.id)
        return
    outcome = worst(Outcome(end.outcome) for end in ends if end.outcome is not None)
    run.outcome = outcome
    run.reason = next((end.reason for end in ends if end.outcome == outcome and end.reason), "")
    # What they measured is judged with the run that they belong to.
    helping = run.trigger == TriggerKind.CONFIRMATION or run.identical == IdenticalRun.FIRST
    if outcome is Outcome.CANCELLED or helping or not await store.has_results(session, run.id):
        await finish(session, run, now)
        return
    run.state = RunState.JUDGING
    run.revision_number += 1
    await notify_run(session, run.id)
    _log.info("run.measured", run=run.id, outcome=outcome)


async def finish(session: AsyncSession, run: Run, now: datetime) -> None:
    """End a run whose outcome (and verdict, if it has one) is set on the locked row."""
    assert run.outcome is not None
    run.state = RunState.FINISHED
    run.ended_at = now
    run.judged_until = None
    run.revision_number += 1
    await session.flush()
    await history_due.enqueue(session, run.id)
    if run.schedule_id is not None and run.outcome == Outcome.OK:
        await store.schedule_succeeded(session, run.schedule_id, now)
    await notify_run(session, run.id)
    if run.parent_id is not None:
        # A run that waits for its confirmation goes on being judged.
        await notify_run(session, run.parent_id)
    project = await store.project_name(session, run.project_id)
    suite, outcome, seconds = run.suite, run.outcome, (now - run.created_at).total_seconds()

    def count() -> None:
        metrics.RUNS.labels(project=project, suite=suite, outcome=outcome).inc()
        metrics.RUN_SECONDS.labels(suite=suite).observe(max(0.0, seconds))

    after_commit(session, count)
    _log.info("run.finished", run=run.id, outcome=outcome, verdict=run.verdict, seconds=round(seconds, 3))
