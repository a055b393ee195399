"""Change points in a history: what is one and what is none."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from tesserabench.analysis.changepoints import NoiseClass, SeriesAnalysis, Settings, Status, analyse, analyse_many


def noise(count: int, *, deviation: float = 0.005, seed: int = 1) -> list[float]:
    """Independent points around 100."""
    return [float(value) for value in 100 * np.exp(np.random.default_rng(seed).normal(0, deviation, count))]


def moved(values: list[float], start: int, factor: float, end: int | None = None) -> list[float]:
    """`values` with those of [start, end) times `factor`."""
    last = len(values) if end is None else end
    return [value * factor if start <= place < last else value for place, value in enumerate(values)]


def indices(found: SeriesAnalysis) -> list[int]:
    """Where changes are."""
    return [change.index for change in found.changes]


def test_a_step_is_found_where_it_is() -> None:
    found = analyse(moved(noise(80), 40, 1.05))
    (change,) = found.changes
    assert (change.index, change.earliest, change.latest) == (40, 40, 40)
    assert change.status is Status.CONFIRMED
    assert change.shift == pytest.approx(math.log(1.05), abs=0.003)
    assert [(segment.start, segment.end) for segment in found.segments] == [(0, 40), (40, 80)]
    assert found.value_of(found.segments[1].level) == pytest.approx(105, rel=0.003)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("deviation", [0.0005, 0.005, 0.08])
def test_noise_alone_has_no_change(deviation: float, seed: int) -> None:
    found = analyse(noise(150, deviation=deviation, seed=seed))
    assert found.changes == ()
    assert [(segment.start, segment.end) for segment in found.segments] == [(0, 150)]


def test_several_steps_are_found_together() -> None:
    values = moved(moved(moved(noise(160), 30, 1.06), 70, 0.9), 120, 1.04)
    assert indices(analyse(values)) == [30, 70, 120]


def test_doubling_and_halving_are_the_same_change() -> None:
    values = moved(noise(90), 50, 1.08)
    up, down = analyse(values), analyse([1 / value for value in values])
    assert indices(up) == indices(down) == [50]
    assert up.changes[0].shift == pytest.approx(-down.changes[0].shift, abs=1e-3)


@pytest.mark.parametrize("factor", [1e-200, 1e-9, 3.7, 1e12, 1e200])
def test_the_unit_does_not_matter(factor: float) -> None:
    values = moved(noise(90), 50, 1.08)
    assert indices(analyse([value * factor for value in values])) == [50]


def test_a_history_told_backwards_has_the_same_steps() -> None:
    values = moved(moved(noise(150), 45, 1.07), 100, 0.95)
    assert indices(analyse(values)) == [45, 100]
    assert indices(analyse(values[::-1])) == [50, 105]


@pytest.mark.parametrize("far", [1.05, 1.5, 40.0, 0.02])
def test_a_single_spike_is_no_change(far: float) -> None:
    for place in (3, 60, 116, 118, 119):
        assert analyse(moved(noise(120), place, far, place + 1)).changes == ()


def test_a_change_that_came_back_after_five_points_is_two_steps() -> None:
    found = analyse(moved(noise(120), 60, 1.06, 65))
    assert indices(found) == [60, 65]


def test_what_came_back_before_it_was_sure_is_an_excursion_and_never_confirmed() -> None:
    values = noise(120)
    four = analyse(moved(values, 60, 1.06, 64))
    assert {one.status for one in four.changes} <= {Status.SUSPECTED}
    assert [(one.start, one.end) for one in four.transients] == [(60, 64)]
    assert four.transients[0].shift == pytest.approx(math.log(1.06), abs=0.01)
    ten = analyse(moved(values, 60, 1.06, 70))
    assert [(one.index, one.status) for one in ten.changes] == [(60, Status.CONFIRMED), (70, Status.CONFIRMED)]
    assert ten.transients == ()


def test_bursts_as_there_were_before_are_no_changes() -> None:
    values = noise(150)
    for start in (12, 40, 77, 101, 126):
        values = moved(values, start, 1.06, start + 4)
    found = analyse(values)
    assert found.changes == ()
    assert {(one.start, one.end) for one in found.transients} <= {(s, s + 4) for s in (12, 40, 77, 101, 126)}


def test_modes_in_turns_are_no_changes() -> None:
    rng = np.random.default_rng(4)
    values = [value * (1.13 if rng.random() < 0.4 else 1.0) for value in noise(200, deviation=0.003)]
    found = analyse(values)
    assert found.changes == ()
    assert found.segments[0].noise is NoiseClass.BIMODAL


def test_modes_that_are_kept_for_a_while_are_seldom_changes() -> None:
    false, found = 0, 0
    for seed in range(16):
        rng = np.random.default_rng(seed)
        slow, factors = False, []
        for _ in range(150):
            slow = slow if rng.random() < 0.3 else bool(rng.random() < 0.5)
            factors.append(1.04 if slow else 1.0)
        values = [value * factor for value, factor in zip(noise(150, seed=seed), factors, strict=True)]
        false += len(analyse(values).changes) > 0
        found += any(abs(index - 70) <= 1 for index in indices(analyse(moved(values, 70, 1.3))))
    assert false <= 3
    assert found >= 15


def test_three_points_are_a_suspicion_and_eight_a_change() -> None:
    values = moved(noise(120), 100, 1.06)
    assert analyse(values[:102]).changes == ()
    states = {count: [one.status for one in analyse(values[: 100 + count]).changes] for count in (3, 8)}
    assert states == {3: [Status.SUSPECTED], 8: [Status.CONFIRMED]}


def test_a_slow_climb_is_a_drift_and_no_staircase() -> None:
    values = [value * math.exp(0.0012 * place) for place, value in enumerate(noise(150, deviation=0.01))]
    found = analyse(values)
    assert len(found.changes) <= 1
    assert found.drifts or found.changes
    assert sum(one.shift for one in found.drifts) + sum(one.shift for one in found.changes) > 0.1


def test_a_series_that_wanders_has_no_steps_and_is_not_blind_to_them() -> None:
    """Ten histories with a correlation of 0.9 between neighbours; at half of it a large step is seen."""
    steps, seen = 0, 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        moves = rng.normal(0, 0.01, 250)
        for strong in (True, False):
            level, walk = 0.0, []
            for move in moves:
                level = (0.9 if strong else 0.45) * level + float(move)
                walk.append(100 * math.exp(level))
            steps += strong and len(analyse(walk).changes)
            seen += not strong and any(abs(index - 120) <= 2 for index in indices(analyse(moved(walk, 120, 1.1))))
    assert steps <= 1
    assert seen >= 9


def test_a_step_in_loud_noise_is_told_near_where_it_is() -> None:
    near = 0
    for seed in range(80, 120):
        values = moved(noise(160, deviation=0.04, seed=seed), 80, 1.05)
        found = analyse(values)
        near += any(abs(change.index - 80) <= 5 for change in found.changes)
        assert all(change.earliest <= change.index <= change.latest for change in found.changes)
    assert near >= 35


def test_hosts_that_differ_are_no_changes_and_a_step_on_all_of_them_is() -> None:
    rng = np.random.default_rng(2)
    names = ["left" if rng.random() < share else "right" for share in np.linspace(0.9, 0.1, 150)]
    values = [value * (1.2 if name == "left" else 1.0) for value, name in zip(noise(150), names, strict=True)]
    still = analyse(values, names)
    assert still.changes == ()
    assert still.host_offsets["left"] - still.host_offsets["right"] == pytest.approx(math.log(1.2), abs=0.01)
    (change,) = analyse(moved(values, 90, 1.05), names).changes
    assert abs(change.index - 90) <= 1


def test_a_host_that_drifts_alone_is_named_and_changes_nothing() -> None:
    rng = np.random.default_rng(5)
    names = [str(name) for name in rng.choice(["a", "b", "c"], 180)]
    values = [
        value * (math.exp(0.0006 * place) if name == "b" else 1.0)
        for place, (value, name) in enumerate(zip(noise(180), names, strict=True))
    ]
    found = analyse(values, names)
    assert (found.changes, found.drifts) == ((), ())
    (move,) = found.host_moves
    assert move.host == "b"
    assert move.shift == pytest.approx(0.107, abs=0.015)
    assert indices(analyse(moved(values, 100, 1.05), names)) == [100]


def test_a_host_that_steps_alone_is_named_and_changes_nothing() -> None:
    names = ["a", "b", "c", "b", "c", "a"] * 25
    values = [
        value * (1.04 if name == "c" and place >= 90 else 1.0)
        for place, (value, name) in enumerate(zip(noise(150), names, strict=True))
    ]
    found = analyse(values, names)
    assert found.changes == ()
    assert {move.host for move in found.host_moves} == {"c"}
    with_two = ["a" if name == "b" else name for name in names]
    assert analyse(values, with_two).host_moves == ()


def test_a_swap_of_hosts_is_no_change() -> None:
    names = ["old"] * 40 + ["old", "new"] * 20 + ["new"] * 40
    values = [value * (1.1 if name == "new" else 1.0) for value, name in zip(noise(120), names, strict=True)]
    assert analyse(values, names).changes == ()


@pytest.mark.parametrize("missing", [math.nan, math.inf, -math.inf])
def test_points_without_a_value_have_no_say(missing: float) -> None:
    values = moved(noise(80), 40, 1.05)
    for place in (0, 7, 39, 41, 79):
        values[place] = missing
    found = analyse(values)
    assert found.points == 80
    assert indices(found) == [40]
    assert found.segments[-1].end == 80


@pytest.mark.parametrize(
    "values", [[], [5.0], [math.nan] * 9, [0.0] * 30, [7.5] * 30, [-2.0] * 30, [1e-300] * 9, [1e300] * 9, [0.0, 1e308]]
)
def test_constant_and_odd_values_have_no_change(values: list[float]) -> None:
    found = analyse(values)
    assert found.points == len(values)
    assert found.changes == ()


def test_values_around_zero_are_taken_as_shares_of_their_size() -> None:
    rng = np.random.default_rng(3)
    values = [float(value) for value in rng.normal(0, 1, 60)] + [float(value) for value in rng.normal(9, 1, 60)]
    found = analyse(values)
    assert indices(found) == [60]
    assert found.unit > 0
    assert found.value_of(found.segments[1].level) == pytest.approx(9, abs=0.6)


def test_a_coarse_timer_changes_nothing_by_itself() -> None:
    rng = np.random.default_rng(6)
    ticks = [float(value) for value in np.round(rng.normal(40, 0.4, 150))]
    assert analyse(ticks).changes == ()
    assert indices(analyse([tick + (4 if place >= 90 else 0) for place, tick in enumerate(ticks)])) == [90]


def test_the_smallest_change_is_a_setting() -> None:
    values = moved(noise(120, deviation=0.002), 60, 1.03)
    assert indices(analyse(values, settings=Settings(smallest_change=0.02))) == [60]
    assert analyse(values, settings=Settings(smallest_change=0.05)).changes == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Settings(smallest_change=1.5), "smallest_change must be a share"),
        (lambda: Settings(strictness=0), "strictness must be"),
        (lambda: analyse([1.0, 2.0], ["a"]), "1 names for 2 values"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_noise_has_a_class_and_hides_changes_below_a_size() -> None:
    rng = np.random.default_rng(8)
    walk = [0.0]
    for step in rng.normal(0, 0.01, 199):
        walk.append(0.6 * walk[-1] + float(step))
    spiky = [value * (1.6 if place % 17 == 5 else 1.0) for place, value in enumerate(noise(200))]
    classes = {
        "quiet": analyse(noise(200, deviation=0.002)),
        "white": analyse(noise(200, deviation=0.02)),
        "correlated": analyse([100 * math.exp(level) for level in walk]),
        "heavy_tailed": analyse(spiky),
        "constant": analyse([3.0] * 200),
        "unknown": analyse(noise(8)),
    }
    assert {name: found.segments[-1].noise.value for name, found in classes.items()} == {name: name for name in classes}
    visible = {name: found.segments[-1].smallest_change for name, found in classes.items()}
    assert visible["quiet"] < visible["white"] < visible["correlated"]


def test_many_histories_get_what_each_would_get_alone() -> None:
    histories = [(moved(noise(40 + 7 * seed, seed=seed), 25, 1.05), None) for seed in range(9)]
    mixed = [*histories, ([1.0, 2.0], ["a", "b"]), ([], None)]
    assert analyse_many(mixed) == [analyse(values, hosts) for values, hosts in mixed]


def test_ten_thousand_points_are_seen_through_windows() -> None:
    values = noise(10_000, deviation=0.006)
    for number, start in enumerate(range(250, 10_000, 500)):
        values = moved(values, start, 1.06 if number % 2 else 1 / 1.06)
    assert indices(analyse(values)) == list(range(250, 10_000, 500))
