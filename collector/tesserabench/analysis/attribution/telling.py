"""The evidence in sentences, each with its numbers: who moved, who did not, and what changed there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tesserabench.analysis.attribution.evidence import Cause, Change, CommitRange, Evidence
from tesserabench.analysis.attribution.explanations import NEVER, Explanation, is_notable
from tesserabench.analysis.attribution.likelihood import Fit
from tesserabench.analysis.attribution.movement import Movement
from tesserabench.analysis.attribution.ranking import Choice
from tesserabench.analysis.wording import percent

MEASURE_AGAIN = "Measure the last good and the first new commit again, on the same hosts and on one more."

_TOUCHED = 0.5
_SHOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What is told about one explanation."""

    evidence: Evidence
    fit: Fit
    choice: Choice
    explanation: Explanation
    moves: Movement
    commits: CommitRange | None
    shift: float
    sure: bool


def sentences(story: Story) -> tuple[str, ...]:
    """The evidence for an explanation, its name first."""
    told = [_headline(story), *_others(story), _canaries(story), _commits(story.commits), *_siblings(story)]
    if story.explanation.cause is not Cause.CODE and story.explanation.facts:
        told.append("Recorded there and nowhere else: " + story.explanation.what + ".")
    if story.explanation.cause is Cause.CODE:
        told.append(_no_facts(story))
    return tuple(sentence for sentence in told if sentence)


def host_of(evidence: Evidence, device: str) -> str:
    """The host that a device was last seen in; empty when it was never seen."""
    return next((visit.host for visit in reversed(evidence.visits) if visit.device == device), "")


def would_tell(story: Story) -> str:
    """What measurement would settle which of the candidates it was."""
    causes = {candidate.cause for candidate in story.choice.candidates if candidate.probability > 0.05}
    if len({track.device for track in story.evidence.tracks}) == 1 or Cause.HOST in causes:
        return "Measure the first new commit on another device of the model: the same step there makes it the code."
    if not story.fit.seen.canary.any():
        return (
            "Measure the last good commit again on the same hosts, or pin a canary: a step there makes it the machine."
        )
    return MEASURE_AGAIN


def nothing_fits(evidence: Evidence, changes: Sequence[Change], commits: CommitRange | None) -> tuple[str, ...]:
    """Why no cause is named."""
    if not evidence.tracks:
        return ("Cause unknown: nothing else was measured around it.",)
    hosts = len({track.host for track in evidence.tracks})
    series = len({track.series for track in evidence.tracks})
    headline = (
        f"Cause unknown: no commit, host, device or environment change accounts for {_of(len(changes), 'change')} "
        f"among {_of(series, 'series', 'series')} on {_of(hosts, 'host')}."
    )
    return tuple(filter(None, (headline, _commits(commits))))


def _headline(story: Story) -> str:
    named, moves = story.explanation, story.moves
    touched = (story.choice.touched > _TOUCHED) & ~story.fit.seen.canary
    possible = (story.fit.strength[story.choice.index] > 0) & ~story.fit.seen.canary
    hosts = {host_of(story.evidence, device) for device in moves.moved}
    covered = hosts | {host_of(story.evidence, device) for device in moves.stayed}
    size = percent(math.expm1(story.shift))
    moved = f"{int(touched.sum())} of {_of(int(possible.sum()), 'series', 'series')} moved there by about {size}"
    where = f", on {len(hosts)} of {_of(len(covered), 'host')}" if len(covered) > 1 else ""
    if story.sure:
        return f"{named.cause.capitalize()}: {named.what}; {moved}{where}."
    weighed = ", ".join(
        f"{candidate.cause} {100 * candidate.probability:.0f} % ({candidate.what})"
        for candidate in story.choice.candidates[:3]
    )
    return f"Cause unknown, {moved}{where}; weighed: {weighed}."


def _others(story: Story) -> list[str]:
    moves, found = story.moves, []
    everywhere = len(moves.moved) + len(moves.stayed)
    if everywhere > 1:
        found.append(f"{len(moves.moved)} of {_of(everywhere, 'device')} that it covers moved{_named(moves.moved)}.")
    elsewhere = len(moves.others_moved) + len(moves.others_stayed)
    if elsewhere:
        found.append(
            f"{len(moves.others_stayed)} of {_of(elsewhere, 'other device')} stayed at their level at that time."
        )
    return found


def _canaries(story: Story) -> str:
    seen = story.fit.seen
    if not seen.canary.any():
        return "No canary was measured."
    known, moved = 0, 0
    onsets = story.explanation.onsets
    there = story.explanation.where or {track.device for track in story.evidence.tracks}
    for series in np.flatnonzero(seen.canary):
        tracks = [i for i in np.flatnonzero(seen.series == series) if story.evidence.tracks[i].device in there]
        if not tracks:
            continue
        known += 1
        covered = any(onsets[i] != NEVER for i in tracks)
        moved += covered and story.choice.touched[series] > _TOUCHED
    if not known:
        return "No canary was measured there."
    return f"{known - moved} of {_of(known, 'canary', 'canaries')} there stayed at their level."


def _commits(commits: CommitRange | None) -> str:
    if commits is None:
        return ""
    if not commits.last_good:
        return f"First new commit {commits.first_new[:12]}; its branch was not measured before it."
    skipped = len(commits.commits) - 1
    between = f"; {_of(skipped, 'commit')} between them {'was' if skipped == 1 else 'were'} not measured"
    return f"Last good commit {commits.last_good[:12]}, first new {commits.first_new[:12]}{between if skipped else ''}."


def _siblings(story: Story) -> list[str]:
    return [
        f"Device {device} on {host_of(story.evidence, device)} is {percent(score.deviation).lstrip('+')} slower "
        f"than its siblings{'' if score.z is None else f' (z {score.z:.1f})'}."
        for device in story.moves.moved[:_SHOWN]
        if (score := story.evidence.siblings.get(device)) is not None and is_notable(score)
    ]


def _no_facts(story: Story) -> str:
    """How many of the devices that moved had no change of their environment where they moved."""
    changed = {
        device for one in story.fit.explanations if one.kind == "fact" for device in one.where & set(story.moves.moved)
    }
    total = len(story.moves.moved)
    if not total:
        return ""
    if not changed:
        return f"No recorded fact of the environment changed on the {_of(total, 'device')} over that span."
    return f"Facts of the environment changed over that span on {len(changed)} of {_of(total, 'device')} only."


def _named(devices: Sequence[str]) -> str:
    if not devices or len(devices) > _SHOWN:
        return ""
    return f" ({', '.join(devices)})"


def _of(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
