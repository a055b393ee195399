"""The small rules of sampling, each by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.bench import Block, CaseFailure, Ceilings, DeviceState, Outcome, SampleFlag, summarise
from tesserabench.bench.ceiling import Probed, drifted
from tesserabench.bench.timing.blocks import LEAST_SAMPLES, LONGEST_SECONDS, Columns, block_size, escaped
from tesserabench.bench.timing.rotation import sets_wanted
from tesserabench.bench.timing.sample_flags import flag_samples, is_low_clock
from tesserabench.bench.timing.throttling import judge
from tesserabench.bench.timing.warmup import is_clock_steady, is_stationary, is_temperature_steady

MI = 1 << 20


@given(st.integers(1, 10_000), st.integers(1, 10), st.floats(1, 1e10), st.floats(-1, 100))
def test_block_is_never_longer_than_a_quarter_of_a_second(
    wanted: int, blocks: int, sample_ns: float, left: float
) -> None:
    size = block_size(wanted, blocks, sample_ns, left)
    assert size >= 1
    assert size == 1 or size * sample_ns <= LONGEST_SECONDS * 1e9
    if sample_ns * LEAST_SAMPLES <= min(LONGEST_SECONDS, left) * 1e9:
        assert size >= LEAST_SAMPLES


def test_block_spreads_what_is_wanted() -> None:
    assert block_size(300, 3, 1000.0, 10.0) == 100
    assert block_size(30, 3, 1000.0, 10.0) == LEAST_SAMPLES
    assert block_size(10_000, 1, 1e6, 10.0) == 250
    assert block_size(10_000, 1, 1e6, 0.02) == 20


def test_columns_that_not_every_block_fills_are_empty() -> None:
    columns = Columns(iterations=2)
    columns.append(Block(total_ns=(20, 21), clock_hz=(1e9, 2e9), begin_ns=(1000, 3000)), judged=True)
    assert (columns.samples, columns.clocks(), columns.offsets()) == ([10, 10], (1000.0, 2000.0), (0.0, 2.0))
    columns.append(Block(total_ns=(30,)), judged=True)
    assert columns.samples == [10, 10, 15]
    assert columns.block == [0, 0, 1]
    assert columns.clocks() == columns.offsets() == ()
    assert (columns.launches, columns.device_ns, columns.escaped) == (6, 71, False)


def test_sample_without_any_time_is_implausible() -> None:
    with pytest.raises(CaseFailure, match="escaped the timed region") as caught:
        Columns(iterations=1).append(Block(total_ns=(5, 0)), judged=True)
    assert caught.value.outcome is Outcome.IMPLAUSIBLE


@pytest.mark.parametrize(
    ("launch_ns", "host_ns", "found"),
    [
        pytest.param(2_000, 15_000, False, id="python-between-tiny-launches"),
        pytest.param(2_000, 200_000, True, id="a-hundred-times-the-launch"),
        pytest.param(10_000_000, 12_000_000, False, id="long-launches"),
        pytest.param(10_000_000, 50_000_000, True, id="five-times-the-launch"),
    ],
)
def test_work_escapes_when_the_host_waits_for_more_than_was_timed(launch_ns: int, host_ns: int, found: bool) -> None:
    launches = 1000
    block = Block(total_ns=(launch_ns,) * launches, host_ns=host_ns * launches)
    assert escaped(block, 1) is found


def test_one_preempted_block_is_no_escape() -> None:
    columns = Columns(iterations=1)
    for host_ns in (10**6, 10**10, 10**6):
        columns.append(Block(total_ns=(1000,) * 16, host_ns=host_ns), judged=True)
    assert not columns.escaped


def test_sample_flags_name_outliers_and_low_clocks() -> None:
    samples = [100, 101, 99, 100, 100, 101, 99, 100, 103, 200]
    clocks = [1000.0] * 9 + [980.0]
    flags = flag_samples(samples, summarise(samples), clocks, retried=True)
    assert flags[0] == SampleFlag.AFTER_RETRY
    assert flags[8] == SampleFlag.AFTER_RETRY | SampleFlag.MILD_OUTLIER
    assert flags[9] == SampleFlag.AFTER_RETRY | SampleFlag.SEVERE_OUTLIER | SampleFlag.LOW_CLOCK
    assert is_low_clock(flags)
    assert not is_low_clock([0] * 96 + [int(SampleFlag.LOW_CLOCK)] * 4)
    assert not is_low_clock([])


def test_times_and_clocks_are_steady_when_two_windows_agree() -> None:
    assert not is_stationary([100.0] * 19)
    assert is_stationary([100.0] * 20)
    assert not is_stationary([100.0] * 10 + [102.0] * 10)
    assert is_clock_steady([])
    assert not is_clock_steady([1e9] * 19)
    assert is_clock_steady([1e9] * 10 + [1.005e9] * 10)
    assert not is_clock_steady([1e9] * 10 + [1.02e9] * 10)


def test_temperature_is_steady_below_a_fifth_of_a_degree_a_second() -> None:
    assert is_temperature_steady([])
    assert not is_temperature_steady([(0.0, 50.0), (1.0, 50.0)])
    assert is_temperature_steady([(0.0, 50.0), (3.0, 50.5)])
    assert not is_temperature_steady([(0.0, 50.0), (3.0, 51.0)])
    assert not is_temperature_steady([(0.0, 52.0), (3.0, 51.0)])


@pytest.mark.parametrize(("touched", "sets"), [(10 * MI, 26), (250 * MI, 2), (1000 * MI, 2), (None, 2), (7, 37449144)])
def test_rotation_holds_five_caches_and_one_more_set(touched: int | None, sets: int) -> None:
    assert sets_wanted(touched, 50 * MI) == sets


def test_throttling_is_judged_by_its_share_of_the_time() -> None:
    def after(throttled_ns: int | None, why: str | None = "thermal") -> DeviceState:
        return DeviceState(throttled_ns=throttled_ns, throttle_reason=why)

    zero = after(0)
    assert not judge(zero, after(10_000_000), 1.0, 0.01).reason
    hot = judge(zero, after(20_000_000), 1.0, 0.01)
    assert hot.thermal
    assert "throttled for 2.0% of the measured time (limit 1.0%, reason: thermal)" in hot.reason
    assert not judge(zero, after(20_000_000, "brake"), 1.0, 0.01).thermal
    assert "reason: unknown" in judge(zero, after(20_000_000, None), 1.0, 0.01).reason
    power = judge(zero, after(20_000_000, "power"), 1.0, 0.01)
    assert (power.reason, power.power_limited) == ("", True)
    assert not judge(after(None), after(5), 1.0, 0.01).reason


def test_ceilings_move_when_neither_two_per_cent_nor_their_noise_explains_it() -> None:
    def probed(bandwidth: float | None, float32: float, spread: float) -> Probed:
        flops = {"float32": float32}
        spreads = {"bandwidth": spread, "float32": spread}
        return Probed(ceilings=Ceilings(bandwidth=bandwidth, flops=flops), spreads=spreads)

    before = probed(100.0, 100.0, 0.001)
    assert drifted(before, probed(101.9, 98.1, 0.001)) == ()
    assert drifted(before, probed(103.0, 97.0, 0.001)) == ("bandwidth", "float32")
    assert drifted(before, probed(103.0, 90.0, 0.02)) == ("float32",)
    assert drifted(before, probed(None, 100.0, 0.001)) == ()
