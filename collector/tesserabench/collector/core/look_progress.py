"""Looks as people follow them: which one it is, on which run, and what of the budget is used."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core.spec import GateSpec
from tesserabench.collector.store import looks as store
from tesserabench.collector.store.look_tables import Look
from tesserabench.collector.store.tables import Run

_IN_MINUTES = 120.0
"""Times from here on are told in minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookView:
    """A look with the run that measures it."""

    look: Look
    measuring: Run

    @property
    def cases(self) -> int:
        """How many cases it measures again."""
        return len({case_id for case_id, *_ in self.look.asked})


async def views(session: AsyncSession, run_ids: Sequence[int]) -> dict[int, list[LookView]]:
    """The looks at some runs by number."""
    found: dict[int, list[LookView]] = {}
    for look, measuring in await store.of_runs(session, run_ids):
        found.setdefault(look.run_id, []).append(LookView(look=look, measuring=measuring))
    return found


def progress(run: Run, looks: Sequence[LookView], now: datetime) -> str:
    """Where it stands: `look 2 of 3, 6 of 20 minutes used`."""
    gate = GateSpec.from_json(run.gate)
    parts = [f"look {looks[-1].look.number} of {gate.further_looks + 1}"]
    if gate.budget_seconds is not None:
        used = min(gate.budget_seconds, max(0.0, (now - looks[0].look.created_at).total_seconds()))
        parts.append(f"{_of(used, gate.budget_seconds)} used")
    return ", ".join(parts)


def _of(used: float, whole: float) -> str:
    unit, name = (60.0, "minutes") if whole >= _IN_MINUTES else (1.0, "seconds")
    return f"{used / unit:.0f} of {whole / unit:.0f} {name}"


def duration(seconds: float) -> str:
    """A time in words."""
    return f"{seconds / 60:.0f} minutes" if seconds >= _IN_MINUTES else f"{seconds:.0f} s"
