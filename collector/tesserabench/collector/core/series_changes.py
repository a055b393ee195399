"""From what the detector says to the changes that are written down: which are new, moved, surer, or gone.

A change keeps its identity while the detector makes up its mind where exactly it lies, so that a finding does not
change under the people who look at it.

    suspected ──▶ confirmed ──▶ withdrawn   (later points, or points that came late, tell otherwise)
        └───────▶ transient                 (it went away again; never told to anybody)
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tesserabench.collector.core.series_detection import DRIFT, STEP, TRANSIENT, Mark
from tesserabench.collector.store.history_words import LIVE_CHANGE_STATES, ChangeState

_NEAR = 6
"""A change that is found anew within so many points, in the same direction, is the same one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A change as it is written down."""

    id: int
    kind: str
    state: ChangeState
    place: int
    """Of its run among the series' points."""
    change: float
    """Positive for larger values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What to write: the mark that a change (None: a new one) has from now on, or that it has none any more."""

    written: Written | None
    mark: Mark | None
    state: ChangeState


def reconcile(written: Sequence[Written], marks: Sequence[Mark]) -> list[Step]:
    """What to write so that the changes of a series are those of these marks. Deterministic."""
    left = {change.id: change for change in written}
    taken: dict[int, Written] = {}
    # Two changes of a kind never share a run, so what stands at a mark's very place belongs to it.
    for fits in (_stands_at, _may_be):
        for number, mark in enumerate(marks):
            found = _nearest(mark, left.values(), fits) if number not in taken else None
            if found is not None:
                taken[number] = left.pop(found.id)
    steps = [
        Step(written=taken.get(number), mark=mark, state=_state(mark, taken.get(number)))
        for number, mark in enumerate(marks)
    ]
    for change in left.values():
        if change.state in LIVE_CHANGE_STATES:
            gone = ChangeState.WITHDRAWN if change.state is ChangeState.CONFIRMED else ChangeState.TRANSIENT
            steps.append(Step(written=change, mark=None, state=gone))
    return steps


def kind_of(mark: Mark) -> str:
    """The kind that a mark is written under: a transient would have been a step."""
    return DRIFT if mark.kind == DRIFT else STEP


def _state(mark: Mark, found: Written | None) -> ChangeState:
    was_sure = found is not None and found.state in {ChangeState.CONFIRMED, ChangeState.WITHDRAWN}
    if mark.kind == TRANSIENT:
        # What people have been told of is taken back, rather than hidden.
        return ChangeState.WITHDRAWN if was_sure else ChangeState.TRANSIENT
    # What was sure does not become unsure because its place moved by a point.
    sure = mark.confirmed or (found is not None and found.state is ChangeState.CONFIRMED)
    return ChangeState.CONFIRMED if sure else ChangeState.SUSPECTED


def _nearest(mark: Mark, left: Iterable[Written], fits: Callable[[Mark, Written], bool]) -> Written | None:
    candidates = [change for change in left if fits(mark, change)]
    return min(
        candidates,
        key=lambda change: (change.state not in LIVE_CHANGE_STATES, abs(change.place - mark.start), change.id),
        default=None,
    )


def _stands_at(mark: Mark, change: Written) -> bool:
    return change.kind == kind_of(mark) and change.place == mark.start


def _may_be(mark: Mark, change: Written) -> bool:
    if change.kind != kind_of(mark) or (change.change > 0) != (mark.shift > 0):
        return False
    if mark.kind == STEP:
        return abs(change.place - mark.start) <= _NEAR or mark.earliest <= change.place <= mark.latest
    return mark.start - _NEAR <= change.place < mark.end
