"""When to stop sampling: our rule beside those of nvbench, CuPy and Triton, on six shapes of noise.

Every rule sees the same stream of simulated samples and answers with their median and its 95 % order-statistic
interval: the others offer no interval and (CuPy, Triton) a mean, so each is given our estimator, and only the
stopping is compared. Asked for is a median within 0.25 % of the true one.

    ours       `timing.stopping.sample_until_stopped`, as the engine calls it, target 0.25 %
    stdrel     nvbench: from 10 samples on, stop when standard deviation / mean is below 0.5 %, or when the last (65 to
               512) values of that ratio scatter by less than 5 % of the latest
    cupyx      `cupyx.profiler.benchmark`: 10,000 repetitions
    do_bench   `triton.testing.do_bench`: as many as fit into 100 ms

    hit        share of runs whose median is within 0.25 % of the true one, or within half a step of the timer
    cover      share of runs whose interval covers the true median; nominal 95 %
    samples    median number of samples until the rule stopped, which is what the answer cost

A rule keeps its word on a row when it hits in 95 % of the runs (less two standard errors). Of the rules that do, the
one with the fewest samples is ahead. Least times are left out on both sides (ours 100 ms, nvbench's 500 ms): they hide
what the rules themselves do. A sample costs a millisecond, in the row of coarse steps the 5 us that it measures.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from support.figures import Figure, out_folder, report
from tesserabench.bench.timing.interval import median_rank
from tesserabench.bench.timing.stopping import Progress, StopRule, sample_until_stopped

Floats = npt.NDArray[np.float64]

RUNS = 200
TARGET = 0.0025
STREAM = 20_000
WORD = 0.95
SLACK = 2 * math.sqrt(WORD * (1 - WORD) / RUNS)
LEVEL = 1_000_000.0
"""True median of the shapes around a millisecond, in nanoseconds."""
STEP_LEVEL, STEP = 5_100.0, 500.0
BLOCK = 16
SKEW = math.sqrt(math.log1p(0.01**2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """A shape: how samples are drawn, their true median, the timer's step, and what one sample costs."""

    name: str
    draw: Callable[[np.random.Generator], Floats]
    median: float
    quantum_ns: float = 1.0
    sample_seconds: float = 1e-3
    reason: str = ""
    """Why a rule other than ours may be ahead."""


