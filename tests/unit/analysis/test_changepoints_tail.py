"""A history that grows says at every point what it would say as a whole."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tesserabench.analysis.changepoints import Settings, Tail, analyse, extend_many

ODD = st.sampled_from([0.0, -1.0, 1e-300, 1e300, math.nan, math.inf, 5.0, 5.0, 5.1, 5.2, 9.0])
PLAIN = st.floats(min_value=0.9, max_value=1.1)


def steps(count: int, seed: int) -> list[float]:
    """Noise with a step now and then, and far points."""
    rng = np.random.default_rng(seed)
    level = np.cumsum((rng.random(count) < 0.02) * rng.normal(0, 0.08, count))
    far = (rng.random(count) < 0.03) * rng.normal(0, 0.2, count)
    return [float(value) for value in np.exp(level + far + rng.normal(0, 0.01, count))]


@settings(max_examples=15, deadline=None)
@given(st.lists(PLAIN | ODD, max_size=40))
def test_point_by_point_is_as_the_whole(values: list[float]) -> None:
    tail = Tail.start()
    for count, value in enumerate(values, start=1):
        assert tail.extend([value]) == analyse(values[:count])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**20), sizes=st.lists(st.integers(0, 400), min_size=1, max_size=6))
def test_chunks_over_several_windows_are_as_the_whole(seed: int, sizes: list[int]) -> None:
    values = steps(sum(sizes), seed)
    tail = Tail.start()
    begin = 0
    for size in sizes:
        found = tail.extend(values[begin : begin + size])
        begin += size
    assert found == analyse(values)


def test_point_by_point_across_a_window_is_as_the_whole() -> None:
    values = steps(830, 5)
    tail = Tail.start()
    tail.extend(values[:700])
    for count in range(701, 831):
        found = tail.extend([values[count - 1]])
        if count % 10 == 0:
            assert found == analyse(values[:count])


@pytest.mark.parametrize("seed", [1, 2])
def test_hosts_come_and_go_point_by_point(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = steps(90, seed)
    hosts = [str(rng.integers(0, 1 + place // 25)) for place in range(90)]
    tail = Tail.start()
    for count in range(1, 91):
        found = tail.extend([values[count - 1]], [hosts[count - 1]])
        if count % 6 == 0:
            assert found == analyse(values[:count], hosts[:count])


def test_a_host_that_drifts_does_so_point_by_point() -> None:
    names = ["a", "b", "c", "c", "a", "b"] * 22
    values = [
        value * math.exp(0.001 * place * (name == "b"))
        for place, (value, name) in enumerate(zip(steps(132, 3), names, strict=True))
    ]
    tail = Tail.start()
    told = set()
    for count in range(1, 133):
        found = tail.extend([values[count - 1]], [names[count - 1]])
        told |= {move.host for move in found.host_moves}
        if count % 6 == 0:
            assert found == analyse(values[:count], names[:count])
    assert told == {"b"}


def test_a_state_that_was_kept_goes_on_as_if_nothing_had_been() -> None:
    values = steps(1500, 7)
    values[1300] = math.nan
    chosen = Settings(smallest_change=0.03, strictness=1.2)
    for hosts in (None, ["left", "right", "right"] * 500):
        tail = Tail.start(chosen)
        tail.extend(values[:1400], hosts and hosts[:1400])
        again = Tail.load(tail.dump())
        assert again.points == 1400
        assert again.dump() == tail.dump()
        added = values[1400:], hosts and hosts[1400:]
        assert again.extend(*added) == tail.extend(*added) == analyse(values, hosts, chosen)


def test_a_state_stays_small_however_long_the_history() -> None:
    tail = Tail.start()
    tail.extend([round(value, 3) for value in steps(6000, 8)])
    assert len(tail.dump()) < 30_000


def test_a_state_of_another_version_is_refused() -> None:
    tail = Tail.start()
    tail.extend(steps(50, 9), ["a", "b"] * 25)
    state = tail.dump()
    for other in (b'{"format":1,"raw":[]}', b"", state[:6], state[:-1], state + b"\0"):
        with pytest.raises(ValueError, match="analyse it anew"):
            Tail.load(other)


def test_hosts_are_given_always_or_never() -> None:
    tail = Tail.start()
    tail.extend([1.0, 2.0], ["a", "b"])
    with pytest.raises(ValueError, match="for all points of a series or for none"):
        tail.extend([3.0])
    with pytest.raises(ValueError, match="2 names for 1 values"):
        tail.extend([3.0], ["a", "b"])


def test_many_grow_at_once_as_each_would_alone() -> None:
    histories = [steps(60 + 10 * seed, seed) for seed in range(6)]
    tails = [Tail.start() for _ in histories]
    extend_many(tails, [(values[:50], None) for values in histories])
    found = extend_many(tails, [(values[50:], None) for values in histories])
    assert found == [analyse(values) for values in histories]
