"""Gates, side by side: how often a rule calls identical code different, and how often it sees a slower one.

Two kinds of data: generated machines (`support.detection_data.SCENARIOS`), and launches of real kernels that our engine
recorded (`tests/bench/data`, made by `tests/bench/record_launches.py`). In both the slower side is the same launches
with every sample made longer, so that the truth is known.
"""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from detection.gate_rules import GateRule, Said
from support.detection_data import SCENARIOS, GatePair, gate_pairs

SEED = 1001
"""The gate is tuned on seeds below 1000."""
CHANGES = (0.0, 0.02, 0.05, 0.10)
DATA = Path(__file__).resolve().parents[1] / "bench" / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a rule said in one scenario at one change; shares of `pairs`."""

    scenario: str
    change: float
    pairs: int
    slower: float
    faster: float
    undecided: float
    seconds: float

    @property
    def wrong(self) -> float:
        """Identical code called different, or slower code called faster."""
        return self.faster if self.change else self.slower + self.faster


def score(rule: GateRule, pairs: Iterable[GatePair]) -> list[Rates]:
    """What a rule says, by scenario and change."""
    said: dict[tuple[str, float], list[Said]] = {}
    spent: dict[tuple[str, float], float] = {}
    for pair in pairs:
        key = pair.scenario, pair.change
        begun = time.process_time()
        said.setdefault(key, []).append(rule.says(pair.base, pair.new, pair.history))
        spent[key] = spent.get(key, 0.0) + time.process_time() - begun
    return [
        Rates(
            scenario=scenario,
            change=change,
            pairs=len(words),
            slower=words.count(Said.SLOWER) / len(words),
            faster=words.count(Said.FASTER) / len(words),
            undecided=words.count(Said.UNDECIDED) / len(words),
            seconds=spent[scenario, change],
        )
        for (scenario, change), words in said.items()
    ]


def pairs_of(scenario: str, count: int) -> Iterator[GatePair]:
    """Pairs of one scenario, generated or recorded, at every change."""
    if scenario in {item.name for item in SCENARIOS}:
        yield from gate_pairs(SEED, count, CHANGES, only=scenario)
    else:
        yield from recorded_pairs(RECORDED[scenario], sessions(), count)


# --- recorded launches -----------------------------------------------------------------------------------------------

Session = dict[str, list[list[int]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How two sides are taken from recorded launches."""

    name: str
    runs: int
    interleaved: bool = False
    nights: bool = False
    """The new side comes from a later session than the base; else both from one."""


RECORDED = {
    design.name: design
    for design in (
        Design(name="recorded, 8 launches in blocks", runs=8),
        Design(name="recorded, 8 launches interleaved", runs=8, interleaved=True),
        Design(name="recorded, 5 launches in blocks", runs=5),
        Design(name="recorded, 1 launch", runs=1),
        Design(name="recorded, 8 launches, other session", runs=8, nights=True),
    )
}
OLDER = 12
"""Launches of the base before its own that a rule may look at."""
WINDOW = 40
"""Samples of a launch that a rule gets: another stretch of them each time."""


def sessions() -> list[Session]:
    """The recorded sessions, oldest first."""
    read = [json.loads(path.read_text(encoding="utf-8")) for path in DATA.glob("launches-*.json")]
    return [item["processes"] for item in sorted(read, key=lambda item: str(item["session"]["started"]))]


def recorded_pairs(design: Design, recorded: Sequence[Session], count: int) -> Iterator[GatePair]:
    """Pairs from random places of the sessions; they overlap, so that their rates are less sure than their number."""
    rng = np.random.default_rng(SEED)
    for _ in range(count):
        kernel = str(rng.choice(sorted(recorded[0])))
        if design.nights:
            before, after = sorted(rng.choice(len(recorded), 2, replace=False))
            base, history, new = _two_nights(rng, design, recorded[before][kernel], recorded[after][kernel])
        else:
            session = recorded[int(rng.integers(len(recorded)))][kernel]
            base, history, new = _one_night(rng, design, session)
        first = int(rng.integers(0, len(base[0]) - WINDOW + 1))
        base, history, new = ([run[first : first + WINDOW] for run in side] for side in (base, history, new))
        for change in CHANGES:
            yield GatePair(
                scenario=design.name, change=change, base=_times(base), new=_times(new, change), history=_times(history)
            )


def _one_night(
    rng: np.random.Generator, design: Design, session: list[list[int]]
) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
    start = int(rng.integers(OLDER, len(session) - 2 * design.runs + 1))
    sitting = session[start : start + 2 * design.runs]
    history = session[start - OLDER : start]
    if design.interleaved:
        return sitting[::2], history, sitting[1::2]
    return sitting[: design.runs], history, sitting[design.runs :]


def _two_nights(
    rng: np.random.Generator, design: Design, before: list[list[int]], after: list[list[int]]
) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
    start = int(rng.integers(OLDER, len(before) - design.runs + 1))
    later = int(rng.integers(0, len(after) - design.runs + 1))
    return before[start : start + design.runs], before[start - OLDER : start], after[later : later + design.runs]


def _times(runs: list[list[int]], change: float = 0.0) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(sample * (1 + change) for sample in run) for run in runs)
