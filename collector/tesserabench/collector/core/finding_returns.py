"""Levels that are back: open findings are told of them, and what is not clearly back becomes no baseline."""

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.compare import Comparison
from tesserabench.analysis.words import Verdict
from tesserabench.collector.core.finding_evidence import FOUND_BY
from tesserabench.collector.core.finding_levels import has_level
from tesserabench.collector.core.finding_life import CLEARLY_BACK, SURE, TRANSITIONS, Event
from tesserabench.collector.core.finding_occasion import Occasion, act_of, is_taken, series_ids_of, size_of
from tesserabench.collector.core.regressions import returned, step
from tesserabench.collector.core.spec import GateSpec
from tesserabench.collector.store import baselines as baseline_store
from tesserabench.collector.store import regressions as store
from tesserabench.collector.store.tables import Regression, Run
from tesserabench.collector.store.words import RegressionState, RunState
from tesserabench.wire.names import run_name


async def close_returned(session: AsyncSession, comparison: Comparison, occasion: Occasion) -> None:
    """Let the open findings of the run's branch know of their series that are back at the level of before.

    Back is clearly back (`CLEARLY_BACK`). A run compared with something of its own choosing says nothing about findings
    made against something else, and a drill nothing about those that are none.
    """
    back = {
        entry.series.key: entry
        for entry in comparison.entries
        if entry.series.primary
        and entry.judgement.verdict in {Verdict.PASS, Verdict.IMPROVED}
        and entry.judgement.worsening is not None
        and entry.judgement.worsening < entry.judgement.minimum_effect * CLEARLY_BACK
    }
    ids = await series_ids_of(session, occasion.run, back)
    keys = {series_id: key for key, series_id in ids.items()}
    base = occasion.base_run_id
    by_hand = base is not None and await baseline_store.set_by_hand(session, base)
    touched: dict[int, tuple[Regression, list[str]]] = {}
    for member, row, first in await store.open_on(session, keys, branch=occasion.line, only_drills=occasion.run.drill):
        entry = back[keys[member.series_id]]
        if not _speaks_of(occasion.run, row, first):
            continue
        if has_level(entry.base.value, member.evidence):
            # As bad as what it is compared with: nothing came back. Where a person moved that there, it is accepted.
            if by_hand and FOUND_BY not in row.attribution:
                _accept_moved(session, row, occasion)
            continue
        member.returned_at = member.returned_at or occasion.now
        touched.setdefault(row.id, (row, []))[1].append(size_of(entry))
    await session.flush()
    for row, sizes in touched.values():
        if await store.still_worse(session, row.id) == 0 and not await is_taken(session, row):
            comment = f"level returned in {run_name(occasion.run.id)}: {', '.join(sizes)}"
            returned(session, row, act_of(occasion, comment))


async def is_still_worse(session: AsyncSession, comparison: Comparison, occasion: Occasion) -> bool:
    """Whether the run is within the limits, but not clearly back from what an open finding says of one of its series.

    Such a run must not become what later ones are compared with: each could be a little worse than the one before.
    """
    primary = [entry.series.key for entry in comparison.entries if entry.series.primary]
    ids = await series_ids_of(session, occasion.run, primary)
    rows = await store.open_on(session, ids.values(), branch=occasion.line, only_drills=False)
    return any(
        member.returned_at is None and row.state in SURE and not row.drill and FOUND_BY not in row.attribution
        for member, row, _ in rows
    )


def _accept_moved(session: AsyncSession, row: Regression, occasion: Occasion) -> None:
    """Nothing came back: what runs are compared with was moved to the worse level, which accepts it."""
    if (RegressionState(row.state), Event.ACCEPTED) in TRANSITIONS:
        base = f"{run_name(occasion.base_run_id)} has" if occasion.base_run_id is not None else "they have"
        step(session, row, Event.ACCEPTED, act_of(occasion, f"what runs are compared with was moved: {base} its level"))


def _speaks_of(run: Run, row: Regression, first: Run | None) -> bool:
    """Whether a run's level says anything about a finding: made later, and against the same."""
    if first is None:
        return True
    same_base = GateSpec.from_json(first.gate).baseline == GateSpec.from_json(run.gate).baseline
    # What is being measured again is settled by that, not by a run that happened to end meanwhile; a run that was
    # cancelled instead settles nothing any more.
    settled = row.state != RegressionState.SUSPECTED or first.state == RunState.FINISHED
    return same_base and settled and first.id < run.id
