"""Devices against their siblings, and where noise comes from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tesserabench.cli.output.table import Column
from tesserabench.cli.output.words import ago, iso, moment, word
from tesserabench.cli.parsing import short_id
from tesserabench.report.quantity import UNKNOWN, duration
from tesserabench.v1.host_service_pb2 import DeviceComparison, DeviceStanding, NoiseEntry

_MARKS = {"slow": "!", "fast": "*", "inconclusive": "?"}
LEGEND = "how much slower than its siblings, z in standard deviations; ! slow, * fast, ? too little or too noisy"
_STYLES = {"slow": "bad", "fast": "warn", "inconclusive": "dim", "pass": ""}
_BARS = "▁▂▃▄▅▆▇█"
_SHOWN_RUNS = 12
_SMALLEST_SPAN = 0.02
"""A curve of less than this is drawn flat: noise is not to look like a drift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRow:
    """A device with its standing in each class of tests."""

    comparisons: tuple[DeviceComparison, ...]

    @property
    def first(self) -> DeviceComparison:
        """Any of them: what is the device's own is the same in all."""
        return self.comparisons[0]

    def of(self, test_class: str) -> DeviceComparison | None:
        """Its standing in a class; none when nothing of it was measured there."""
        return next((one for one in self.comparisons if one.test_class == test_class), None)

    @property
    def worst(self) -> DeviceComparison:
        """Where it is furthest behind."""
        return max(self.comparisons, key=lambda one: one.deviation)


def device_rows(comparisons: Sequence[DeviceComparison]) -> list[DeviceRow]:
    """One row for each device, in the order that they came in."""
    rows: dict[str, list[DeviceComparison]] = {}
    for one in comparisons:
        rows.setdefault(one.device, []).append(one)
    return [DeviceRow(comparisons=tuple(group)) for group in rows.values()]


def grid_columns(rows: Sequence[DeviceRow], now: datetime) -> list[Column[DeviceRow]]:
    """The columns of the grid: a column for each class of tests that there is."""
    classes = dict.fromkeys(sorted({one.test_class for row in rows for one in row.comparisons}))
    return [
        Column[DeviceRow](title="HOST", value=lambda row: short_id(row.first.host), shrink=True),
        Column[DeviceRow](title="GPU", value=_index),
        Column[DeviceRow](title="MODEL", value=lambda row: row.first.device_model, shrink=True),
        *(_class_column(name) for name in classes),
        Column[DeviceRow](title="TREND", value=lambda row: trend(row.worst.recent)),
        Column[DeviceRow](title="DRIFT", value=_drift),
        Column[DeviceRow](
            title="MEASURED",
            value=lambda row: iso(moment(row.first, "last_time")),
            text=lambda row: ago(moment(row.first, "last_time"), now=now),
        ),
        Column[DeviceRow](title="CORDONED", value=lambda row: row.first.cordoned),
        Column[DeviceRow](title="FINDING", value=lambda row: short_id(row.first.regression)),
        Column[DeviceRow](title="DEVICE", value=lambda row: row.first.device, wide=True),
        Column[DeviceRow](title="SIBLINGS", value=lambda row: row.worst.sibling_count, wide=True, right=True),
        Column[DeviceRow](title="RUNS", value=lambda row: row.worst.run_count, wide=True, right=True),
        Column[DeviceRow](
            title="WOULD SEE", value=lambda row: _percent(row.worst.smallest_visible), wide=True, right=True
        ),
        Column[DeviceRow](title="WHY", value=lambda row: row.worst.reason, wide=True),
    ]


def _class_column(name: str) -> Column[DeviceRow]:
    return Column[DeviceRow](
        title=name.upper(),
        value=lambda row: _cell(row.of(name)),
        style=lambda row: _STYLES.get(_standing(row.of(name)), ""),
        right=True,
    )


def comparison_columns() -> Sequence[Column[DeviceComparison]]:
    """The columns of one line for each device and class, for CSV."""
    return (
        Column[DeviceComparison](title="HOST", value=lambda one: short_id(one.host)),
        Column[DeviceComparison](title="DEVICE", value=lambda one: one.device),
        Column[DeviceComparison](title="DEVICE MODEL", field="device_model", value=lambda one: one.device_model),
        Column[DeviceComparison](title="TEST CLASS", field="test_class", value=lambda one: one.test_class),
        Column[DeviceComparison](title="STANDING", value=_standing),
        Column[DeviceComparison](title="DEVIATION", value=lambda one: one.deviation),
        Column[DeviceComparison](title="Z", value=lambda one: one.z),
        Column[DeviceComparison](
            title="SMALLEST VISIBLE", field="smallest_visible", value=lambda one: one.smallest_visible
        ),
        Column[DeviceComparison](title="SERIES", field="series_count", value=lambda one: one.series_count),
        Column[DeviceComparison](title="RUNS", field="run_count", value=lambda one: one.run_count),
        Column[DeviceComparison](title="SIBLINGS", field="sibling_count", value=lambda one: one.sibling_count),
        Column[DeviceComparison](title="DRIFT", value=lambda one: one.drift),
        Column[DeviceComparison](title="DRIFTING", value=lambda one: one.drifting),
        Column[DeviceComparison](title="LAST", field="last_time", value=lambda one: iso(moment(one, "last_time"))),
        Column[DeviceComparison](title="CORDONED", value=lambda one: one.cordoned),
        Column[DeviceComparison](title="REGRESSION", value=lambda one: one.regression),
        Column[DeviceComparison](title="REASON", value=lambda one: one.reason),
    )


