"""Clocks and begins from stamps: what the readings of multiprocessors before and after samples say."""

import numpy as np
import pytest
from tesserabench.bench.device.cuda.stamps import LEAST_STEPS, WINDOW_STEPS, interpret

EPOCH_NS = 1_700_000_000_000_000_000


def rows(
    begins: list[int], ends: list[int], *, mhz: list[float], slots: int = 6, step_ns: int = 1
) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint64]]":
    """Return stamps of samples that begin and end at nanoseconds, every second multiprocessor switched off.

    `mhz` gives the clock during each sample; between samples the cycle counter goes on at the next one's clock.
    """
    found = np.zeros((len(begins), 2, slots, 2), dtype=np.uint64)
    cycles, now = 0.0, begins[0]
    for sample, (begin, end, clock) in enumerate(zip(begins, ends, mhz, strict=True)):
        for side, moment in enumerate((begin, end)):
            cycles += (moment - now) * clock / 1000
            now = moment
            for slot in range(0, slots, 2):
                found[sample, side, slot] = round(cycles) + 1000 * slot + 1, EPOCH_NS + now // step_ns * step_ns
    return found


def test_each_sample_has_its_own_clock() -> None:
    told = interpret(rows([0, 200_000, 400_000], [100_000, 300_000, 500_000], mhz=[1980, 990, 1980]), 1.0, 7_000_000)
    assert told.clock_hz == pytest.approx([1.98e9, 0.99e9, 1.98e9], rel=1e-3)
    assert told.span_ns == (100_000, 100_000, 100_000)
    assert told.begin_ns == (7_000_000 - 500_000, 7_000_000 - 300_000, 7_000_000 - 100_000)


def test_short_samples_share_a_window_that_the_timers_step_does_not_spoil() -> None:
    begins = [10_000 * index for index in range(200)]
    ends = [begin + 5000 for begin in begins]
    told = interpret(rows(begins, ends, mhz=[1500] * 200, step_ns=1024), 1024.0, 0)
    assert told.clock_hz == pytest.approx([1.5e9] * 200, rel=2 / WINDOW_STEPS)


def test_block_too_short_for_the_timers_step_has_no_clock() -> None:
    told = interpret(rows([0], [(LEAST_STEPS - 10) * 1024], mhz=[1500], step_ns=1024), 1024.0, 0)
    assert told.clock_hz == ()
    assert len(told.begin_ns) == 1


def test_multiprocessor_that_missed_a_stamp_is_left_out() -> None:
    stamps = rows([0, 200_000], [100_000, 300_000], mhz=[1980, 1980])
    stamps[1, 0, 2] = 0
    stamps[1, 1, 2, 0] = 5
    assert interpret(stamps, 1.0, 0).clock_hz == pytest.approx([1.98e9] * 2, rel=1e-3)


def test_samples_may_be_seen_by_different_multiprocessors() -> None:
    stamps = rows([0, 200_000], [100_000, 300_000], mhz=[1980, 1980])
    stamps[0, :, 0] = 0
    stamps[1, :, (2, 4)] = 0
    assert interpret(stamps, 1.0, 0).clock_hz == pytest.approx([1.98e9] * 2, rel=1e-3)
    stamps[1, 1, 0] = 0
    stamps[1, 1, 2] = 9, EPOCH_NS
    told = interpret(stamps, 1.0, 0)
    assert told.clock_hz == ()
    assert len(told.begin_ns) == 2


def test_no_stamps_tell_nothing() -> None:
    assert interpret(np.zeros((3, 2, 4, 2), dtype=np.uint64), 1.0, 0) == ((), (), ())


def test_cycle_counter_that_stands_still_is_no_clock() -> None:
    stamps = rows([0, 200_000], [100_000, 300_000], mhz=[1980, 1980])
    stamps[..., 0] = 17
    told = interpret(stamps, 1.0, 0)
    assert told.clock_hz == ()
    assert told.span_ns == (100_000, 100_000)
