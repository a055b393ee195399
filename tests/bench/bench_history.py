"""How many series a minute get one more point, with the database: read, detected in worker processes, written.

A collector's own PostgreSQL (embedded, with its usual settings) is filled by COPY with series of 60 points, most of
them quiet, some with a step; then every series gets one more point, a tenth of them at a new level. What is counted is
what happens after a run has been judged: its points are written, the watches locked and read, the tails go through the
detector in worker processes, and watches and changes are written, a commit for every 8000 points, which is what the
collector takes at once when it is behind. Not counted is reading the measurements themselves, which is a query for each
four runs.

`BENCH_SERIES` says how many series: 20 000 unless told, and the figure for 100 000 is five times that long. The
slowest answer of the event loop meanwhile is told beside it: detection must not hold up calls. On a machine that does
other work too, the time that processors spent on a series says more than the clock. `make bench-detection` has the same
with fewer series.
"""

import asyncio
import contextlib
import logging
import os
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psutil
import psycopg
import structlog
from support.figures import Figure, out_folder, report
from tesserabench.collector import main as program
from tesserabench.collector.core import reanalysis, series_watch
from tesserabench.collector.core.series_blocks import News
from tesserabench.collector.core.watching import Watching
from tesserabench.collector.store import migrate
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.history import NewPoint, RunPoint
from tesserabench.collector.store.server import PgProvider
from tesserabench.collector.work.analysis_pool import AnalysisPool

SERIES = int(os.environ.get("BENCH_SERIES", "20000"))
POINTS = 60
ROUNDS = 3
PER_TRANSACTION = 8000
PROCESSES = 2
STEPPED_SHARE = 0.1
START = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came out, for one series with one more point unless it says otherwise."""

    series: int
    per_minute: float
    processor_ms: Mapping[str, float]
    """By who computed: `event_loop`, `workers`, `postgres`."""
    anew_per_minute: float
    """Series read and analysed from the beginning."""
    stall_ms: float
    """The latest that the event loop came back."""
    computing_ms: float
    """The longest that it computed, in processor time, which other programs lengthen less."""

    def figures(self) -> list[Figure]:
        """For the table and `history.json`."""
        return [
            Figure(name="series_with_one_more_point_per_minute", value=self.per_minute, unit="series"),
            Figure(name="ms_per_series_with_one_more_point", value=60_000 / self.per_minute, unit="ms"),
            Figure(name="processor_ms_per_series", value=sum(self.processor_ms.values()), unit="ms"),
            *(
                Figure(name=f"processor_ms_per_series_{who}", value=value, unit="ms")
                for who, value in self.processor_ms.items()
            ),
            Figure(name="seconds_for_100000_series", value=6e6 / self.per_minute, unit="s"),
            Figure(name=f"series_of_{POINTS}_anew_per_minute", value=self.anew_per_minute, unit="series"),
            Figure(name="longest_stall_of_the_event_loop", value=self.stall_ms, unit="ms"),
            Figure(name="longest_computing_of_the_event_loop", value=self.computing_ms, unit="ms"),
        ]


def main() -> None:
    """Measure and report."""
    report("history", measured(SERIES).figures(), out_folder())


def measured(series: int) -> Measured:
    """Measure with so many series, in a folder and a PostgreSQL of its own."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="tb-bench-") as folder:
        return asyncio.run(_measure(Path(folder), series))


async def _measure(folder: Path, series: int) -> Measured:
    provider = PgProvider(dsn="", folder=folder / "postgres")
    dsn = await provider.start()
    pool = AnalysisPool(PROCESSES)
    try:
        await asyncio.to_thread(migrate.upgrade, dsn)
        levels = await asyncio.to_thread(_fill, dsn, series)
        database = Database(dsn)
        try:
            watching = Watching(database=database, offload=pool, clock=lambda: datetime.now(UTC))
            return await _rounds(watching, levels)
        finally:
            await database.close()
    finally:
        await pool.close()
        await provider.stop()


async def _rounds(watching: Watching, levels: Sequence[float]) -> Measured:
    # As a collector does when it has started.
    program._settle_memory()
    started = time.perf_counter()
    await reanalysis.reanalyse(watching, lambda _: None)
    whole = time.perf_counter() - started
    seconds, stalls = [], []
    work: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        async with _stalls() as stall:
            started, worked = time.perf_counter(), _processor_seconds()
            await _one_more(watching, levels, number)
            seconds.append(time.perf_counter() - started)
            for who, spent in _processor_seconds().items():
                work.setdefault(who, []).append(spent - worked[who])
        stalls.append(stall)
    return Measured(
        series=len(levels),
        per_minute=60 * len(levels) / float(np.median(seconds)),
        processor_ms={who: 1000 * float(np.median(spent)) / len(levels) for who, spent in work.items()},
        anew_per_minute=60 * len(levels) / whole,
        stall_ms=1000 * max(one.clock for one in stalls),
        computing_ms=1000 * max(one.computing for one in stalls),
    )


