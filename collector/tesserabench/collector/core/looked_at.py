"""A judged run with the looks at it so far: what asking for another one rests on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tesserabench.analysis.results import Failure, SeriesKey
from tesserabench.collector.core.spec import GateSpec
from tesserabench.collector.store.look_tables import Look
from tesserabench.collector.store.tables import Project, Run
from tesserabench.collector.store.words import Outcome, RunState
from tesserabench.wire.names import run_name


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedAt:
    """A judged run with the looks at it so far."""

    run: Run
    project: Project
    hosts: tuple[str, ...]
    """Hosts that measured it."""
    base_run_id: int | None
    looks: tuple[tuple[str, ...], ...] = ()
    """Hosts that measured each further look; empty where none did."""
    since: datetime | None = None
    """When the first of them was asked for."""
    points_at_host: bool = False
    """What was found so far is seen where the run was measured, and not elsewhere."""

    def budget_left(self, now: datetime) -> float | None:
        """Seconds that further looks may still take; none when there is no bound. It runs from the first of them on."""
        budget = GateSpec.from_json(self.run.gate).budget_seconds
        if budget is None or self.since is None:
            return budget
        return (self.since + timedelta(seconds=budget) - now).total_seconds()


def why_nothing(look: Look, measuring: Run, now: datetime) -> str:
    """Why a look gave nothing, as a sentence; empty when its run ended well."""
    name = run_name(measuring.id)
    if measuring.state != RunState.FINISHED:
        seconds = (min(now, look.waits_until) - look.created_at).total_seconds()
        return f"{name} was not measured within {seconds:.0f} s."
    if measuring.outcome != Outcome.OK:
        return f"{name} ended with {measuring.outcome}: {measuring.reason or 'no reason was given'}."
    return ""


def was_cut_off(measuring: Run) -> bool:
    """Whether a look's run was waited for no longer before all of it was measured."""
    return measuring.state != RunState.FINISHED or measuring.outcome == Outcome.CANCELLED


def of_themselves(failures: Iterable[Failure]) -> tuple[Failure, ...]:
    """The failures without those of cases that were stopped from outside."""
    stopped = {Outcome.CANCELLED, Outcome.INTERRUPTED}
    return tuple(failure for failure in failures if failure.launch.outcome not in stopped)


def columns(key: SeriesKey) -> list[str]:
    """A series as it is kept with a look."""
    return [key.case_id, key.mode, key.metric, key.device]


def keys(kept: Iterable[Sequence[str]]) -> list[SeriesKey]:
    """The series that are kept with a look."""
    return [SeriesKey(case_id=item[0], mode=item[1], metric=item[2], device=item[3]) for item in kept]
