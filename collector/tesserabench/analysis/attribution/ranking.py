"""Which explanations are taken, and how much else would do as well.

Explanations are added while one more is worth it, each judged given those before it; then every one is looked at again
given all the others, and replaced or dropped when something else has become better.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from tesserabench.analysis.attribution.evidence import Candidate, Cause
from tesserabench.analysis.attribution.likelihood import Fit, conditional, evidence_for, shared, sizes
from tesserabench.analysis.attribution.observations import Floats

MOST_CAUSES = 6
_WORTH = np.log(20.0)
"""Posterior odds at which an explanation is taken: twenty to one against leaving it out."""
_WORTH_MORE = np.log(200.0)
"""Odds at which a further explanation is taken: two causes at once are rarer than one and an odd point."""
_HOPELESS = -3.0
_ROUNDS = 4
_TOUCHED = 0.5
_WORTH_TELLING = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An explanation that was taken."""

    index: int
    """Among the explanations of the fit."""
    sizes: Floats
    """[series]: expected step."""
    touched: Floats
    """[series]: how likely it moved."""
    worth: float
    """Log posterior odds against leaving it out."""
    candidates: tuple[Candidate, ...]
    """What else was weighed in its place, itself included."""

    def belief(self, cause: Cause) -> float:
        """Share of the belief that is in this cause."""
        return sum(one.probability for one in self.candidates if one.cause is cause)


@dataclass(slots=True)
class _State:
    """What is taken so far."""

    fit: Fit
    beliefs: Floats
    chosen: list[int] = field(default_factory=list)
    on: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    """[chosen, series]."""

    def weigh(self, chosen: Sequence[int], on: Floats) -> tuple[Floats, Floats]:
        """[explanations]: log posterior odds of one more, given the chosen; [explanations, series]: touched."""
        gains = conditional(self.fit, chosen, shared(self.fit, chosen), on)
        # No share of touched series can make more of an explanation than its touched series alone.
        worth = np.maximum(gains, 0.0).sum(axis=1) + self.beliefs
        touched = np.zeros_like(gains)
        for one in np.flatnonzero(worth > _HOPELESS):
            worth[one], touched[one] = evidence_for(self.fit, int(one), gains[one])
            worth[one] += self.beliefs[one]
        worth[list(chosen)] = -np.inf
        return worth, touched

    def others(self, place: int) -> tuple[list[int], Floats]:
        """What is taken, but for one."""
        keep = [i for i in range(len(self.chosen)) if i != place]
        return [self.chosen[i] for i in keep], self.on[keep]


def rank(fit: Fit) -> list[Choice]:
    """The explanations that are taken, the strongest first."""
    if not fit.explanations:
        return []
    beliefs = np.log([one.belief for one in fit.explanations])
    state = _State(fit=fit, beliefs=beliefs, on=np.zeros((0, len(fit.seen.names))))
    for _ in range(MOST_CAUSES):
        if not _add(state):
            break
        _reconsider(state)
    return sorted(_choices(state), key=lambda choice: -choice.worth)


def _add(state: _State) -> bool:
    worth, touched = state.weigh(state.chosen, state.on)
    best = int(np.argmax(worth))
    if worth[best] < (_WORTH_MORE if state.chosen else _WORTH):
        return False
    state.chosen.append(best)
    state.on = np.vstack([state.on, touched[best] > _TOUCHED])
    return True


def _reconsider(state: _State) -> None:
    for _ in range(_ROUNDS):
        changed = False
        for place in reversed(range(len(state.chosen))):
            others, on = state.others(place)
            worth, touched = state.weigh(others, on)
            best = int(np.argmax(worth))
            if worth[best] < _WORTH:
                state.chosen, state.on = others, on
                changed = True
                continue
            mark = (touched[best] > _TOUCHED).astype(np.float64)
            changed |= best != state.chosen[place] or bool((mark != state.on[place]).any())
            state.chosen[place], state.on[place] = best, mark
        if not changed:
            return


def _choices(state: _State) -> list[Choice]:
    step = sizes(state.fit, state.chosen, shared(state.fit, state.chosen), state.on)
    found = []
    for place, one in enumerate(state.chosen):
        worth, touched = state.weigh(*state.others(place))
        weighed = _weighed(state.fit, worth)
        found.append(
            Choice(index=one, sizes=step[place], touched=touched[one], worth=float(worth[one]), candidates=weighed)
        )
    return found


def _weighed(fit: Fit, worth: Floats) -> tuple[Candidate, ...]:
    """The beliefs in everything that could stand in one place; what is left is "none of them"."""
    top = max(float(worth.max()), 0.0)
    weights = np.exp(worth - top)
    total = float(weights.sum() + np.exp(-top))
    merged: dict[tuple[Cause, str], float] = {}
    for one, weight in zip(fit.explanations, weights, strict=True):
        key = (one.cause, one.what)
        merged[key] = merged.get(key, 0.0) + float(weight) / total
    rows = sorted(merged.items(), key=lambda row: -row[1])
    return tuple(
        Candidate(cause=cause, probability=share, what=what) for (cause, what), share in rows if share >= _WORTH_TELLING
    )
