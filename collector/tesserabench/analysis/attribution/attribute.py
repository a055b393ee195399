"""From change points to causes: each change is given to the explanation that accounts for most of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tesserabench.analysis.attribution import telling
from tesserabench.analysis.attribution.evidence import Attribution, Cause, Change, CommitRange, Evidence, FieldChange
from tesserabench.analysis.attribution.explanations import NEVER, Explanation, candidates, commit_order
from tesserabench.analysis.attribution.likelihood import Fit, preference, prepare
from tesserabench.analysis.attribution.movement import Movement, movement
from tesserabench.analysis.attribution.observations import observe
from tesserabench.analysis.attribution.ranking import Choice, rank

SURE = 0.75
"""Belief in a cause from which on it is named; below, the cause is unknown and what was weighed is told."""

_LIKELY = 0.05
"""Belief from which on a commit beside the likeliest one stays in the range."""
_SMALLEST_STEP, _LARGEST_STEP = 0.02, 0.3
_ACCOUNTED_AT_LEAST = 0.05
"""Share of a change's shift that the best explanation must account for to have it as a member."""
_ACCOUNTED = 0.3
"""Share of a change's shift that an explanation must account for to have a part in it beside a better one."""
_SERIES_IN_PART = 2
"""A cause that has no change for itself is told when it has a part in the changes of so many series."""
_LIKE_THE_LARGEST = 0.3
_FEW = 1 / 3
_TOLD_APART = float(np.log(1e4))
"""Log likelihood ratio from which on two places of a step are two."""
_SHOWN = 0.5
"""An explanation of the very run that showed a change accounts for at least so much of the change that it explains."""
_SLACK_POINTS = 2
"""A change may have been placed this many points beside its true place."""


