"""What people do about findings. Each leaves an event with its actor, and an audit row."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import audit, baselines, regressions, series_levels
from tesserabench.collector.core.finding_life import TRANSITIONS, Event
from tesserabench.collector.core.next_steps import possible
from tesserabench.collector.core.regressions import Act, note, step
from tesserabench.collector.errors import FailedPreconditionError, invalid_field
from tesserabench.collector.store import regressions as store
from tesserabench.collector.store.tables import Regression, Run
from tesserabench.collector.store.words import OPEN_REGRESSION_STATES, FindingKind, RegressionState
from tesserabench.wire.names import regression_name, run_name
from tesserabench.wire.reasons import Reason

RESOLUTIONS: Mapping[str, Event] = {
    "fixed": Event.FIXED,
    "wont_fix": Event.WONT_FIX,
    "false_positive": Event.FALSE_POSITIVE,
    "infrastructure": Event.INFRASTRUCTURE,
    "duplicate": Event.DUPLICATE,
}
"""What a finding can be resolved as."""

_IMPLIED_FEEDBACK: Mapping[Event, bool | None] = {
    Event.FIXED: True,
    Event.WONT_FIX: True,
    Event.ACCEPTED: True,
    Event.FALSE_POSITIVE: False,
    Event.INFRASTRUCTURE: None,
    Event.DUPLICATE: None,
    Event.IGNORED: None,
    Event.REOPENED: None,
}
"""What an answer says of the detector, in place of what an answer before it said; what somebody said in so many words
stays. A machine at fault says nothing: whether the cause was named counts there."""


async def acknowledge(session: AsyncSession, regression_id: int, *, owner: str, act: Act) -> None:
    """Somebody has seen it: its alert ends, it stays open.

    Raises:
        NotFoundError: there is no such finding.
        FailedPreconditionError: it is over, or waits to be verified.
    """
    regression = await _ready(session, regression_id, Event.ACKNOWLEDGED)
    regression.owner = owner or act.actor
    await _take(session, regression, Event.ACKNOWLEDGED, act)


async def assign(session: AsyncSession, regression_id: int, *, owner: str, act: Act) -> None:
    """Somebody is to look after it: its alert ends, it stays open.

    Raises:
        InvalidArgumentError: there is no owner.
        NotFoundError: there is no such finding.
        FailedPreconditionError: it is over, or waits to be verified.
    """
    if not owner.strip():
        raise invalid_field("owner", owner, "say who is to look after it")
    regression = await _ready(session, regression_id, Event.ASSIGNED)
    regression.owner = owner.strip()
    comment = f"to {regression.owner}" + (f": {act.comment}" if act.comment else "")
    await _take(session, regression, Event.ASSIGNED, replace(act, comment=comment))


async def ignore(session: AsyncSession, regression_id: int, *, until: datetime | None = None, act: Act) -> None:
    """It does not matter, for good or until some time: its alert ends and it is closed.

    Raises:
        InvalidArgumentError: there is no comment, or the time has passed.
        NotFoundError: there is no such finding.
        FailedPreconditionError: it is closed.
    """
    if not act.comment.strip():
        raise invalid_field("comment", act.comment, "say why it does not matter; whoever finds it next will ask")
    if until is not None and until <= act.now:
        raise invalid_field("until", until.isoformat(), "give a time that is still to come, or leave it out for good")
    regression = await _ready(session, regression_id, Event.IGNORED)
    ends = f" (until {until:%Y-%m-%d %H:%M} UTC)" if until is not None else ""
    await _take(session, regression, Event.IGNORED, replace(act, comment=act.comment + ends))
    regression.ignored_until = until


async def resolve(
    session: AsyncSession, regression_id: int, *, resolution: str, duplicate_of: int | None, act: Act
) -> None:
    """Answer it: fixed (measuring has to show it), wont_fix, false_positive, infrastructure, duplicate.

    Raises:
        InvalidArgumentError: there is no such answer, or a duplicate of nothing, of itself or of a duplicate.
        NotFoundError: there is no such finding.
        FailedPreconditionError: it is closed.
    """
    event = RESOLUTIONS.get(resolution)
    if event is None:
        raise invalid_field("resolution", resolution, f"give one of {', '.join(RESOLUTIONS)}")
    if (event is Event.DUPLICATE) != (duplicate_of is not None):
        shown = regression_name(duplicate_of) if duplicate_of is not None else ""
        raise invalid_field("duplicate_of", shown, "name the other finding for a duplicate, and for nothing else")
    if duplicate_of is not None:
        await _lock_project_of(session, regression_id)
    regression = await _ready(session, regression_id, event)
    if duplicate_of is not None:
        original = await _original(session, regression, duplicate_of)
        regression.duplicate_of = original.id
        regressions.hand_over_mark(original, regression)
        told = f"of {regression_name(duplicate_of)}" + (f": {act.comment}" if act.comment else "")
        act = replace(act, comment=told)
    await _take(session, regression, event, act)


async def _original(session: AsyncSession, regression: Regression, other_id: int) -> Regression:
    name = regression_name(other_id)
    if other_id == regression.id:
        raise invalid_field("duplicate_of", name, "is this finding itself; name another one")
    found = await store.find(session, other_id, lock=True)
    if found is None or found[0].project_id != regression.project_id:
        # Whose it is otherwise is not for everybody to know.
        raise invalid_field(
            "duplicate_of", name, "is no finding of this project; list the regressions to find its name"
        )
    other = found[0]
    if other.duplicate_of is not None and other.state == RegressionState.DUPLICATE:
        raise invalid_field("duplicate_of", name, f"is itself a duplicate; name {regression_name(other.duplicate_of)}")
    return other


async def accept(session: AsyncSession, regression_id: int, *, act: Act) -> None:
    """The new level is wanted: runs at it pass, the baseline moves to it, and histories begin anew there.

    Raises:
        InvalidArgumentError: there is no comment.
        NotFoundError: there is no such finding.
        FailedPreconditionError: it is closed, a drill, or not about results.
    """
    if not act.comment.strip():
        raise invalid_field("comment", act.comment, "say why the new level is wanted; it becomes the normal one")
    regression = await _ready(session, regression_id, Event.ACCEPTED)
    if regression.kind != FindingKind.REGRESSION or regression.drill:
        what = "a drill" if regression.drill else f"of kind {regression.kind}"
        message = f"{regression_name(regression_id)} is {what} and has no level to accept; resolve or ignore it"
        raise FailedPreconditionError(message, reason=Reason.REGRESSION_CLOSED)
    await _take(session, regression, Event.ACCEPTED, act)
    by_run = await _first_runs(session, regression)
    for run_id, series_ids in by_run.items():
        await series_levels.accept_level(session, series_ids, regression.branch, run_id=run_id, now=act.now)
    await _move_baselines(session, regression, by_run, act)


async def _first_runs(session: AsyncSession, regression: Regression) -> dict[int, list[int]]:
    """The series of a finding, by the first run that each is worse in."""
    by_run: dict[int, list[int]] = {}
    for member, _ in await store.members(session, regression.id):
        first = member.run_id or regression.run_id
        if first is not None:
            by_run.setdefault(first, []).append(member.series_id)
    return by_run


async def _take_back(session: AsyncSession, regression: Regression, act: Act) -> None:
    """Let the level be no longer the normal one, nor what runs are compared with."""
    for run_id, series_ids in (await _first_runs(session, regression)).items():
        await series_levels.refuse_level(session, series_ids, regression.branch, run_id=run_id)
    if regression.run_id is None or regression.base_run_id is None:
        return
    first = await session.get_one(Run, regression.run_id)
    if await baselines.take_back(session, first, regression.base_run_id, actor=act.actor, now=act.now):
        told = f"{first.suite} runs are compared with {run_name(regression.base_run_id)} again"
        note(session, regression, replace(act, comment=told, run_id=regression.base_run_id))


async def _move_baselines(session: AsyncSession, regression: Regression, run_ids: Iterable[int], act: Act) -> None:
    """Let runs be compared with what was accepted; where more than that got worse, it takes more than this answer."""
    await session.flush()
    done = set()
    for run_id in sorted(run_ids):
        run = await session.get_one(Run, run_id)
        if run.suite in done:
            continue
        done.add(run.suite)
        moved = await baselines.advance_to_accepted(session, run, actor=act.actor, now=act.now)
        if moved is not None:
            told = f"{run.suite} runs are compared with {run_name(moved.id)} now"
            note(session, regression, replace(act, comment=told, run_id=moved.id))


async def reopen(session: AsyncSession, regression_id: int, *, act: Act) -> None:
    """It is open again after all.

    Raises:
        NotFoundError: there is no such finding.
        FailedPreconditionError: it is open, or another one of the same series or subject is.
    """
    await _lock_project_of(session, regression_id)
    regression = await _ready(session, regression_id, Event.REOPENED)
    other = await store.blocking(session, regression)
    if other is not None:
        message = f"{regression_name(other)} is open for the same series; look there instead of reopening this one"
        raise FailedPreconditionError(message, reason=Reason.REGRESSION_OPEN)
    regression.duplicate_of = None
    was_accepted = regression.state == RegressionState.ACCEPTED
    await _take(session, regression, Event.REOPENED, act)
    if was_accepted:
        await _take_back(session, regression, act)


async def comment(session: AsyncSession, regression_id: int, *, act: Act) -> None:
    """Write something down about it; its state stays.

    Raises:
        InvalidArgumentError: there is no comment.
        NotFoundError: there is no such finding.
    """
    if not act.comment.strip():
        raise invalid_field("comment", act.comment, "say something")
    regression = (await regressions.get(session, regression_id, lock=True))[0]
    note(session, regression, act)
    await _audit(session, regression, "comment", act)


async def feedback(session: AsyncSession, regression_id: int, *, right: bool, act: Act) -> None:
    """Say whether the detector was right; the state stays, the score counts it.

    Raises:
        NotFoundError: there is no such finding.
    """
    regression = (await regressions.get(session, regression_id, lock=True))[0]
    regression.feedback, regression.feedback_by, regression.feedback_implied = right, act.actor, False
    regression.triaged_at = regression.triaged_at or act.now
    told = _mark(right) + (f": {act.comment}" if act.comment else "")
    note(session, regression, replace(act, comment=told))
    await _audit(session, regression, "feedback", act)


def _mark(right: bool) -> str:  # noqa: FBT001 - private
    return "the detector was right" if right else "the detector was wrong"


def _imply(session: AsyncSession, regression: Regression, right: bool | None, act: Act) -> None:  # noqa: FBT001 - private
    """Let an answer mark the detector, unless somebody has said in so many words what it was."""
    if regression.feedback is None or regression.feedback_implied:
        by = act.actor if right is not None else ""
        regression.feedback, regression.feedback_by, regression.feedback_implied = right, by, right is not None
    elif right is not None and right is not regression.feedback:
        stays = f"{_mark(regression.feedback)}, as {regression.feedback_by} said"
        note(session, regression, replace(act, comment=f"{stays}; tbctl regression feedback changes that"))


async def _lock_project_of(session: AsyncSession, regression_id: int) -> None:
    """Take the lock of a finding's project: before the finding itself, as whoever judges does."""
    await store.lock_project(session, (await regressions.get(session, regression_id))[0].project_id)


