"""Change points in a history."""

import math

import numpy as np
import pytest
from tesserabench.analysis.changepoints import Settings, Status, Tail, analyse


def _noise(count: int, *, deviation: float = 0.005, seed: int = 1) -> list[float]:
    return list(np.exp(np.random.default_rng(seed).normal(0, deviation, count)))


def test_a_step_is_found_where_it_is() -> None:
    values = _noise(80)
    values[40:] = [value * 1.05 for value in values[40:]]
    (change,) = analyse(values).changes
    assert change.index == 40
    assert change.status is Status.CONFIRMED
    assert change.shift == pytest.approx(math.log(1.05), abs=0.005)


def test_noise_alone_has_no_change() -> None:
    found = analyse(_noise(200))
    assert found.changes == ()
    assert [(segment.start, segment.end) for segment in found.segments] == [(0, 200)]


def test_the_tail_says_what_the_whole_says() -> None:
    values = _noise(60)
    values[30:] = [value * 1.1 for value in values[30:]]
    tail = Tail.start(Settings())
    for value in values:
        last = Tail.load(tail.dump()).extend([value])
        assert tail.extend([value]) == last
    assert last == analyse(values)
