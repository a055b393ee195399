"""Pictures of causes, drawn from what attribution says of scripted fleets."""

from collections.abc import Sequence
from dataclasses import dataclass

from support.scripted_fleets import (
    BENCHMARKS,
    HAPPENS,
    Effect,
    Fleet,
    Scenario,
    Shape,
    ask,
    play,
    scenarios,
    told_changes,
)
from support.svg import Drawing, wrapped
from tesserabench.analysis.attribution import Attribution, Cause, Change, Track

WIDTH, LEFT, RIGHT, TOP, ROW = 760, 64, 16, 52, 26
_NOISE, _SEED = 0.006, 3
_SHOWN = ("gemm", "attention", "copy", "norm")
STORIES = {
    Cause.CODE: "code step in one family",
    Cause.HOST: "one slow device",
    Cause.ENVIRONMENT: "driver change on half",
}
"""The story that stands for each cause that can be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A fleet, what moved in it, and why."""

    name: str
    fleet: Fleet
    changes: tuple[Change, ...]
    found: tuple[Attribution, ...]


def causes() -> dict[Cause, Told]:
    """A story for every cause, with what attribution says of it."""
    stories = {item.name: item for item in scenarios(_NOISE)}
    found: dict[Cause, Told] = {}
    for cause, name in STORIES.items():
        fleet = play(stories[name], _SEED)
        changes = told_changes(stories[name], fleet)
        found[cause] = Told(name=name, fleet=fleet, changes=tuple(changes), found=ask(fleet, changes))
    found[Cause.UNKNOWN] = lone_step()
    return found


def lone_step() -> Told:
    """All that the only device measures moves, without a canary beside it: the code, or the machine."""
    alone = Shape(hosts=1, devices=1, noise=_NOISE, canaries=False)
    effect = Effect(size=0.05, begins={"h0.g0": HAPPENS}, benchmarks=frozenset(BENCHMARKS))
    story = Scenario(name="the only device, without canaries", truths=(), effects=(effect,), shape=alone)
    fleet = play(story, _SEED)
    changes = told_changes(story, fleet)
    return Told(name=story.name, fleet=fleet, changes=tuple(changes), found=ask(fleet, changes))


# --- drawing ---------------------------------------------------------------------------------------------------------


def drawn(told: Told) -> Drawing:
    """A row a device and a column a series; what moved is drawn in another colour."""
    devices, series = _devices(told), _series(told.fleet)
    evidence = [said for one in told.found[:2] for said in (*one.sentences[:5], one.would_tell) if said]
    lines = [line for said in evidence for line in wrapped(said, 112)]
    height = TOP + ROW * len(devices) + 18 + 16 * len(lines)
    sheet = Drawing(WIDTH, height, told.name)
    sheet.text((16, 20), told.name, "ink strong")
    words = ", ".join(dict.fromkeys(one.cause.value for one in told.found))
    sheet.text((WIDTH - RIGHT, 20), f"cause: {words}", "ink strong", anchor="end")
    wide = (WIDTH - LEFT - RIGHT) / len(series)
    moved = {(change.series, device) for change in told.changes for device in change.devices}
    tracks = {(track.series, track.device): track for track in told.fleet.tracks}
    for column, name in enumerate(series):
        sheet.text((LEFT + wide * (column + 0.5), TOP - 8), name, anchor="middle")
        for row, device in enumerate(devices):
            if (track := tracks.get((name, device))) is not None:
                look = "b" if (name, device) in moved else "a"
                _track(sheet, track, look, (LEFT + wide * column + 10, TOP + ROW * row), wide - 20)
    for row, device in enumerate(devices):
        sheet.text((LEFT - 8, TOP + ROW * row + 17), device, anchor="end")
    for number, line in enumerate(lines):
        sheet.text((16, TOP + ROW * len(devices) + 18 + 16 * number), line, "ink")
    return sheet


def _devices(told: Told) -> list[str]:
    """One device of each host, the one that moved where one did."""
    moved = {device for change in told.changes for device in change.devices}
    chosen: dict[str, str] = {}
    for track in told.fleet.tracks:
        if track.host not in chosen or (track.device in moved and chosen[track.host] not in moved):
            chosen[track.host] = track.device
    return [chosen[host] for host in sorted(chosen)]


def _series(fleet: Fleet) -> list[str]:
    """The first series of a few benchmarks, and the first canary."""
    first: dict[str, str] = {}
    for track in fleet.tracks:
        key = "canary" if track.canary else track.benchmark
        if key in (*_SHOWN, "canary"):
            first.setdefault(key, track.series)
    return list(first.values())


def _track(sheet: Drawing, track: Track, look: str, at: tuple[float, float], wide: float) -> None:
    middle = sorted(track.values)[len(track.values) // 2]
    for index, value in enumerate(track.values):
        height = max(-1.0, min(1.0, (value - middle) / 0.12))
        across = at[0] + wide * (index + 0.5) / len(track.values)
        sheet.dot((across, at[1] + ROW / 2 - height * (ROW / 2 - 3)), look, radius=1.8)


def summaries(told: Told) -> Sequence[str]:
    """The causes that were named, in order."""
    return [one.cause.value for one in told.found]
