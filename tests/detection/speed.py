"""How long detectors take, one after the other on one core, on the same histories: processor time, which a busy machine
lengthens less than the clock on the wall."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from detection.detectors import Detector, one_more_point
from support.detection_data import correlated, white
from tesserabench.analysis.changepoints import Tail, extend_many

LENGTHS = (100, 1000, 10_000)
PATIENCE_SECONDS = 3.0
"""A detector that took longer than this is not asked about a history ten times as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """How long a detector took for one history; None when it was not asked."""

    detector: str
    seconds: dict[int, float | None]


def long_history(points: int) -> list[float]:
    """A history with a step of 3 to 8 % about every 500 points in noise of 1 %, half of it correlated."""
    rng = np.random.default_rng(1)
    logs = white(rng, points, 0.007) + correlated(rng, points, 0.007, 0.4)
    for place in range(250, points, 500):
        logs[place:] += rng.choice([-1, 1]) * rng.uniform(0.03, 0.08)
    return [float(value) for value in 100 * np.exp(logs)]


def timed(detector: Detector) -> Timed:
    """The best of three for each length, or of one where one takes long."""
    found: dict[int, float | None] = {}
    longest = 0.0
    for points in LENGTHS:
        if longest > PATIENCE_SECONDS or points > detector.longest:
            found[points] = None
            continue
        history = long_history(points)
        longest = _best(lambda history=history: detector.detect(history, None), 3)  # type: ignore[misc]  # bound now
        found[points] = longest
    return Timed(detector=detector.name, seconds=found)


def _best(call: Callable[[], object], times: int) -> float:
    spent: list[float] = []
    for _ in range(times):
        begun = time.process_time()
        call()
        spent.append(time.process_time() - begun)
        if spent[-1] > PATIENCE_SECONDS:
            break
    return min(spent)


def one_more() -> float:
    """Seconds that our detector takes for one more point after 10 000: the middle of 200 in a row."""
    history = long_history(10_200)
    extend = one_more_point(history[:10_000])
    spent: list[float] = []
    for value in history[10_000:]:
        begun = time.process_time()
        extend(value)
        spent.append(time.process_time() - begun)
        if sum(spent) > PATIENCE_SECONDS:
            break
    return float(np.median(spent))


def tails(series: int = 1000, points: int = 256) -> float:
    """Seconds a series for one more point on many histories: states loaded, extended together and kept again."""
    history = long_history(points + 1)
    states = []
    for number in range(series):
        tail = Tail.start()
        tail.extend([value * (1 + 1e-4 * number) for value in history[:points]])
        states.append(tail.dump())
    begun = time.process_time()
    loaded = [Tail.load(state) for state in states]
    extend_many(loaded, [([history[points]], None) for _ in loaded])
    for tail in loaded:
        tail.dump()
    return (time.process_time() - begun) / series
