"""Causes on scripted fleets: who moved, who did not, and what is never said."""

from dataclasses import replace

import numpy as np
import pytest
from support.scripted_fleets import (
    HAPPENS,
    Effect,
    Fleet,
    Scenario,
    Shape,
    ask,
    by_change_points,
    commit_name,
    confusion_table,
    device_names,
    is_right,
    play,
    scenarios,
    told_changes,
)
from tesserabench.analysis.attribution import (
    Attribution,
    Cause,
    Change,
    Evidence,
    SiblingScore,
    Track,
    Visit,
    attribute,
)

NAMES = [scenario.name for scenario in scenarios(0.01)]


def _scenario(name: str, noise: float = 0.01) -> Scenario:
    return next(scenario for scenario in scenarios(noise) if scenario.name == name)


def _small(scenario: Scenario) -> Scenario:
    """The scenario with its hosts as they are and half of its benchmarks, which takes a quarter of the time."""
    return replace(scenario, shape=replace(scenario.shape, benchmarks=("gemm", "attention", "copy")))


def _alone() -> Scenario:
    """One benchmark on one device, and nothing beside it."""
    shape = Shape(noise=0.005, hosts=1, devices=1, canaries=False, benchmarks=("gemm",))
    effect = Effect(size=0.08, begins={"h0.g0": HAPPENS}, benchmarks=frozenset({"gemm"}), code=True)
    return Scenario(name="alone", truths=(), effects=(effect,), shape=shape)


def _asked(scenario: Scenario, seed: int = 1) -> tuple[Attribution, ...]:
    fleet = play(scenario, seed)
    return ask(fleet, told_changes(scenario, fleet))


@pytest.mark.parametrize("name", NAMES)
def test_every_story_is_told_right(name: str) -> None:
    scenario = _scenario(name) if "one host only" in name else _small(_scenario(name))
    found = _asked(scenario)
    assert is_right(scenario, found), [(one.cause, one.sentences) for one in found]


@pytest.mark.parametrize("noise", [0.003, 0.03])
def test_a_lone_slow_device_is_never_the_code(noise: float) -> None:
    names = ("one slow device", "one device throttling", "one slow device, points missing")
    rows = confusion_table(noises=(noise,), seeds=range(2), only=names)
    assert sum(row.right for row in rows) == sum(row.fleets for row in rows)
    assert [row.blamed_code for row in rows] == [0, 0, 0]


def test_errors_of_the_detector_do_no_harm() -> None:
    rows = confusion_table(
        noises=(0.01,), seeds=range(1), detect=by_change_points, only=("one slow device", "code step in one family")
    )
    assert [row.right for row in rows] == [1, 1], rows


def test_every_change_is_a_member_of_exactly_one_cause() -> None:
    scenario = _small(_scenario("mixed: code and driver on half"))
    fleet = play(scenario, 3)
    changes = told_changes(scenario, fleet)
    found = ask(fleet, changes)
    assert sorted(key for one in found for key in one.members) == [change.key for change in changes]
    assert {one.cause for one in found} == {Cause.CODE, Cause.ENVIRONMENT}


def test_code_names_the_commits_between_last_good_and_first_new() -> None:
    scenario = _small(_scenario("code step, staggered schedules"))
    (found,) = _asked(scenario)
    commits = found.commit_range
    assert commits is not None
    assert (commits.last_good, commits.first_new) == (commit_name(HAPPENS - 1), commit_name(HAPPENS))
    assert commits.commits == (commit_name(HAPPENS),)
    assert any("canaries there stayed" in sentence for sentence in found.sentences)


def test_commits_that_were_never_measured_are_in_the_range() -> None:
    scenario = _small(_scenario("code step in one family"))
    fleet = play(scenario, 1)
    measured = tuple(dict.fromkeys(visit.commit for visit in fleet.visits))
    skipped = ("5" * 40, "6" * 40)
    known = (*measured[:HAPPENS], *skipped, *measured[HAPPENS:])
    evidence = Evidence(
        visits=fleet.visits, tracks=fleet.tracks, changes=tuple(told_changes(scenario, fleet)), commits=known
    )
    (found,) = attribute(evidence)
    assert found.commit_range is not None
    assert found.commit_range.commits == (*skipped, measured[HAPPENS])
    assert any("2 commits between them were not measured" in sentence for sentence in found.sentences)


def test_environment_names_the_field_its_values_and_its_hosts() -> None:
    (found,) = _asked(_small(_scenario("driver change on half")))
    (field,) = found.fields
    assert (field.fact, field.before, field.after) == ("driver.version", "550.54", "560.28")
    assert field.hosts == ("h0", "h1", "h2", "h3")
    assert any("driver.version 550.54 -> 560.28" in sentence for sentence in found.sentences)


def test_one_series_on_one_device_is_not_enough_and_what_would_tell_is_said() -> None:
    (found,) = _asked(_alone())
    assert found.cause is Cause.UNKNOWN
    assert {candidate.cause for candidate in found.candidates} >= {Cause.CODE, Cause.HOST}
    assert "another device" in found.would_tell


