"""The run that measures suspected cases again, by itself and in fresh processes."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.results import SeriesKey
from tesserabench.collector.core import runs
from tesserabench.collector.core.actors import COLLECTOR
from tesserabench.collector.core.spec import GateSpec, HostSelector, RunSpec
from tesserabench.collector.store.tables import Run
from tesserabench.collector.store.words import TriggerKind
from tesserabench.wire.names import run_name

_FEWEST_TRIALS = 3
_MOST_CASES = 500
"""A run takes at most this many patterns; beyond, the whole run is measured again."""
_PRIORITY_GAIN = 10
_HIGHEST_PRIORITY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a confirming run is waited for."""

    deadline_seconds: float
    """Latest start of the confirming run."""
    limit_seconds: float
    """Latest end; afterwards the suspicion stays open and the run is judged without it."""


def confirming_spec(spec: RunSpec, suspected: Iterable[SeriesKey], hosts: Sequence[str]) -> RunSpec:
    """What to measure again: the suspected cases on the same hosts, with another order and as many processes."""
    cases = sorted({key.case_id for key in suspected})
    patterns = tuple(f"^{re.escape(case)}$" for case in cases) if len(cases) <= _MOST_CASES else spec.include
    return replace(
        spec,
        include=patterns,
        exclude=() if len(cases) <= _MOST_CASES else spec.exclude,
        trials=max(spec.trials, _FEWEST_TRIALS),
        seed=0,
        selector=HostSelector(hosts=tuple(hosts), count=max(1, len(hosts))),
    )


def covers(spec: RunSpec, key: SeriesKey) -> bool:
    """Whether a confirming run was asked to measure this series again."""
    return not spec.include or any(re.search(pattern, key.case_id) for pattern in spec.include)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """What is to be measured again."""

    run: Run
    project: str
    series: Sequence[SeriesKey]
    hosts: Sequence[str]
    """Hosts that measured the run."""


async def ask(session: AsyncSession, suspicion: Suspicion, *, patience: Patience, now: datetime) -> Run:
    """Ask for the confirming run; the same one again when it was asked for before.

    Raises:
        CollectorError: it cannot be asked for any more, for example because its suite is gone from every host.
    """
    run = suspicion.run
    again = replace(
        runs.repeated(run, suspicion.project),
        spec=confirming_spec(RunSpec.from_json(run.spec), suspicion.series, suspicion.hosts),
        gate=GateSpec(confirm=False),
        priority=min(_HIGHEST_PRIORITY, run.priority + _PRIORITY_GAIN),
        deadline_at=now + timedelta(seconds=patience.deadline_seconds),
        trigger=TriggerKind.CONFIRMATION,
        request_id=f"confirmation of {run_name(run.id)}",
    )
    return await runs.create(session, again, actor=COLLECTOR, now=now)