async def _ready(session: AsyncSession, regression_id: int, event: Event) -> Regression:
    """The locked row, if a person may let this happen to it."""
    regression = (await regressions.get(session, regression_id, lock=True))[0]
    state = RegressionState(regression.state)
    if (state, event) in TRANSITIONS:
        return regression
    done = "open" if state in OPEN_REGRESSION_STATES else "closed"
    what = f"called {str(event).replace('_', ' ')}" if event in RESOLUTIONS.values() else event
    message = f"{regression_name(regression_id)} is {done} ({str(state).replace('_', ' ')}) and cannot be {what} now"
    reason = Reason.REGRESSION_OPEN if state in OPEN_REGRESSION_STATES else Reason.REGRESSION_CLOSED
    raise FailedPreconditionError(f"{message}; possible: {possible(regression)}", reason=reason)


async def _take(session: AsyncSession, regression: Regression, event: Event, act: Act) -> None:
    step(session, regression, event, act)
    if event in _IMPLIED_FEEDBACK:
        _imply(session, regression, _IMPLIED_FEEDBACK[event], act)
    regression.triaged_at = regression.triaged_at or act.now
    await _audit(session, regression, event, act)


async def _audit(session: AsyncSession, regression: Regression, what: str, act: Act) -> None:
    detail = {"comment": act.comment, "owner": regression.owner}
    if regression.duplicate_of is not None:
        detail["duplicate_of"] = regression_name(regression.duplicate_of)
    await audit.record(session, act.actor, f"regression.{what}", regression_name(regression.id), detail)