async def _one_more(watching: Watching, levels: Sequence[float], number: int) -> None:
    """Give every series the point of one more run, a transaction for every `PER_TRANSACTION` of them."""
    rng = np.random.default_rng(number)
    run_id = POINTS + 1 + number
    factors = np.exp(rng.normal(0.0, 0.005, len(levels))).tolist()
    at = START + timedelta(days=run_id)
    for first in range(0, len(levels), PER_TRANSACTION):
        news = News()
        for place in range(first, min(first + PER_TRANSACTION, len(levels))):
            point = RunPoint(
                series_id=place + 1,
                value=_moved(levels[place], place) * factors[place],
                launches=5,
                spread=0.004,
                hosts=("node-1",),
                comparability="class-a",
                fingerprint="print-a",
            )
            news.points[place + 1, ""] = [NewPoint(run_id, at, "", flagged=False, point=point)]
            if place % 1000 == 0:
                # Reading measurements gives way as often.
                await asyncio.sleep(0)
        async with watching.database.transaction() as session:
            await series_watch.look_again(watching, session, news)


def _processor_seconds() -> dict[str, float]:
    """Time that this process, its workers and its PostgreSQL have computed."""
    ours = psutil.Process()
    spent = {"event_loop": 0.0, "workers": 0.0, "postgres": 0.0}
    for process in (ours, *ours.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            who = "event_loop" if process == ours else "postgres" if "postgres" in process.name() else "workers"
            spent[who] += times.user + times.system
    return spent


def _moved(level: float, place: int) -> float:
    return level * 1.1 if place % round(1 / STEPPED_SHARE) == 0 else level


@dataclass(slots=True)
class _Stall:
    """The worst of a while, in seconds."""

    clock: float = 0.0
    computing: float = 0.0
    """The same in processor time of the loop's thread, which other programs do not lengthen."""


@asynccontextmanager
async def _stalls() -> AsyncIterator[_Stall]:
    """How late the event loop is at worst while the block runs."""
    stall = _Stall()

    async def watch() -> None:
        while True:
            before, computed = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.005)
            stall.clock = max(stall.clock, time.perf_counter() - before - 0.005)
            stall.computing = max(stall.computing, time.thread_time() - computed)

    watcher = asyncio.create_task(watch())
    try:
        yield stall
    finally:
        watcher.cancel()


def _fill(dsn: str, series: int) -> list[float]:
    """A project with its runs, series and points; gives the present level of each series."""
    rng = np.random.default_rng(1)
    levels = np.exp(rng.uniform(np.log(1e3), np.log(1e9), series))
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO project (name) VALUES ('default')")
        with connection.cursor() as cursor:
            columns = "id, project_id, suite, tier, spec, gate, trigger, requested_by, state, outcome, created_at"
            with cursor.copy(f"COPY run ({columns}) FROM STDIN") as copy:
                for run in range(1, POINTS + ROUNDS + 1):
                    at = (START + timedelta(days=run)).isoformat()
                    copy.write_row((run, 1, "core", "nightly", "{}", "{}", "schedule", "bench", "finished", "ok", at))
            columns = "id, project_id, suite, benchmark, case_id, parameters, mode, metric, unit, better, device_key"
            with cursor.copy(f'COPY series ({columns}, "primary") FROM STDIN') as copy:
                for place in range(series):
                    name = f"bench-{place // 100}"
                    what = (place + 1, 1, "core", name, f"{name}[n={place % 100}]", "{}", "cold", "time", "ns", "lower")
                    copy.write_row((*what, "H100", True))
            columns = "series_id, line, run_id, at, value, launches, spread, hosts, comparability, fingerprint"
            times = [(START + timedelta(days=run)).isoformat() for run in range(1, POINTS + 1)]
            with cursor.copy(f"COPY history_point ({columns}) FROM STDIN") as copy:
                for place, level in enumerate(levels):
                    values = level * np.exp(rng.normal(0.0, 0.005, POINTS))
                    for run, value in enumerate(values.tolist(), start=1):
                        copy.write_row((place + 1, "", run, times[run - 1], value, 5, 0.004, "{node-1}", "a", "a"))
            cursor.execute("INSERT INTO series_watch (series_id, line, points) SELECT id, '', 0 FROM series")
        connection.commit()
        connection.autocommit = True
        connection.execute("ANALYZE")
    return [float(level) for level in levels]


if __name__ == "__main__":
    main()
