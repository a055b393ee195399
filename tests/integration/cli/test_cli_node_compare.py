"""`tbctl node compare` and `tbctl node noise`: what people and programs read of them."""

import csv
import io
import json
from datetime import timedelta

import pytest
from support.contract_values import START
from support.fake_services import FakeCollector
from support.golden import assert_golden
from support.tbctl import Tbctl
from tesserabench.cli.output.table import render_table
from tesserabench.cli.views.siblings import advice, device_rows, grid_columns, noise_columns, trend
from tesserabench.v1.host_service_pb2 import DeviceComparison, DeviceStanding, NoiseEntry

NOW = START + timedelta(minutes=5)
MODEL = "NVIDIA H100 80GB HBM3"


def a_comparison(
    host: str, index: int, test_class: str, deviation: float = 0.0, standing: str = "pass"
) -> DeviceComparison:
    slow = standing == "slow"
    one = DeviceComparison(
        host=f"hosts/{host}",
        device=f"GPU-{host}-{index}",
        device_model=MODEL,
        test_class=test_class,
        standing=DeviceStanding.Value(f"DEVICE_STANDING_{standing.upper()}"),
        reason="1 of the 2 runs that are needed" if standing == "inconclusive" else "",
        deviation=deviation,
        z=deviation / 0.008,
        smallest_visible=0.034,
        series_count=12,
        run_count=1 if standing == "inconclusive" else 4,
        sibling_count=31,
        drift=0.06 if slow else 0.0,
        drifting=slow,
        recent=[0.0, 0.02, 0.05, deviation] if slow else [0.001, -0.001, 0.0, deviation],
        cordoned=slow,
        regression="regressions/12" if slow else "",
        device_index=index,
    )
    one.last_time.FromDatetime(START)
    return one


COMPARISONS = [
    a_comparison("gpu-06", 0, "compute", 0.004),
    a_comparison("gpu-06", 0, "memory", -0.002),
    a_comparison("gpu-07", 2, "compute", 0.083, "slow"),
    a_comparison("gpu-07", 2, "memory", 0.001),
    a_comparison("gpu-08", 1, "compute", 0.01, "inconclusive"),
]

NOISE = [
    NoiseEntry(
        project="default",
        suite="gemm",
        benchmark="gemm/matmul",
        case_id="gemm/matmul[m=4096]",
        mode="warm",
        metric="time",
        device_model=MODEL,
        hosts=["hosts/gpu-06", "hosts/gpu-07"],
        run_count=24,
        launch_count=120,
        relative_deviation=0.021,
        within_run_share=0.1,
        between_run_share=0.2,
        between_device_share=0.7,
        detectable_change=0.045,
        launches_a_side=5.0,
        spent_seconds=5400.0,
        false_alarm_rate=0.004,
    ),
    NoiseEntry(
        project="default",
        suite="memory",
        benchmark="memory/copy",
        case_id="memory/copy[bytes=1GiB]",
        metric="time",
        device_model=MODEL,
        run_count=24,
        launch_count=120,
        relative_deviation=0.002,
        within_run_share=0.8,
        between_run_share=0.2,
        detectable_change=0.006,
        launches_a_side=5.0,
    ),
]


@pytest.fixture
def fleet(collector: FakeCollector) -> FakeCollector:
    collector.device_comparisons = COMPARISONS
    collector.noise = NOISE
    return collector


def test_grid_is_as_it_was() -> None:
    rows = device_rows(COMPARISONS)
    assert_golden(
        "cli/node_compare.txt", render_table(grid_columns(rows, NOW), rows, wide=False, width=100, color=False) + "\n"
    )


def test_ranking_is_as_it_was() -> None:
    assert_golden("cli/node_noise.txt", render_table(noise_columns(), NOISE, wide=False, width=100, color=False) + "\n")


def test_slow_keeps_the_devices_that_are_and_says_where_to_read_on(fleet: FakeCollector, tbctl: Tbctl) -> None:
    said = tbctl("node", "compare", "--slow")
    assert said.status == 0
    assert "gpu-07" in said.out
    assert "gpu-06" not in said.out
    assert "tbctl regression get 12" in said.err


def test_a_fleet_without_a_slow_device_is_said_to_have_none(fleet: FakeCollector, tbctl: Tbctl) -> None:
    fleet.device_comparisons = COMPARISONS[:1]
    assert "no device is slow or drifts" in tbctl("node", "compare", "--slow").err
    fleet.device_comparisons = []
    assert "no devices that can be compared" in tbctl("node", "compare", "--slow").err


def test_programs_get_one_item_for_each_device_and_class(fleet: FakeCollector, tbctl: Tbctl) -> None:
    items = json.loads(tbctl("node", "compare", "-o", "json").out)["items"]
    assert len(items) == len(COMPARISONS)
    assert (items[2]["standing"], items[2]["deviation"], items[2]["regression"]) == ("slow", 0.083, "regressions/12")
    rows = list(csv.DictReader(io.StringIO(tbctl("node", "compare", "-o", "csv").out)))
    assert [row["standing"] for row in rows] == ["pass", "pass", "slow", "pass", "inconclusive"]
    assert rows[4]["reason"] == "1 of the 2 runs that are needed"


def test_a_fleet_with_nothing_to_compare_says_what_it_takes(collector: FakeCollector, tbctl: Tbctl) -> None:
    said = tbctl("node", "compare", "--model", "none such")
    assert (said.status, said.out) == (0, "")
    assert "two of a model must have measured the same suite" in said.err


def test_noise_says_what_would_make_the_worst_series_quieter(fleet: FakeCollector, tbctl: Tbctl) -> None:
    said = tbctl("node", "noise", "--limit", "1")
    assert said.status == 0
    assert "1h30m" in said.out
    assert "memory/copy" not in said.out
    assert "devices differ" in said.err
    items = json.loads(tbctl("node", "noise", "-o", "json").out)["items"]
    assert items[0]["false_alarm_rate"] == 0.004
    assert "false_alarm_rate" not in items[1], "never measured is not zero"


def test_advice_follows_the_largest_share() -> None:
    assert "--trials" in advice(NOISE[1])
    assert "neighbours" in advice(NoiseEntry(case_id="c", between_run_share=0.9, within_run_share=0.1))


@pytest.mark.parametrize(
    ("values", "curve"),
    [([], ""), ([0.01], ""), ([0.0, 0.0, 0.001], "▄▄▅"), ([0.0, 0.04, 0.08], "▁▅█")],
)
def test_trend_draws_noise_flat_and_falls_steep(values: list[float], curve: str) -> None:
    assert trend(values) == curve
