"""Seeded histories and launches whose truth is known, for judging detectors and gates.

Nothing here knows how a detector or a gate works: the noise is built from what benchmark histories are seen to do.
The same seed gives the same data on every machine.

    crowded(seed, count)       short histories as people mark them: up to six changes, outliers, correlation, two modes
    stationary(seed, count)    long histories without any change: every detection is a false alarm
    drifts(seed, count)        slow ramps: a step found in one is a false alarm
    fleets(seed, count)        histories from several hosts with their own offsets; only a step of the code counts
    gate_pairs(seed, count)    launches of the same or of slower code, in scenarios of noise (`SCENARIOS`)

Values are times, lower is better. Sizes of changes and of noise are in log units: 0.05 is about 5 %.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SHAPES = ("white", "correlated", "bimodal", "heavy_tailed", "bursts", "quantised")
"""Kinds of noise of a stationary history."""

VISIBLE = 4.0
"""A person marks a change that stands out by this many standard errors of the levels beside it; less is ambiguous."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One history, oldest point first, with what happened in it."""

    name: str
    family: str
    values: tuple[float, ...]
    noise: str
    """Shape of the noise."""
    spread: float
    """Standard deviation of the noise in log units, outliers left out."""
    changes: tuple[int, ...] = ()
    """First points of the new levels that must be found."""
    ambiguous: tuple[int, ...] = ()
    """Changes that are too small to be seen in this noise: finding one is neither right nor wrong."""
    hosts: tuple[str, ...] | None = None
    """Where each point was measured."""
    tags: frozenset[str] = field(default_factory=frozenset)
    """What a reader may want to count by itself: `late`, `revert`, `crowded`, `outliers`, `none`."""


# --- noise -----------------------------------------------------------------------------------------------------------


def white(rng: np.random.Generator, count: int, spread: float) -> Floats:
    """Independent normal noise."""
    return spread * rng.standard_normal(count)


def correlated(rng: np.random.Generator, count: int, spread: float, correlation: float) -> Floats:
    """A stationary first-order autoregression."""
    innovations = rng.standard_normal(count) * spread * math.sqrt(1 - correlation**2)
    noise = np.empty(count)
    noise[0] = spread * rng.standard_normal()
    for index in range(1, count):
        noise[index] = correlation * noise[index - 1] + innovations[index]
    return noise


def bimodal(rng: np.random.Generator, count: int, spread: float, stay: float = 0.3) -> Floats:
    """Two levels 4 to 12 spreads apart; a point keeps its predecessor's mode with probability `stay`, else draws."""
    apart, share = spread * rng.uniform(4, 12), rng.uniform(0.25, 0.6)
    mode = np.empty(count, dtype=bool)
    mode[0] = rng.random() < share
    for index in range(1, count):
        mode[index] = mode[index - 1] if rng.random() < stay else rng.random() < share
    return white(rng, count, spread) + apart * mode


def heavy_tailed(rng: np.random.Generator, count: int, spread: float) -> Floats:
    """Student's t with three degrees of freedom."""
    return spread / math.sqrt(3) * rng.standard_t(3, count)


def bursts(rng: np.random.Generator, count: int, spread: float) -> Floats:
    """White noise, and now and then one or two points on a busy machine: slower by 5 to 30 spreads."""
    noise = white(rng, count, spread)
    at = 0
    while (at := at + int(rng.geometric(0.04))) < count:
        length = int(rng.integers(1, 3))
        noise[at : at + length] += spread * rng.uniform(5, 30)
        at += length
    return noise


def quantised(rng: np.random.Generator, count: int, spread: float) -> Floats:
    """White noise as a coarse timer shows it: two to six values in all."""
    step = spread * rng.uniform(1, 2.5)
    rounded: Floats = np.round(white(rng, count, spread) / step) * step
    return rounded


def _noise(rng: np.random.Generator, shape: str, count: int, spread: float) -> Floats:
    makers: dict[str, Callable[[], Floats]] = {
        "white": lambda: white(rng, count, spread),
        "correlated": lambda: correlated(rng, count, spread, rng.uniform(0.2, 0.7)),
        "bimodal": lambda: bimodal(rng, count, spread),
        "heavy_tailed": lambda: heavy_tailed(rng, count, spread),
        "bursts": lambda: bursts(rng, count, spread),
        "quantised": lambda: quantised(rng, count, spread),
    }
    return makers[shape]()


def _times(rng: np.random.Generator, logs: Floats) -> tuple[float, ...]:
    """Times around a level of nanoseconds to minutes."""
    return tuple(float(value) for value in math.exp(rng.uniform(-2, 16)) * np.exp(logs))


# --- short histories as people mark them -----------------------------------------------------------------------------