def test_a_device_that_is_known_to_be_slow_is_suspected_sooner() -> None:
    scenario = _alone()
    fleet = play(scenario, 1)
    changes = tuple(told_changes(scenario, fleet))
    slow = {"h0.g0": SiblingScore(deviation=0.08, z=9.0)}
    plain, known = (
        attribute(Evidence(visits=fleet.visits, tracks=fleet.tracks, changes=changes, siblings=siblings))[0]
        for siblings in ({}, slow)
    )
    assert (plain.cause, known.cause) == (Cause.UNKNOWN, Cause.HOST)
    assert "Device h0.g0 on h0 is 8.0 % slower than its siblings (z 9.0)." in known.sentences


def test_a_noisy_step_leaves_the_neighbouring_commits_in_the_range() -> None:
    scenario = _scenario("one host only: code in one family", noise=0.03)
    ranges = [one.commit_range for seed in range(8) for one in _asked(scenario, seed) if one.cause is Cause.CODE]
    assert ranges
    assert max(len(commits.commits) for commits in ranges if commits) > 1
    assert all(commits is not None and commits.first_new == commits.commits[-1] for commits in ranges)


def test_without_a_change_of_commit_the_code_is_not_blamed() -> None:
    scenario = _small(_scenario("code step in one family"))
    fleet = play(scenario, 2)
    same = Fleet(visits=tuple(replace(visit, commit="a" * 40) for visit in fleet.visits), tracks=fleet.tracks)
    found = ask(same, told_changes(scenario, fleet))
    assert Cause.CODE not in {one.cause for one in found}


def test_a_fact_that_never_rests_explains_nothing() -> None:
    scenario = _small(_scenario("code step in one family"))
    fleet = play(scenario, 2)
    restless = tuple(
        replace(visit, facts={**visit.facts, "gpu.temperature": str(place)}) for place, visit in enumerate(fleet.visits)
    )
    found = ask(Fleet(visits=restless, tracks=fleet.tracks), told_changes(scenario, fleet))
    assert [one.cause for one in found] == [Cause.CODE]


def test_nothing_to_explain_and_nothing_to_explain_it_by() -> None:
    assert attribute(Evidence(visits=(), tracks=(), changes=())) == ()
    change = Change(key=7, series="s", shift=0.1, run=2, earliest_run=1, latest_run=3)
    (found,) = attribute(Evidence(visits=(), tracks=(), changes=(change,)))
    assert (found.cause, found.members) == (Cause.UNKNOWN, (7,))
    assert found.sentences
    assert found.would_tell


def test_the_same_evidence_gives_the_same_answer() -> None:
    scenario = _small(_scenario("a slow host"))
    assert _asked(scenario) == _asked(scenario)


def test_rates_that_fall_are_moved_like_times_that_grow() -> None:
    scenario = _small(_scenario("a slow host"))
    falling = replace(scenario, effects=tuple(replace(effect, size=-effect.size) for effect in scenario.effects))
    (found,) = _asked(falling)
    assert found.cause is Cause.HOST
    assert found.shift < 0
    assert set(found.devices) == {device for device in device_names(falling.shape) if device.startswith("h6.")}


def _in_turns(*, steps: dict[str, int], runs: int = 24, hosts: int = 5) -> Evidence:
    """Every run on the next host and with the next commit; each series steps by 8 % with one run."""
    noise = np.random.default_rng(7)
    visits = tuple(
        Visit(run=run, at=600.0 * run, commit=f"c{run:03}", host=f"host-{run % hosts}", device=f"GPU-{run % hosts}")
        for run in range(1, runs + 1)
    )
    tracks = []
    for series in (*steps, "copy"):
        for host in range(hosts):
            own = tuple(i for i, visit in enumerate(visits) if visit.host == f"host-{host}")
            level = [0.08 if visits[i].run >= steps.get(series, runs + 1) else 0.0 for i in own]
            values = tuple((np.array(level) + noise.normal(5.0, 0.003, len(own))).tolist())
            name, gpu = f"host-{host}", f"GPU-{host}"
            track = Track(series=series, benchmark=series, host=name, device=gpu, visits=own, values=values)
            tracks.append(track)
    changes = tuple(
        Change(key=run, series=series, shift=0.08, run=run, earliest_run=run, latest_run=run, before_run=run - 1)
        for series, run in steps.items()
    )
    return Evidence(visits=visits, tracks=tuple(tracks), changes=changes)


def test_steps_of_two_commits_are_two_causes_where_hosts_take_turns() -> None:
    # Eight runs lie between them, and two points of a host at most.
    found = attribute(_in_turns(steps={"triad": 6, "matmul": 14}))
    told = {one.members: one.commit_range.first_new for one in found if one.commit_range is not None}
    assert told == {(6,): "c006", (14,): "c014"}
    assert all(one.cause is Cause.CODE for one in found)


def test_a_commit_is_not_blamed_for_what_was_there_before_it() -> None:
    evidence = _in_turns(steps={"triad": 14, "matmul": 14})
    matmul = evidence.changes[1]
    before = replace(evidence.changes[0], key=6, run=6, earliest_run=6, latest_run=6, before_run=5)
    found = attribute(replace(evidence, changes=(before, replace(matmul, key=1))))
    (blamed,) = (one for one in found if 1 in one.members)
    assert blamed.members == (1,)
    assert blamed.commit_range is not None
    assert blamed.commit_range.first_new == "c014"
