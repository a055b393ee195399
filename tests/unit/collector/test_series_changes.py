"""Changes keep their identity while the detector makes up its mind; a base never follows a regression by itself."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st
from tesserabench.collector.core.series_changes import Written, kind_of, reconcile
from tesserabench.collector.core.series_detection import (
    DRIFT,
    STEP,
    TRANSIENT,
    Detected,
    Mark,
    Task,
    detect,
    segments_json,
    smallest_change,
    value_of,
)
from tesserabench.collector.core.series_levels import base_segment
from tesserabench.collector.store.history_tables import ChangePoint, SeriesWatch
from tesserabench.collector.store.history_words import LIVE_CHANGE_STATES, ChangeState
from tesserabench.collector.store.words import RegressionState


def mark(start: int, shift: float = 0.1, *, kind: str = STEP, confirmed: bool = True, end: int = 0) -> Mark:
    last = end or start
    return Mark(
        kind=kind,
        start=start,
        end=last,
        earliest=start,
        latest=start,
        confirmed=confirmed,
        shift=shift,
        strength=1.0,
    )


def written(number: int, place: int, change: float = 0.1, state: str = "confirmed", kind: str = STEP) -> Written:
    return Written(id=number, kind=kind, state=ChangeState(state), place=place, change=change)


def outcome(changes: list[Written], marks: list[Mark]) -> list[tuple[int | None, int | None, str]]:
    """What is written of each change: its id (None: new), its place (None: gone) and its state."""
    steps = reconcile(changes, marks)
    return [
        (step.written.id if step.written else None, step.mark.start if step.mark else None, step.state.value)
        for step in steps
    ]


def test_a_suspected_change_becomes_sure_or_a_transient() -> None:
    suspected = [written(7, 20, state="suspected")]
    assert outcome([], [mark(20, confirmed=False)]) == [(None, 20, "suspected")]
    assert outcome(suspected, [mark(20)]) == [(7, 20, "confirmed")]
    assert outcome(suspected, [mark(21, confirmed=False)]) == [(7, 21, "suspected")]
    assert outcome(suspected, []) == [(7, None, "transient")]
    assert outcome(suspected, [mark(20, kind=TRANSIENT, end=23)]) == [(7, 20, "transient")]


def test_what_was_sure_is_taken_back_openly_and_never_becomes_unsure() -> None:
    sure = [written(7, 20)]
    assert outcome(sure, [mark(20, confirmed=False)]) == [(7, 20, "confirmed")]
    assert outcome(sure, []) == [(7, None, "withdrawn")]
    assert outcome(sure, [mark(20, kind=TRANSIENT, end=23)]) == [(7, 20, "withdrawn")]
    back = [written(7, 20, state="withdrawn")]
    assert outcome(back, [mark(20)]) == [(7, 20, "confirmed")]


def test_each_change_goes_to_the_mark_at_its_place_before_any_other() -> None:
    changes = [written(1, 10), written(2, 14)]
    assert sorted(outcome(changes, [mark(14), mark(12)]), key=str) == [(1, 12, "confirmed"), (2, 14, "confirmed")]
    # The other direction is another change, unless it is at the very place.
    assert outcome([written(1, 10)], [mark(12, -0.1)]) == [(None, 12, "confirmed"), (1, None, "withdrawn")]
    assert outcome([written(1, 10)], [mark(10, -0.1)]) == [(1, 10, "confirmed")]
    assert outcome([written(1, 10, kind=DRIFT)], [mark(10)]) == [(None, 10, "confirmed"), (1, None, "withdrawn")]


_MARKS = st.lists(
    st.builds(
        mark,
        start=st.integers(1, 40),
        shift=st.sampled_from([-0.2, 0.2]),
        kind=st.sampled_from([STEP, DRIFT, TRANSIENT]),
        confirmed=st.booleans(),
    ),
    max_size=5,
    unique_by=lambda found: (kind_of(found), found.start),
)


@given(_MARKS, _MARKS)
def test_changes_stay_unique_by_place_and_a_second_time_changes_nothing(first: list[Mark], then: list[Mark]) -> None:
    rows: dict[int, Written] = {}
    for marks in (first, then, then):
        before = dict(rows)
        for step in reconcile(list(rows.values()), marks):
            number = step.written.id if step.written else len(rows) + 1
            place = step.mark.start if step.mark else rows[number].place
            kind = kind_of(step.mark) if step.mark else rows[number].kind
            change = step.mark.shift if step.mark else rows[number].change
            rows[number] = Written(id=number, kind=kind, state=step.state, place=place, change=change)
        places = [(row.kind, row.place) for row in rows.values()]
        assert len(places) == len(set(places))
        live = {(row.kind, row.place) for row in rows.values() if row.state in LIVE_CHANGE_STATES}
        assert live == {(kind_of(found), found.start) for found in marks if found.kind != TRANSIENT}
    assert rows == before


def test_the_whole_history_and_one_point_at_a_time_agree() -> None:
    values = [1.0 + 0.002 * math.sin(7 * place) for place in range(30)]
    values += [1.1 + 0.002 * math.sin(5 * place) for place in range(12)]
    hosts = tuple("a" if place % 2 else "b" for place in range(len(values)))
    smallest = smallest_change(0.02)
    assert smallest == 0.01
    (whole,) = detect([Task(None, tuple(values), hosts, smallest)])
    assert isinstance(whole, Detected)
    tail = None
    for value, host in zip(values, hosts, strict=True):
        (found,) = detect([Task(tail, (value,), (host,), smallest)])
        assert isinstance(found, Detected)
        tail = found.tail
    assert isinstance(found, Detected)
    assert (found.points, found.findings) == (whole.points, whole.findings)
    assert whole.findings is not None
    assert [(step.start, step.confirmed) for step in whole.findings.marks] == [(30, True)]


def test_a_base_follows_what_is_better_or_accepted_and_nothing_else() -> None:
    def segment(run: int, start: int, level: float) -> dict[str, object]:
        spread = {"spread": 0.01, "correlation": 0.0, "noise": "white", "visible_change": 0.02}
        return {"run": run, "start": start, "end": start + 10, "level": level, **spread}

    def change(run: int, *, worse: bool, state: str = "confirmed", regression: int | None = None) -> ChangePoint:
        return ChangePoint(run_id=run, worse=worse, state=state, regression_id=regression, kind="step")

    def base(
        segments: list[dict[str, object]],
        changes: list[ChangePoint],
        accepted: int | None = None,
        before: int | None = None,
    ) -> int:
        states = {7: RegressionState.CONFIRMED, 8: RegressionState.ACCEPTED}
        found = base_segment(SeriesWatch(segments=segments), changes, states, "lower", accepted, before=before)
        assert found is not None
        return found.run_id

    slow, fast = [segment(1, 0, 1.0), segment(11, 10, 1.1)], [segment(1, 0, 1.0), segment(11, 10, 0.9)]
    assert base(slow, [change(11, worse=True)]) == 1
    assert base(slow, [change(11, worse=True, regression=7)]) == 1, "known, and not accepted"
    assert base(slow, [change(11, worse=True, regression=8)]) == 11
    assert base(fast, [change(11, worse=False)]) == 11
    assert base(fast, [change(11, worse=False, state="suspected")]) == 1
    # The run at which it began, and older ones, are held against what was before.
    assert base(slow, [change(11, worse=True, regression=8)], accepted=11, before=11) == 1
    assert base(slow, [change(11, worse=True, regression=8)], accepted=11, before=12) == 11
    # Half of a regression taken back is still worse than what was good.
    partly = [*slow, segment(21, 20, 1.05)]
    assert base(partly, [change(11, worse=True), change(21, worse=False)]) == 1
    whole = [*slow, segment(21, 20, 1.0)]
    assert base(whole, [change(11, worse=True), change(21, worse=False)]) == 21
    # Accepted by hand, in the middle of a stretch: the level from there on.
    assert base(slow, [change(11, worse=True)], accepted=15) == 15


def test_a_history_with_zeros_has_levels_that_are_values_and_none_that_runs_are_held_against() -> None:
    (found,) = detect([Task(tail=None, values=(0.0,) * 12, hosts=("a",) * 12, smallest_change=0.01, first_run=1)])
    assert isinstance(found, Detected)
    assert found.level is None, "it would be read as a logarithm"
    levels = found.findings.levels if found.findings else ()
    segments = json.loads(found.segments or segments_json(levels, {0: 1}))
    assert [value_of(segment) for segment in segments] == [0.0]
    watch = SeriesWatch(segments=segments)
    assert base_segment(watch, [], {}, "lower", None) is None