def crowded(seed: int, count: int) -> Iterator[History]:
    """Histories of 20 to 200 points with up to six changes of 1 to 30 %, some four points apart, some at the end."""
    for index in range(count):
        rng = np.random.default_rng([seed, 1, index])
        yield _crowded(rng, f"crowded-{index}")


def _crowded(rng: np.random.Generator, name: str) -> History:
    length = round(math.exp(rng.uniform(math.log(20), math.log(200))))
    spread = math.exp(rng.uniform(math.log(0.002), math.log(0.06)))
    shape = str(rng.choice(["white", "correlated", "bimodal"], p=[0.4, 0.4, 0.2]))
    places, tags = _places(rng, length)
    if not places:
        tags.add("none")
    logs, levels = np.zeros(length), [0.0]
    for order, place in enumerate(places):
        back = order > 0 and (place - places[order - 1] <= 15) and rng.random() < 0.5
        level = levels[-2] if back else levels[-1] + _shift(rng, spread)
        tags |= {"revert"} if back else set()
        logs[place:] = level
        levels.append(level)
    noise = _noise(rng, shape, length, spread)
    logs += noise
    if rng.random() < 0.5:
        tags.add("outliers")
        logs += _outliers(rng, length, spread, places)
    clear, unclear = _told_apart(places, levels, length, noise)
    return History(
        name=name,
        family="crowded",
        values=_times(rng, logs),
        noise=shape,
        spread=spread,
        changes=clear,
        ambiguous=unclear,
        tags=frozenset(tags),
    )


def _shift(rng: np.random.Generator, spread: float) -> float:
    """A change of 1 to 30 %, of either sign, and mostly one that can be seen in this noise."""
    smallest = min(max(0.01, spread * rng.uniform(1.5, 4)), 0.25)
    return float(rng.choice([-1.0, 1.0]) * math.exp(rng.uniform(math.log(smallest), math.log(0.3))))


def _places(rng: np.random.Generator, length: int) -> tuple[list[int], set[str]]:
    """Where changes are, at least four points from each other and three from the end; a third of histories has none."""
    if rng.random() < 1 / 3:
        return [], set()
    tags: set[str] = set()
    wanted = int(rng.integers(1, 7)) if length >= 50 else int(rng.integers(1, 3))
    places = {int(rng.integers(6, max(7, length - 6)))}
    while len(places) < wanted:
        if rng.random() < 0.4:  # close to one that is there
            gap = int(rng.integers(4, 16))
            place = int(rng.choice(sorted(places))) + gap
            tags.add("crowded")
        else:
            place = int(rng.integers(6, max(7, length - 6)))
        if place >= length - 3 or any(abs(place - other) < 4 for other in places):
            wanted -= 1
            continue
        places.add(place)
    if rng.random() < 0.15 and max(places) < length - 16:
        places.add(length - int(rng.integers(4, 11)))
        tags.add("late")
    return sorted(places), tags


