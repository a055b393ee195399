from datetime import UTC, datetime, timedelta

import pytest
from tesserabench.collector.store.boxes import Box
from tesserabench.collector.store.tables import Series
from tesserabench.collector.web import chart, figures
from tesserabench.collector.web.chart import Group


@pytest.mark.parametrize(
    ("measured", "unit", "text"),
    [
        (12.345, "ns", "12.35 ns"),
        (185_300.0, "ns", "185.3 µs"),
        (2_294_000.0, "ns", "2.294 ms"),
        (1.5e9, "ns", "1.500 s"),
        (0.25, "ns", "0.2500 ns"),
        (7.419e14, "FLOP/s", "741.9 TFLOP/s"),
        (3.0e12, "B/s", "3.000 TB/s"),
        (0.987, "1", "0.9870"),
        (0.0, "ns", "0 ns"),
        (12.0, "launches", "12.00 launches"),
        (1e300, "ns", "1e+291 s"),
        (1.5e-9, "1", "1.5e-09"),
        (None, "ns", figures.NONE),
        (float("nan"), "ns", figures.NONE),
    ],
)
def test_values_have_four_figures_and_a_unit_that_fits(measured: float | None, unit: str, text: str) -> None:
    assert figures.value(measured, unit) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.1234, "+12.3 %"), (-0.05, "\N{MINUS SIGN}5.0 %"), (-0.0001, "+0.0 %"), (None, "\N{EN DASH}")],
)
def test_changes_have_a_sign(fraction: float | None, text: str) -> None:
    assert figures.percent(fraction) == text


@pytest.mark.parametrize(
    ("duration", "text"),
    [(0.2, "0 s"), (59.9, "59 s"), (61.0, "1 min 1 s"), (7200.0, "2 h"), (90_000.0, "1 d 1 h"), (-3.0, "0 s")],
)
def test_durations_have_two_units_at_most(duration: float, text: str) -> None:
    assert figures.seconds(duration) == text


def test_ages_are_told_from_now() -> None:
    now = datetime(2024, 5, 1, tzinfo=UTC)
    assert figures.ago(now)(now - timedelta(minutes=5)) == "5 min ago"
    assert figures.ago(now)(None) == figures.NONE


def box(value: float, *, spread: float | None = 1.0, host: str = "node-1", trial: int = 0) -> Box:
    def at(distance: float) -> float | None:
        return None if spread is None else value + spread * distance

    return Box(
        run_id=1,
        series=Series(id=1),
        host=host,
        trial=trial,
        outcome="ok",
        value=value,
        ci_low=None,
        ci_high=None,
        minimum=at(-100),
        q1=at(-1),
        q3=at(1),
        maximum=at(100),
        count=None if spread is None else 30,
    )


def test_a_chart_shows_each_launch_and_what_it_is() -> None:
    groups = [
        Group(name="base, run 1", style="base", boxes=[box(1000.0), box(1001.0, trial=1)]),
        Group(name="run 2", style="head", boxes=[box(1100.0)]),
    ]
    drawn = str(chart.launches(groups, "ns"))
    assert drawn.count('<g class="base">') == 2
    assert drawn.count('<g class="head">') == 1
    assert "node-1, launch 2: 1.001 µs, 30 samples" in drawn
    assert "style=" not in drawn


def test_a_spike_does_not_flatten_the_rest() -> None:
    drawn = str(chart.launches([Group(name="run", style="head", boxes=[box(1000.0)])], "ns"))
    (width,) = (part.split('"')[0] for part in drawn.split('width="')[1:])
    assert float(width) > 100


@pytest.mark.parametrize("value", [0.0, -5.0, 1e-300, 1e300])
def test_values_that_do_not_differ_are_drawn(value: float) -> None:
    drawn = str(chart.launches([Group(name="run", style="head", boxes=[box(value, spread=None)] * 3)], "1"))
    assert drawn.count("<g ") == 3
    assert "nan" not in drawn


def test_a_launch_without_a_value_lends_its_name_to_no_other() -> None:
    boxes = [box(float("nan"), host="node-1"), box(1000.0, host="node-2", trial=1)]
    drawn = str(chart.launches([Group(name="run", style="head", boxes=boxes)], "ns"))
    assert "node-2, launch 2" in drawn
    assert "node-1" not in drawn


def test_the_ends_of_one_day_are_hours() -> None:
    morning = datetime(2024, 5, 1, 8, tzinfo=UTC)
    assert figures.ends(morning, morning + timedelta(hours=2)) == ("2024-05-01 08:00", "10:00 UTC")
    assert figures.ends(morning, morning + timedelta(days=2)) == ("2024-05-01", "2024-05-03")


def test_nothing_is_drawn_of_nothing() -> None:
    assert str(chart.launches([Group(name="run", style="head", boxes=[])], "ns")) == ""
    assert str(chart.launches([Group(name="run", style="head", boxes=[box(float("nan"))])], "ns")) == ""


def test_names_are_escaped() -> None:
    drawn = str(chart.launches([Group(name="<b>", style="head", boxes=[box(1.0, host='"><script>')])], "ns"))
    assert "<b>" not in drawn
    assert "<script" not in drawn