class Stream:
    """Samples that are there already, handed out as a device would."""

    def __init__(self, values: Sequence[int], sample_seconds: float) -> None:
        self._values, self._sample_seconds = values, sample_seconds
        self.count = 0

    @property
    def samples(self) -> Sequence[int]:
        """What was taken so far."""
        return self._values[: self.count]

    @property
    def progress(self) -> Progress:
        """What it cost."""
        spent = self.count * self._sample_seconds
        block = [index // BLOCK for index in range(self.count)]
        return Progress(elapsed_seconds=spent, device_seconds=spent, blocks=block[-1] + 1, block=block)

    def more(self, until: int, *, closing: bool) -> None:
        """Take samples up to `until`."""
        self.count = max(self.count + 1, until)


def ours(values: Floats, noise: Noise) -> int:
    """Samples that our rule takes."""
    stream = Stream(values.astype(np.int64).tolist(), noise.sample_seconds)
    rule = StopRule(
        target=TARGET, min_samples=30, max_samples=10_000, budget_seconds=1e9, quantum_ns=noise.quantum_ns, min_blocks=3
    )
    sample_until_stopped(stream, rule)
    return stream.count


def stdrel(values: Floats, noise: Noise) -> int:
    """Samples that nvbench's rule takes; the whole stream when it never stops."""
    counts = np.arange(1, values.size + 1)
    mean = np.cumsum(values) / counts
    variance = np.cumsum((values - values[0]) ** 2) / counts - (mean - values[0]) ** 2
    ratio = np.sqrt(np.maximum(variance, 0)) / mean
    stop = ratio < 0.005
    # Ratios are kept from the fifth sample on; `sums` of them give the scatter of the last 512 at every count.
    kept = ratio[4:]
    sums, squares = (np.concatenate(([0.0], np.cumsum(part))) for part in (kept, kept * kept))
    ends = np.arange(1, kept.size + 1)
    starts = np.maximum(0, ends - 512)
    held = ends - starts
    spread = (squares[ends] - squares[starts]) / held - ((sums[ends] - sums[starts]) / held) ** 2
    stop[4:] |= (held > 64) & (np.sqrt(np.maximum(spread, 0)) < 0.05 * kept)
    stop[:9] = False
    return int(np.argmax(stop)) + 1 if stop.any() else values.size


def cupyx(values: Floats, noise: Noise) -> int:
    """Samples that CuPy's profiler takes."""
    return min(10_000, values.size)


def do_bench(values: Floats, noise: Noise) -> int:
    """Samples that Triton takes: 100 ms over an estimate from five launches."""
    estimate = float(values[:5].mean()) * 1e-9
    return min(values.size, max(1, int(0.1 / max(estimate, noise.sample_seconds / 10))))


RULES: dict[str, Callable[[Floats, Noise], int]] = {
    "ours": ours,
    "stdrel": stdrel,
    "cupyx": cupyx,
    "do_bench": do_bench,
}


def gaussian(spread: float) -> Callable[[np.random.Generator], Floats]:
    """Normal noise of a relative standard deviation."""
    return lambda rng: LEVEL * rng.normal(1, spread, STREAM)


def skewed(rng: np.random.Generator) -> Floats:
    """Lognormal noise of 1 %, and twice the time for one launch in fifty."""
    values = LEVEL * np.exp(rng.normal(0, SKEW, STREAM))
    values[rng.random(STREAM) < 0.02] *= 2
    return values


def bimodal(rng: np.random.Generator) -> Floats:
    """Two levels 4 % apart, 60 % of the launches at the lower one."""
    values = LEVEL * rng.normal(1, 0.005, STREAM)
    values[rng.random(STREAM) < 0.4] *= 1.04
    return values


def stepped(rng: np.random.Generator) -> Floats:
    """A little more than five microseconds with 3 % of noise, told in steps of half a microsecond."""
    return np.round(STEP_LEVEL * rng.normal(1, 0.03, STREAM) / STEP) * STEP


def shifting(rng: np.random.Generator) -> Floats:
    """Quiet, then 8 % slower from the 150th sample on."""
    values = LEVEL * rng.normal(1, 0.005, STREAM)
    values[150:] *= 1.08
    return values


def solved(below: Callable[[float], float]) -> float:
    """Median of a mixture, from its distribution function, by bisection."""
    low, high = 0.9 * LEVEL, 1.1 * LEVEL
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < 0.5 else (low, middle)
    return low


def below_bimodal(value: float) -> float:
    """Distribution function of `bimodal`."""
    upper = float(ndtr((value / LEVEL / 1.04 - 1) / 0.005))
    return 0.6 * float(ndtr((value / LEVEL - 1) / 0.005)) + 0.4 * upper


def below_skewed(value: float) -> float:
    """Distribution function of `skewed`; its spikes lie far above the median."""
    return 0.98 * float(ndtr(math.log(value / LEVEL) / SKEW))


LUCK = "a fixed number fits some noise by chance; the same rule is wrong on the rows with more, and does not know it"
SHAPES = (
    Noise(name="gaussian 0.5 %", draw=gaussian(0.005), median=LEVEL, reason=LUCK),
    Noise(name="gaussian 3 %", draw=gaussian(0.03), median=LEVEL, reason=LUCK),
    Noise(name="skewed 1 %, 2 % spikes", draw=skewed, median=solved(below_skewed), reason=LUCK),
    Noise(name="bimodal 60/40, 4 % apart", draw=bimodal, median=solved(below_bimodal), reason=LUCK),
    Noise(
        name="0.5 us steps at 5 us",
        draw=stepped,
        median=STEP_LEVEL,
        quantum_ns=STEP,
        sample_seconds=5.1e-6,
        reason=LUCK,
    ),
    Noise(
        name="+8 % from sample 150 on",
        draw=shifting,
        median=LEVEL,
        reason="the true median is taken as that before the step: a rule that is done by then cannot see it",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a rule did on a shape."""

    hit: float
    cover: float
    samples: float

    @property
    def kept(self) -> bool:
        """Whether the rule kept its word."""
        return self.hit >= WORD - SLACK


def score(rule: Callable[[Floats, Noise], int], noise: Noise) -> Score:
    """Let a rule run many times."""
    hits, covers, counts = 0, 0, []
    half_step = noise.quantum_ns / 2
    for seed in range(RUNS):
        values = noise.draw(np.random.default_rng(seed)).round()
        count = rule(values, noise)
        ordered = np.sort(values[:count])
        middle, (low, high) = float(np.median(ordered)), interval(ordered)
        hits += abs(middle - noise.median) <= max(TARGET * noise.median, half_step)
        covers += min(low, middle - half_step) <= noise.median <= max(high, middle + half_step)
        counts.append(count)
    return Score(hit=hits / RUNS, cover=covers / RUNS, samples=float(np.median(counts)))


def interval(ordered: Floats) -> tuple[float, float]:
    """The 95 % interval of the median of sorted, independent values."""
    rank = median_rank(int(ordered.size)) or 1
    return float(ordered[rank - 1]), float(ordered[-rank])


def cell(found: Score) -> str:
    """One rule's part of a row."""
    return f"{found.hit:>6.1%} {found.cover:>6.1%} {found.samples:>7,.0f}{' *' if found.kept else '  '}  "


def main() -> None:
    """Simulate, print the table and write the figures."""
    folder, begun = out_folder(), time.perf_counter()
    print(__doc__)
    print(f"{RUNS} runs\n")
    print(f"{'':26}" + "".join(f"{name:^26}" for name in RULES))
    print(f"{'':26}" + "   hit  cover   samples    " * len(RULES))
    figures: list[Figure] = []
    behind: list[str] = []
    for noise in SHAPES:
        scores = {name: score(rule, noise) for name, rule in RULES.items()}
        cells = (
            f"{s.hit:>6.1%} {s.cover:>6.1%} {s.samples:>7,.0f}{' *' if s.kept else '  '}  " for s in scores.values()
        )
        print(f"{noise.name:<26}" + " ".join(cells))
        better = [name for name, s in scores.items() if s.kept and s.samples < scores["ours"].samples]
        if not scores["ours"].kept or better:
            behind.append(f"{noise.name}: {', '.join(better) or 'ours missed'}: {noise.reason}")
        figures += [
            Figure(name=f"{name} {noise.name} {what}", value=getattr(s, what), unit="1")
            for name, s in scores.items()
            for what in ("hit", "cover", "samples")
        ]
    print("\n* keeps its word")
    for line in behind:
        print(f"  not ahead on {line}")
    if not behind:
        print("  ours is ahead on every row")
    print(f"  {time.perf_counter() - begun:.0f} s\n")
    report("stop_rule", figures, folder)


if __name__ == "__main__":
    main()