def _outliers(rng: np.random.Generator, length: int, spread: float, places: Sequence[int]) -> Floats:
    """Single points, or two in a row, far away from their level; not at the very end, where nobody could tell."""
    found = np.zeros(length)
    for _ in range(int(rng.integers(1, 2 + length // 25))):
        at, run = int(rng.integers(1, length - 5)), 1 + int(rng.random() < 0.3)
        if all(abs(at - place) > 3 for place in places):
            found[at : at + run] += rng.choice([-0.3, 1.0, 1.0, 1.0]) * max(0.02, spread * rng.uniform(6, 25))
    return found


def _told_apart(
    places: Sequence[int], levels: Sequence[float], length: int, noise: Floats
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The changes that a person would see, and those that drown: judged on up to 15 points each side."""
    scatter = float(noise.std()) or 1e-12
    # Levels of correlated points are worth fewer points.
    follow = float(np.clip(np.corrcoef(noise[:-1], noise[1:])[0, 1], 0, 0.9))
    scatter *= math.sqrt((1 + follow) / (1 - follow))
    edges = [0, *places, length]
    clear: list[int] = []
    unclear: list[int] = []
    for order, place in enumerate(places):
        before, after = min(15, place - edges[order]), min(15, edges[order + 2] - place)
        error = scatter * math.sqrt(1 / before + 1 / after)
        (clear if abs(levels[order + 1] - levels[order]) >= VISIBLE * error else unclear).append(place)
    return tuple(clear), tuple(unclear)


# --- long histories --------------------------------------------------------------------------------------------------


def stationary(seed: int, count: int) -> Iterator[History]:
    """Histories of 100 to 400 points without a change, `SHAPES` in turn, with noise of 0.2 to 10 %."""
    for index in range(count):
        rng, shape = np.random.default_rng([seed, 2, index]), SHAPES[index % len(SHAPES)]
        spread = math.exp(rng.uniform(math.log(0.002), math.log(0.1)))
        logs = _noise(rng, shape, int(rng.integers(100, 401)), spread)
        name = f"stationary-{index}"
        yield History(name=name, family="stationary", values=_times(rng, logs), noise=shape, spread=spread)


def single_steps(seed: int, count: int, size: float, after: int | None = None) -> Iterator[History]:
    """Histories of 100 points with one step of `size`, noise of 0.2 to 2 %; `after` points before the end if given."""
    for index in range(count):
        rng = np.random.default_rng([seed, 3, round(1e4 * size), after or 0, index])
        shape = ("white", "correlated", "heavy_tailed", "bursts")[index % 4]
        spread = math.exp(rng.uniform(math.log(0.002), math.log(0.02)))
        place = 100 - after if after else int(rng.integers(30, 71))
        logs = _noise(rng, shape, 100, spread)
        logs[place:] += math.log1p(size) * rng.choice([-1, 1])
        yield History(
            name=f"step-{size:g}-{index}",
            family="step",
            values=_times(rng, logs),
            noise=shape,
            spread=spread,
            changes=(place,),
        )


def drifts(seed: int, count: int) -> Iterator[History]:
    """Histories of 60 to 200 points that creep by 3 to 12 % over all of their length or its middle half."""
    for index in range(count):
        rng = np.random.default_rng([seed, 4, index])
        length, shape = int(rng.integers(60, 201)), ("white", "correlated")[index % 2]
        spread = math.exp(rng.uniform(math.log(0.003), math.log(0.02)))
        whole = np.linspace(0, 1, length)
        part = whole if index % 4 < 2 else np.clip(2 * whole - 0.5, 0, 1)
        logs = _noise(rng, shape, length, spread) + rng.choice([-1, 1]) * rng.uniform(0.03, 0.12) * part
        yield History(name=f"drift-{index}", family="drift", values=_times(rng, logs), noise=shape, spread=spread)


def fleets(seed: int, count: int) -> Iterator[History]:
    """Histories from two to four hosts: a third with a code step, a third without, in a third one host drifts."""
    for index in range(count):
        rng = np.random.default_rng([seed, 5, index])
        length, number = int(rng.integers(80, 201)), int(rng.integers(2, 5))
        spread = math.exp(rng.uniform(math.log(0.003), math.log(0.02)))
        kind = ("step", "none", "one_host_drifts")[index % 3]
        # With two hosts nobody can tell which of them drifts.
        number = max(3, number) if kind == "one_host_drifts" else number
        where = _visits(rng, length, number)
        logs = white(rng, length, spread) + (rng.normal(0, 0.06, number))[where]
        changes: tuple[int, ...] = ()
        if kind == "step":
            place = int(rng.integers(length // 4, 3 * length // 4))
            logs[place:] += max(0.03, 4 * spread) * rng.choice([-1, 1])
            changes = (place,)
        elif kind == "one_host_drifts":
            logs += (where == 0) * np.linspace(0, rng.uniform(0.04, 0.1), length)
        yield History(
            name=f"fleet-{index}",
            family="fleet",
            values=_times(rng, logs),
            noise="white",
            spread=spread,
            changes=changes,
            hosts=tuple(f"host{host}" for host in where),
            tags=frozenset({kind}),
        )


def _visits(rng: np.random.Generator, length: int, number: int) -> npt.NDArray[np.int64]:
    """Which host measured each point: any host at any time, or mostly the same one for a while."""
    sticky = rng.choice([0.0, 0.7])
    where = rng.integers(0, number, length)
    for index in range(1, length):
        if rng.random() < sticky:
            where[index] = where[index - 1]
    return where


# --- launches for the gate -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePair:
    """Two sides to compare. A run is a list of samples; how runs and nights hang together is the scenario's."""

    scenario: str
    change: float
    """By how much the new side is slower; 0 for identical code."""
    base: tuple[tuple[float, ...], ...]
    new: tuple[tuple[float, ...], ...]
    history: tuple[tuple[float, ...], ...]
    """Older runs of the base, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How a machine behaves. Spreads are standard deviations in log units."""

    name: str
    runs: int
    samples: int
    sample: float
    """Between samples of a run."""
    run: float
    """Between runs of a night."""
    night: float = 0.0
    """Between the two sides, and between runs of the history, beyond `run`."""
    walk: float = 0.0
    """Step of the machine's random walk from run to run."""
    correlation: float = 0.0
    """Of neighbouring runs."""
    modes: float = 0.0
    """How far the second mode is from the first; a run is in one of them."""
    tail: float = 0.0
    """Mean of what a busy machine adds to a run, and half of it again to each sample."""
    interleaved: bool = False
    history: int = 20
    launches: bool = False
    """What is called a run here is a launch: each side is one run, and `night` is what runs differ by."""


def _first(scenario: Scenario) -> Scenario:
    return replace(scenario, history=0, launches=True)


SCENARIOS = (
    Scenario(name="quiet, 5 launches", runs=5, samples=20, sample=0.005, run=0.004, night=0.001),
    Scenario(name="quiet, 3 launches", runs=3, samples=20, sample=0.005, run=0.004, night=0.001),
    Scenario(name="quiet, one night of 25", runs=1, samples=25, sample=0.012, run=0.0013, history=10),
    Scenario(name="quiet, no history", runs=8, samples=20, sample=0.005, run=0.004, night=0.001, history=0),
    Scenario(name="drifting", runs=8, samples=20, sample=0.005, run=0.003, walk=0.006),
    Scenario(name="drifting, interleaved", runs=8, samples=20, sample=0.005, run=0.003, walk=0.006, interleaved=True),
    Scenario(name="correlated", runs=8, samples=20, sample=0.005, run=0.02, correlation=0.8),
    Scenario(name="bimodal", runs=8, samples=20, sample=0.003, run=0.002, modes=0.12),
    Scenario(name="busy machine", runs=8, samples=20, sample=0.05, run=0.03, tail=0.1, walk=0.02),
    Scenario(name="different nights", runs=5, samples=5, sample=0.01, run=0.005, night=0.012),
    _first(Scenario(name="quiet, first comparison", runs=5, samples=20, sample=0.005, run=0.004, night=0.001)),
    _first(Scenario(name="first, runs as launches", runs=5, samples=20, sample=0.005, run=0.01, night=0.01)),
    _first(Scenario(name="first, restless", runs=5, samples=20, sample=0.005, run=0.02, night=0.01)),
)
QUIET = tuple(scenario.name for scenario in SCENARIOS if scenario.name.startswith("quiet"))
"""Scenarios in which a change of 5 % has to be found."""
FIRST = tuple(scenario.name for scenario in SCENARIOS if scenario.launches)
"""Scenarios of one run a side without a history: a project's first comparison."""


def gate_pairs(
    seed: int, count: int, changes: Sequence[float] = (0.0,), *, only: str | None = None
) -> Iterator[GatePair]:
    """For every scenario, or `only` one, `count` pairs of runs, each with the new side slower by all of `changes`."""
    for place, scenario in enumerate(SCENARIOS):
        for index in range(count if only in {None, scenario.name} else 0):
            rng = np.random.default_rng([seed, 6, place, index])
            history, base, new = _sides(rng, scenario)
            level = math.exp(rng.uniform(0, 12))
            for change in changes:
                yield GatePair(
                    scenario=scenario.name,
                    change=change,
                    base=_runs(level, base),
                    new=_runs(level * (1 + change), new),
                    history=_runs(level, history),
                )


def _sides(rng: np.random.Generator, scenario: Scenario) -> tuple[Floats, Floats, Floats]:
    """Logarithms of shape (run, sample): the history, then base and new from one sitting or from two nights."""
    sitting = 2 * scenario.runs
    levels = _run_levels(rng, scenario, scenario.history + sitting)
    older, today = levels[: scenario.history], levels[scenario.history :]
    nights = scenario.night * rng.standard_normal(scenario.history + 2)
    older = older + nights[:-2]
    order = np.arange(sitting)
    is_new = order % 2 == 1 if scenario.interleaved else order >= scenario.runs
    today = today + np.where(is_new, nights[-1], nights[-2])
    return tuple(_samples(rng, scenario, part) for part in (older, today[~is_new], today[is_new]))  # type: ignore[return-value]  # three in, three out


def _run_levels(rng: np.random.Generator, scenario: Scenario, count: int) -> Floats:
    levels = correlated(rng, count, scenario.run, scenario.correlation)
    # The walk goes on through the sitting; earlier it had hours to move, but a machine does not walk away for ever.
    steps = scenario.walk * rng.standard_normal(count)
    walk = np.empty(count)
    walk[0] = steps[0]
    for index in range(1, count):
        walk[index] = 0.98 * walk[index - 1] + steps[index]
    levels += walk
    if scenario.modes:
        levels += scenario.modes * (rng.random(count) < rng.uniform(0.2, 0.5))
    if scenario.tail:
        levels += rng.exponential(scenario.tail, count)
    return levels


def _samples(rng: np.random.Generator, scenario: Scenario, levels: Floats) -> Floats:
    shape = (len(levels), scenario.samples)
    samples: Floats = levels[:, None] + scenario.sample * rng.standard_normal(shape)
    if scenario.tail:
        samples += rng.exponential(scenario.tail / 2, shape)
    return samples


def _runs(level: float, logs: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in run) for run in level * np.exp(logs))
