"""Scores that stand in documents are only as good as the counting, and as the truth of the data."""

import itertools

import pytest
from detection.scoring import Tally, held_against, together
from support.detection_data import SCENARIOS, crowded, fleets, gate_pairs, single_steps, stationary


def test_one_found_change_counts_for_one_true_change() -> None:
    assert held_against([50], [48, 53], 100) == Tally(hits=1, false=0, missed=1, points=100, histories=1)
    assert held_against([48, 53], [50], 100) == Tally(hits=1, false=1, missed=0, points=100, histories=1)


def test_neighbours_are_paired_so_that_as_many_as_can_be_are_found() -> None:
    # Nearest first would give 50 to 49 and leave 46 out of the reach of 53.
    assert held_against([45, 50], [49, 53], 100).hits == 2


def test_margin_is_inclusive_and_ends_there() -> None:
    assert held_against([55], [50], 100).hits == 1
    assert held_against([56], [50], 100) == Tally(hits=0, false=1, missed=1, points=100, histories=1)


def test_what_nobody_could_see_is_neither_right_nor_wrong() -> None:
    assert held_against([30, 70], [], 100, ambiguous=[32]) == Tally(hits=0, false=1, points=100, histories=1)


def test_indices_outside_the_history_do_not_count() -> None:
    assert held_against([0, 100, 20, 20], [20], 100) == Tally(hits=1, points=100, histories=1)


def test_rates_are_over_all_histories_together() -> None:
    tally = together(
        [Tally(hits=1, false=1, points=400, histories=1), Tally(hits=2, missed=1, points=100, histories=1)]
    )
    assert (tally.precision, tally.recall) == (0.75, 0.75)
    assert tally.f1 == pytest.approx(0.75)
    assert (tally.false_per_thousand, tally.false_each) == (2.0, 0.5)
    assert (Tally().precision, Tally().recall) == (1.0, 1.0)


def test_the_same_seed_gives_the_same_histories() -> None:
    assert list(crowded(7, 3)) == list(crowded(7, 3))
    assert list(crowded(7, 3)) != list(crowded(8, 3))
    assert list(stationary(7, 2)) == list(stationary(7, 9))[:2]


def test_changes_are_inside_and_at_least_four_points_apart() -> None:
    for history in crowded(7, 60):
        places = [0, *sorted((*history.changes, *history.ambiguous))]
        assert all(after - before >= 4 for before, after in itertools.pairwise(places))
        assert places[-1] <= len(history.values) - 3
        assert min(history.values) > 0


def test_late_steps_are_as_late_as_asked() -> None:
    for history in single_steps(7, 4, 0.05, after=8):
        assert history.changes == (92,)


def test_only_code_steps_of_fleets_are_changes() -> None:
    for history in fleets(7, 9):
        assert bool(history.changes) == ("step" in history.tags)
        assert history.hosts is not None
        assert len(history.hosts) == len(history.values)


def test_slower_sides_are_the_same_launches_made_longer() -> None:
    for scenario in SCENARIOS:
        same, slower = gate_pairs(7, 1, (0.0, 0.05), only=scenario.name)
        assert same.base == slower.base
        assert len(same.base) == len(same.new) == scenario.runs
        assert slower.new[0][0] == pytest.approx(1.05 * same.new[0][0])
        assert len(same.history) == scenario.history