def noise_columns() -> Sequence[Column[NoiseEntry]]:
    """The columns of the ranking by noise."""
    return (
        Column[NoiseEntry](title="CASE", field="case_id", value=lambda one: one.case_id, shrink=True),
        Column[NoiseEntry](title="METRIC", value=lambda one: one.metric),
        Column[NoiseEntry](title="DEVICE", field="device_model", value=lambda one: one.device_model, shrink=True),
        _share("MAD", "relative_deviation", lambda one: one.relative_deviation),
        _share("WITHIN", "within_run_share", lambda one: one.within_run_share),
        _share("BETWEEN", "between_run_share", lambda one: one.between_run_share),
        _share("DEVICES", "between_device_share", lambda one: one.between_device_share),
        _share("WOULD SEE", "detectable_change", lambda one: one.detectable_change),
        Column[NoiseEntry](
            title="FALSE",
            field="false_alarm_rate",
            value=lambda one: one.false_alarm_rate if one.HasField("false_alarm_rate") else None,
            text=lambda one: _percent(one.false_alarm_rate) if one.HasField("false_alarm_rate") else "",
            right=True,
        ),
        Column[NoiseEntry](
            title="SPENT",
            field="spent_seconds",
            value=lambda one: one.spent_seconds,
            text=lambda one: duration(one.spent_seconds) if one.spent_seconds else UNKNOWN,
            right=True,
        ),
        Column[NoiseEntry](title="RUNS", field="run_count", value=lambda one: one.run_count, wide=True, right=True),
        Column[NoiseEntry](
            title="LAUNCHES", field="launch_count", value=lambda one: one.launch_count, wide=True, right=True
        ),
        Column[NoiseEntry](title="MODE", value=lambda one: one.mode, wide=True),
        Column[NoiseEntry](title="SUITE", value=lambda one: one.suite, wide=True),
        Column[NoiseEntry](title="PROJECT", value=lambda one: one.project, wide=True),
        Column[NoiseEntry](title="HOSTS", value=lambda one: " ".join(map(short_id, one.hosts)), wide=True),
    )


def advice(entry: NoiseEntry) -> str:
    """What would make the noisiest series quieter."""
    largest = max(
        ("launches", entry.within_run_share),
        ("runs", entry.between_run_share),
        ("devices", entry.between_device_share),
        key=lambda pair: pair[1],
    )[0]
    remedies = {
        "launches": "more launches a run help: --trials",
        "runs": "runs differ by more than their launches: look at clocks, temperature and neighbours of its hosts",
        "devices": "devices differ: compare on one host (--nodes), and see tbctl node compare",
    }
    return f"{entry.case_id}: {remedies[largest]}"


def trend(values: Sequence[float]) -> str:
    """The last deviations as a curve, higher for slower."""
    shown = list(values)[-_SHOWN_RUNS:]
    if len(shown) < 2:
        return ""
    middle = (max(shown) + min(shown)) / 2
    span = max(max(shown) - min(shown), _SMALLEST_SPAN)
    places = [round((value - middle) / span * (len(_BARS) - 1) + (len(_BARS) - 1) / 2) for value in shown]
    return "".join(_BARS[max(0, min(place, len(_BARS) - 1))] for place in places)


def _share(title: str, field: str, value: Callable[[NoiseEntry], float]) -> Column[NoiseEntry]:
    return Column[NoiseEntry](title=title, field=field, value=value, text=lambda one: _percent(value(one)), right=True)


def _index(row: DeviceRow) -> str:
    return str(row.first.device_index) if row.first.HasField("device_index") else row.first.device


def _standing(one: DeviceComparison | None) -> str:
    return word(DeviceStanding, one.standing) if one is not None else ""


def _cell(one: DeviceComparison | None) -> str:
    if one is None:
        return ""
    if not one.sibling_count or not one.run_count:
        return "?"
    return f"{100 * one.deviation:+.1f} % z {one.z:.1f} {_MARKS.get(_standing(one), ' ')}"


def _drift(row: DeviceRow) -> str:
    drifting = [one for one in row.comparisons if one.drifting]
    return f"{100 * max(one.drift for one in drifting):+.1f} %" if drifting else ""


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"
