"""Which devices moved as an explanation says, and which of those that it leaves alone stayed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tesserabench.analysis.attribution.evidence import Evidence
from tesserabench.analysis.attribution.explanations import NEVER
from tesserabench.analysis.attribution.likelihood import Fit
from tesserabench.analysis.attribution.observations import Floats, Ints
from tesserabench.analysis.attribution.ranking import Choice

_ENOUGH = 4.0
"""Squared signal to noise at which a device says whether it moved."""
_MOVED = 0.5
"""Share of the expected step from which on a device has moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """Devices by what they did; those that say too little are in neither."""

    moved: tuple[str, ...]
    """Devices that the explanation covers and that moved."""
    stayed: tuple[str, ...]
    """Devices that it covers and that did not."""
    others_moved: tuple[str, ...]
    """Devices that it does not cover and that moved all the same."""
    others_stayed: tuple[str, ...]
    """Devices that it does not cover and that stayed where they were."""


def movement(evidence: Evidence, fit: Fit, choices: Sequence[Choice], about: Choice) -> Movement:
    """What every device did at the place of a choice, what the other choices did to it taken off."""
    onsets = fit.explanations[about.index].onsets
    covered = onsets != NEVER
    places = np.where(covered, onsets, _same_time(evidence, onsets))
    expected = about.sizes[fit.seen.series]
    shifts, strength = _shifts(fit, places, [one for one in choices if one is not about])
    told: defaultdict[str, Floats] = defaultdict(lambda: np.zeros(2))
    inside: dict[str, bool] = {}
    for i, track in enumerate(evidence.tracks):
        if expected[i] and not track.canary:
            told[track.device] += strength[i] * np.array([shifts[i] * expected[i], expected[i] ** 2])
            inside[track.device] = inside.get(track.device, False) or bool(covered[i])
    share = {device: float(sums[0] / sums[1]) for device, sums in told.items() if sums[1] > _ENOUGH}
    return Movement(
        moved=_those(share, inside, covered=True, moved=True),
        stayed=_those(share, inside, covered=True, moved=False),
        others_moved=_those(share, inside, covered=False, moved=True),
        others_stayed=_those(share, inside, covered=False, moved=False),
    )


def _those(share: Mapping[str, float], inside: Mapping[str, bool], *, covered: bool, moved: bool) -> tuple[str, ...]:
    return tuple(
        device for device, value in sorted(share.items()) if inside[device] is covered and (value > _MOVED) is moved
    )


def _same_time(evidence: Evidence, onsets: Ints) -> Ints:
    """[tracks]: first point at or after the typical time of the onsets; `NEVER` when that is outside of a track."""
    times = [
        evidence.visits[track.visits[onset]].at
        for track, onset in zip(evidence.tracks, onsets.tolist(), strict=True)
        if onset != NEVER
    ]
    moment = float(np.median(times)) if times else np.inf
    found = []
    for track in evidence.tracks:
        place = next((i for i, visit in enumerate(track.visits) if evidence.visits[visit].at >= moment), 0)
        found.append(place if place > 0 else NEVER)
    return np.array(found, dtype=np.int64)


def _shifts(fit: Fit, places: Ints, others: Sequence[Choice]) -> tuple[Floats, Floats]:
    """[tracks]: step at the places without what the other choices expect there, and its weight."""
    seen = fit.seen
    known = places != NEVER
    at = np.where(known, places, 0)
    counts = np.maximum(seen.counts, 1)
    after = np.where(known, seen.counts - at, 0).astype(np.float64)
    squares = after * (1 - after / counts)
    pull = np.where(known, seen.after[np.arange(seen.tracks), at], 0.0) - after * seen.means
    for other in others:
        theirs = fit.after[other.index]
        pull -= other.sizes[seen.series] * (np.minimum(after, theirs) - after * theirs / counts)
    shifts = np.divide(pull, squares, out=np.zeros_like(pull), where=squares > 0)
    return shifts, np.asarray(seen.weights * squares, dtype=np.float64)