def attribute(evidence: Evidence) -> tuple[Attribution, ...]:
    """The causes of the changes, each change a member of exactly one.

    Args:
        evidence: Tracks of the affected series and of others over the same span, some ten points on either side.
            Without tracks every cause is unknown.
    """
    if not evidence.changes:
        return ()
    fit, choices = _weigh(evidence)
    same = _same_story(evidence, fit, choices)
    members: dict[int, list[Change]] = {}
    partly: dict[int, list[Change]] = {}
    left: list[Change] = []
    for change in evidence.changes:
        shares = [_accounted(evidence, fit, choice, change) for choice in choices]
        ranked = np.argsort([-share for share in shares])
        # The best of them need account for little, so that what is one host's is not called unexplained.
        order = [same[i] for n, i in enumerate(ranked) if shares[i] >= (_ACCOUNTED if n else _ACCOUNTED_AT_LEAST)]
        if not order:
            left.append(change)
            continue
        members.setdefault(order[0], []).append(change)
        for i in dict.fromkeys(order[1:]):
            if i != order[0]:
                partly.setdefault(i, []).append(change)
    found = [
        _told(_Case(evidence=evidence, fit=fit, choices=choices, choice=choice), members.get(i, []), partly.get(i, []))
        for i, choice in enumerate(choices)
        if i in members or len({change.series for change in partly.get(i, ())}) >= _SERIES_IN_PART
    ]
    return (*found, *(_nothing_fits(evidence, group) for group in _together(left)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One choice among the others."""

    evidence: Evidence
    fit: Fit
    choices: Sequence[Choice]
    choice: Choice

    @property
    def explanation(self) -> Explanation:
        return self.fit.explanations[self.choice.index]


def _weigh(evidence: Evidence) -> tuple[Fit, list[Choice]]:
    seen = observe(evidence)
    step = float(np.median([abs(change.shift) for change in evidence.changes]))
    fit = prepare(seen, candidates(evidence), min(max(step, _SMALLEST_STEP), _LARGEST_STEP))
    return fit, rank(fit)


def _same_story(evidence: Evidence, fit: Fit, choices: Sequence[Choice]) -> list[int]:
    """For each choice the strongest one that tells the same; choices come with the strongest first.

    One host that moved is one cause, also when two series place it a run apart; and so is what moved other series of
    the very same devices next to it. But where runs take turns on many devices, a few points of one are many runs: what
    was measured between tells two causes apart.
    """
    found: list[int] = []
    for i, choice in enumerate(choices):
        told = fit.explanations[choice.index]
        same = (
            j
            for j, other in enumerate(choices[:i])
            if (
                (told.cause, told.what) == (fit.explanations[other.index].cause, fit.explanations[other.index].what)
                or _is_beside(evidence, fit, choice, other)
            )
            and float(preference(fit, choice.index, other.index)[_moved(choice)].sum()) < _TOLD_APART
        )
        found.append(next(same, i))
    return found


def _moved(choice: Choice) -> NDArray[np.bool_]:
    """[series]: whether a choice moved it by a size like its largest."""
    return np.asarray(np.abs(choice.sizes) > _LIKE_THE_LARGEST * np.abs(choice.sizes).max(), dtype=np.bool_)


def _is_beside(evidence: Evidence, fit: Fit, one: Choice, other: Choice) -> bool:
    """Whether two choices are about other or few series on the same devices, as near as a change may be misplaced."""
    few, many = _moved(one), _moved(other)
    if (few & many).any() and few.sum() > _FEW * many.sum():
        return False
    ours, theirs = fit.explanations[one.index].onsets, fit.explanations[other.index].onsets
    here, there = (
        {track.device for track, onset in zip(evidence.tracks, onsets.tolist(), strict=True) if onset != NEVER}
        for onsets in (ours, theirs)
    )
    both = (ours != NEVER) & (theirs != NEVER)
    if here != there or not both.any():
        return False
    return float(np.median(np.abs(ours - theirs)[both])) <= _SLACK_POINTS


def _accounted(evidence: Evidence, fit: Fit, choice: Choice, change: Change) -> float:
    """Share of the change's shift that a choice accounts for; none when it lies elsewhere or goes the other way."""
    if change.series not in fit.seen.names or not change.shift:
        return 0.0
    size = float(choice.sizes[fit.seen.names.index(change.series)])
    if size * change.shift <= 0:
        return 0.0
    onsets = fit.explanations[choice.index].onsets
    told = covered = 0.0
    near = shown = False
    runs: set[int] = set()
    begun: set[int] = set()
    for i, track in enumerate(evidence.tracks):
        if track.series != change.series or (change.devices and track.device not in change.devices):
            continue
        told += len(track.values)
        runs.update(evidence.visits[visit].run for visit in track.visits)
        if onsets[i] != NEVER:
            covered += len(track.values)
            begun.add(evidence.visits[track.visits[int(onsets[i])]].run)
            near |= _is_near(evidence, i, int(onsets[i]), change)
            shown |= any(evidence.visits[visit].run == change.run for visit in track.visits)
    if not near or not told or _comes_after(min(begun), sorted(runs), change):
        return 0.0
    # A change of a series as a whole may be one device's: that which showed it.
    return abs(size / change.shift) * max(covered / told, _SHOWN if shown else 0.0)


def _comes_after(begun: int, runs: Sequence[int], change: Change) -> bool:
    """Whether what begins with a run comes too late to have made the change.

    A device has few points of a series that many devices measure: near by its own points may be long after.
    """
    return int(np.searchsorted(runs, begun)) > int(np.searchsorted(runs, change.latest_run)) + _SLACK_POINTS


def _is_near(evidence: Evidence, track: int, onset: int, change: Change) -> bool:
    runs = [evidence.visits[visit].run for visit in evidence.tracks[track].visits]
    low = int(np.searchsorted(runs, change.earliest_run))
    high = int(np.searchsorted(runs, change.latest_run, side="right"))
    return low - _SLACK_POINTS <= onset <= high + _SLACK_POINTS


def _told(case: _Case, members: Sequence[Change], partly: Sequence[Change]) -> Attribution:
    explanation, choice = case.explanation, case.choice
    moves = movement(case.evidence, case.fit, case.choices, choice)
    cause, confidence = explanation.cause, choice.belief(explanation.cause)
    sure = confidence >= SURE and not (cause is Cause.CODE and _lone(moves))
    shift = float(np.median([change.shift for change in members or partly]))
    commits = commit_range(case.evidence, _suspects(case), [*members, *partly])
    fields = _fields(case.evidence, explanation)
    story = telling.Story(
        evidence=case.evidence,
        fit=case.fit,
        choice=choice,
        explanation=explanation,
        moves=moves,
        commits=commits,
        shift=shift,
        sure=sure,
    )
    return Attribution(
        cause=cause if sure else Cause.UNKNOWN,
        confidence=confidence,
        members=tuple(change.key for change in members),
        also=tuple(change.key for change in partly),
        shift=shift,
        sentences=telling.sentences(story),
        commit_range=commits,
        fields=fields,
        hosts=tuple(sorted({telling.host_of(case.evidence, device) for device in moves.moved})),
        devices=moves.moved,
        candidates=choice.candidates,
        would_tell="" if sure else telling.would_tell(story),
    )


def _suspects(case: _Case) -> list[str]:
    """The commits that may have done it, when it was one: the chosen one and those that are nearly as likely."""
    if not case.explanation.commit:
        return []
    likely = {one.what for one in case.choice.candidates if one.probability >= _LIKELY}
    others = [one.commit for one in case.fit.explanations if one.commit and one.what in likely]
    return list(dict.fromkeys([case.explanation.commit, *others]))


def _lone(moves: Movement) -> bool:
    """Whether one device alone moved although others have the same code: that is never the code."""
    return len(moves.moved) == 1 and len(moves.stayed) > 0


def commit_range(evidence: Evidence, commits: Sequence[str], changes: Sequence[Change]) -> CommitRange | None:
    """The commits between the last point at the old level and the first at the new one; none when none is known.

    Args:
        evidence: What is known.
        commits: Commits of which each may be the first new one; the range is the narrowest that every device allows.
        changes: Where to look when there are none.
    """
    order = commit_order(evidence)
    if not order:
        return None
    names = tuple(order)
    of_run = {visit.run: order[visit.commit] for visit in evidence.visits if visit.commit in order}
    suspects = [order[commit] for commit in commits]
    suspects = suspects or sorted(of_run[change.run] for change in changes if change.run in of_run)[:1]
    if not suspects:
        return None
    new = max(suspects)
    good = max({place for place in of_run.values() if place < min(suspects)}, default=-1)
    return CommitRange(
        last_good=names[good] if good >= 0 else "", first_new=names[new], commits=names[good + 1 : new + 1]
    )


def _fields(evidence: Evidence, explanation: Explanation) -> tuple[FieldChange, ...]:
    hosts = tuple(sorted({telling.host_of(evidence, device) for device in explanation.where}))
    return tuple(
        FieldChange(fact=fact, before=before, after=after, hosts=hosts) for fact, before, after in explanation.facts
    )


def _together(changes: Sequence[Change]) -> list[list[Change]]:
    """Changes without an explanation, those whose ranges overlap and that go the same way in one group."""
    groups: list[list[Change]] = []
    for change in sorted(changes, key=lambda one: (one.shift > 0, one.earliest_run, one.key)):
        last = groups[-1][-1] if groups else None
        same_way = last is not None and (last.shift > 0) is (change.shift > 0)
        if last is not None and same_way and change.earliest_run <= max(one.latest_run for one in groups[-1]):
            groups[-1].append(change)
        else:
            groups.append([change])
    return groups


def _nothing_fits(evidence: Evidence, changes: Sequence[Change]) -> Attribution:
    commits = commit_range(evidence, (), changes)
    return Attribution(
        cause=Cause.UNKNOWN,
        confidence=0.0,
        members=tuple(change.key for change in changes),
        shift=float(np.median([change.shift for change in changes])),
        sentences=telling.nothing_fits(evidence, changes, commits),
        commit_range=commits,
        would_tell=telling.MEASURE_AGAIN,
    )
