"""Histories as people read them: a line about the series, a chart, the changes, the newest points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tesserabench.cli.output.plot import Change, Drawn, Level, Look, render
from tesserabench.cli.output.printer import Printer
from tesserabench.cli.output.table import Column, clean
from tesserabench.cli.output.words import ago, iso, moment, word
from tesserabench.cli.parsing import short_id
from tesserabench.cli.views.verdicts import short_commit
from tesserabench.report.quantity import UNKNOWN, change, quantity
from tesserabench.v1.history_service_pb2 import (
    ChangeKind,
    ChangePoint,
    ChangeState,
    History,
    HistoryPoint,
    NoiseClass,
    Series,
    SeriesState,
)
from tesserabench.v1.measurement_pb2 import TimingMode
from tesserabench.v1.run_pb2 import Severity

_SHOWN = (ChangeState.CHANGE_STATE_SUSPECTED, ChangeState.CHANGE_STATE_CONFIRMED)


@dataclass(frozen=True, slots=True, kw_only=True)
class PointLine:
    """A point with what it is seen against."""

    series: Series
    branch: str
    point: HistoryPoint
    level: float | None
    """Of the stretch that it belongs to."""

    @property
    def against_level(self) -> float | None:
        """How far it lies from its level, as a share."""
        return self.point.value / self.level - 1 if self.level else None


def point_lines(history: History, branch: str) -> list[PointLine]:
    """The points of a history, oldest first."""
    starts = [(_number(row.first_run), row.level) for row in history.segments if row.first_run]
    lines = []
    for point in history.points:
        levels = [level for start, level in starts if start <= _number(point.run)]
        level = levels[-1] if levels else None
        lines.append(PointLine(series=history.series, branch=branch, point=point, level=level))
    return lines


def point_columns(now: datetime) -> Sequence[Column[PointLine]]:
    """The columns of a list of points."""
    return (
        Column[PointLine](title="CASE", value=lambda row: row.series.case_id, wide=True),
        Column[PointLine](title="METRIC", value=lambda row: row.series.metric, wide=True),
        Column[PointLine](title="BRANCH", value=lambda row: row.branch, wide=True),
        Column[PointLine](title="RUN", value=lambda row: short_id(row.point.run)),
        Column[PointLine](
            title="WHEN",
            field="time",
            value=lambda row: iso(moment(row.point, "time")),
            text=lambda row: ago(moment(row.point, "time"), now=now),
        ),
        Column[PointLine](
            title="VALUE",
            value=lambda row: row.point.value,
            text=lambda row: quantity(row.point.value, row.series.unit),
            right=True,
        ),
        Column[PointLine](title="UNIT", value=lambda row: row.series.unit, wide=True),
        Column[PointLine](
            title="VS LEVEL",
            field="against_level",
            value=lambda row: row.against_level,
            text=lambda row: change(row.against_level),
            right=True,
        ),
        Column[PointLine](title="LAUNCHES", value=lambda row: row.point.launches, wide=True, right=True),
        Column[PointLine](
            title="NOISE",
            field="launch_noise",
            value=lambda row: row.point.launch_noise if row.point.HasField("launch_noise") else None,
            text=lambda row: _share(row.point.launch_noise) if row.point.HasField("launch_noise") else UNKNOWN,
            wide=True,
            right=True,
        ),
        Column[PointLine](title="HOST", field="hosts", value=lambda row: " ".join(row.point.hosts), shrink=True),
        Column[PointLine](
            title="COMMIT",
            value=lambda row: row.point.commit,
            text=lambda row: short_commit(row.point.commit),
            whole=True,
        ),
        Column[PointLine](title="ENVIRONMENT", value=lambda row: row.point.comparability, wide=True),
        Column[PointLine](title="FLAGGED", value=lambda row: row.point.flagged, wide=True),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeLine:
    """A change with its number in the chart."""

    number: int
    branch: str
    unit: str
    change: ChangePoint


def change_columns(now: datetime, *, branches: bool) -> Sequence[Column[ChangeLine]]:
    """The columns of a list of changes."""
    return (
        Column[ChangeLine](title="#", value=lambda row: row.number),
        Column[ChangeLine](title="BRANCH", value=lambda row: row.branch, wide=not branches, shrink=True),
        Column[ChangeLine](
            title="WHEN",
            value=lambda row: iso(moment(row.change, "time")),
            text=lambda row: ago(moment(row.change, "time"), now=now),
        ),
        Column[ChangeLine](
            title="CHANGE",
            value=lambda row: row.change.change,
            text=lambda row: change(row.change.change),
            right=True,
            style=lambda row: "bad" if row.change.worse else "good",
        ),
        Column[ChangeLine](title="LEVEL", value=_levels, right=True, wide=True),
        Column[ChangeLine](title="WHAT", value=_what, shrink=True),
        Column[ChangeLine](
            title="RUNS", value=lambda row: f"{short_id(row.change.before_run) or '?'} -> {short_id(row.change.run)}"
        ),
        Column[ChangeLine](title="COMMITS", value=_commits),
        Column[ChangeLine](title="HOSTS", value=lambda row: " ".join(row.change.hosts), shrink=True),
        Column[ChangeLine](
            title="REGRESSION", value=lambda row: short_id(row.change.regression) if row.change.regression else ""
        ),
    )


def change_lines(histories: Mapping[str, History], *, every: bool = False) -> list[ChangeLine]:
    """The changes of histories by branch, numbered; those that went away again only when all are asked for."""
    lines: list[ChangeLine] = []
    for branch, history in histories.items():
        for found in history.changes:
            if every or found.state in _SHOWN:
                number = len(lines) + 1
                lines.append(ChangeLine(number=number, branch=branch, unit=history.series.unit, change=found))
    return lines


def headline(history: History, branch: str) -> str:
    """What the series is, and where it stands."""
    series = history.series
    what = f"{series.case_id} {series.metric} ({word(TimingMode, series.mode)}) on {series.device}, branch {branch}"
    stands = f"{series.points} run{'s' if series.points != 1 else ''}"
    if series.HasField("level"):
        noise = f" \N{PLUS-MINUS SIGN} {_share(series.noise)}" if series.HasField("noise") else ""
        kind = word(NoiseClass, series.noise_class).replace("_", " ")
        stands += f", now {quantity(series.level, series.unit)}{noise}" + (f", {kind}" if kind else "")
    state = word(SeriesState, series.state)
    return clean(f"{what}: {stands}" + (f", {state}" if state in {"stale", "removed"} else ""))


def chart(histories: Mapping[str, History], printer: Printer, *, unicode: bool) -> str:
    """The chart of histories by branch: of one, run by run; of several, over time."""
    several = len(histories) > 1
    numbered = change_lines(histories)
    drawn = []
    for branch, history in histories.items():
        places = _places(history, over_time=several)
        ours = [line for line in numbered if line.branch == branch]
        drawn.append(
            Drawn(
                points=[(places[point.run], point.value) for point in history.points],
                levels=_drawn_levels(history, places),
                changes=[_drawn_change(line, places) for line in ours if line.change.run in places],
            )
        )
    times = sorted(filter(None, (moment(point, "time") for item in histories.values() for point in item.points)))
    unit = next(iter(histories.values())).series.unit
    look = Look(width=printer.width, label=lambda value: quantity(value, unit), unicode=unicode, color=printer.color)
    first, last = _ends(times[0], times[-1]) if times else ("", "")
    return render(drawn, look, first=first, last=last)


def _ends(first: datetime, last: datetime) -> tuple[str, str]:
    """What stands under the ends of the axis, in UTC: days, or the hours of one day."""
    if first.date() == last.date():
        return f"{first:%Y-%m-%d %H:%M}", f"{last:%H:%M} UTC"
    return f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}"


def _places(history: History, *, over_time: bool) -> dict[str, float]:
    if over_time:
        return {point.run: point.time.ToNanoseconds() / 1e9 for point in history.points}
    return {point.run: float(place) for place, point in enumerate(history.points)}


def _drawn_levels(history: History, places: Mapping[str, float]) -> list[Level]:
    runs = [(_number(run), place) for run, place in places.items()]
    levels = []
    starts = [(_number(row.first_run), row.level) for row in history.segments if row.first_run]
    for place, (start, level) in enumerate(starts):
        end = starts[place + 1][0] if place + 1 < len(starts) else None
        inside = [where for run, where in runs if run >= start and (end is None or run < end)]
        if inside:
            levels.append(Level(start=min(inside), end=max(inside), value=level))
    return levels


def _drawn_change(line: ChangeLine, places: Mapping[str, float]) -> Change:
    return Change(at=places[line.change.run], label=str(line.number), style="bad" if line.change.worse else "good")


def _levels(row: ChangeLine) -> str:
    before, after = row.change.before_level, row.change.after_level
    return f"{quantity(before, row.unit)} -> {quantity(after, row.unit)}"


def _what(row: ChangeLine) -> str:
    severity, state = word(Severity, row.change.severity), word(ChangeState, row.change.state)
    crept = f"creep from {row.change.baseline.rpartition('/baselines/')[2]}" if row.change.baseline else ""
    return " ".join(filter(None, (state, severity, crept or word(ChangeKind, row.change.kind))))


def _commits(row: ChangeLine) -> str:
    before, after = short_commit(row.change.before_commit), short_commit(row.change.commit)
    return f"{before}..{after}" if before and after and before != after else after


def _share(share: float) -> str:
    return f"{share * 100:.2g} %"


def _number(run: str) -> int:
    return int(short_id(run))
