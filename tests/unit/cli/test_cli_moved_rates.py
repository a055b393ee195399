"""Which rate a row of results shows."""

import pytest
from tesserabench.bench.metric import METRICS, MetricValue
from tesserabench.cli.views.results import rate_of


def told(*names: str) -> dict[str, MetricValue]:
    by_name = {metric.name: metric for metric in METRICS}
    return {name: MetricValue.of(by_name[name], 1.0, None, None) for name in names}


@pytest.mark.parametrize(
    ("names", "ceiling", "shown"),
    [
        (("time", "payload_bandwidth"), "", "payload_bandwidth"),
        (("time", "algorithm_bandwidth", "bus_bandwidth"), "", "bus_bandwidth"),
        (("throughput", "bandwidth", "payload_bandwidth"), "", "throughput"),
        (("throughput", "bandwidth"), "bandwidth", "bandwidth"),
    ],
)
def test_work_that_only_moves_data_shows_what_it_moved(names: tuple[str, ...], ceiling: str, shown: str) -> None:
    found = rate_of(told(*names), ceiling)
    assert found is not None
    assert getattr(found, "name", "") == shown


def test_time_is_no_rate() -> None:
    assert rate_of(told("time", "item_time"), "") is None
