"""Ids of series, remembered: a result belongs to one of a few thousand that come again and again."""

import asyncio
from collections.abc import Iterable, Sequence

from tesserabench.collector.store import series as store
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.records import CaseFinished, MetricValue
from tesserabench.collector.store.series import KnownSeries, SeriesFacts, SeriesKey

Resolved = dict[SeriesKey, KnownSeries]

_REMEMBERED = 200_000


class SeriesBook:
    """Finds and makes series in transactions of their own, outside the group commits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[SeriesKey, KnownSeries] = {}
        # A hundred agents that begin the same suite must not ask for the same series a hundred times.
        self._learning = asyncio.Lock()

    async def resolve(self, project_id: int, cases: Sequence[tuple[CaseFinished, str]]) -> Resolved:
        """Every series of these cases; each case comes with its device key.

        Raises:
            UnavailableError: something is new, and the database cannot be reached.
        """
        resolved, wanted = self._look_up(project_id, cases)
        if not wanted:
            return resolved
        async with self._learning:
            resolved, wanted = self._look_up(project_id, cases)
            return resolved | await self._learn(wanted) if wanted else resolved

    def _look_up(
        self, project_id: int, cases: Iterable[tuple[CaseFinished, str]]
    ) -> tuple[Resolved, dict[SeriesKey, SeriesFacts]]:
        """What is known, and what the database has to be asked for or told."""
        resolved: Resolved = {}
        wanted: dict[SeriesKey, SeriesFacts] = {}
        for case, device_key in cases:
            for value in case.values:
                key = series_key(project_id, case, value, device_key)
                known = self._known.get(key)
                if known is None or known.better != value.better or known.primary != value.primary:
                    wanted[key] = _facts(case, value)
                else:
                    resolved[key] = known
        return resolved, wanted

    async def _learn(self, wanted: dict[SeriesKey, SeriesFacts]) -> Resolved:
        async with self._database.transaction() as session:
            found = await store.get_or_create(session, wanted)
            for key, facts in wanted.items():
                known = found[key]
                # Direction and importance are data of the newest agent; the unit never changes (see `ingest_work`).
                if known.unit == facts.unit and (known.better, known.primary) != (facts.better, facts.primary):
                    await store.redefine(session, known.id, facts)
                    found[key] = KnownSeries(id=known.id, unit=known.unit, better=facts.better, primary=facts.primary)
        if len(self._known) + len(found) > _REMEMBERED:
            self._known.clear()
        self._known |= found
        return found


def series_key(project_id: int, case: CaseFinished, value: MetricValue, device_key: str) -> SeriesKey:
    """What identifies the series of a value."""
    return (project_id, case.case.case_id, case.mode, value.metric, device_key, case.arm)


def _facts(case: CaseFinished, value: MetricValue) -> SeriesFacts:
    return SeriesFacts(
        suite=case.case.suite,
        benchmark=case.case.benchmark,
        parameters=case.case.parameters,
        unit=value.unit,
        better=value.better,
        primary=value.primary,
    )
