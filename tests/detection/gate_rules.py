"""Rules that call two sides different: ours, and published ones in our own words, each with its usual settings.

A rule takes the runs of both sides and older runs of the base, each run a list of samples (times), and says whether the
new side is slower, faster, the same, or that it cannot be told. Rules that pool samples take them for independent.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
import numpy.typing as npt
from scipy import special, stats
from tesserabench.analysis.gate import judge
from tesserabench.analysis.launch import Launch, Side
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.samples import judge_samples
from tesserabench.analysis.words import Better, Verdict

Floats = npt.NDArray[np.float64]
Runs = Sequence[Sequence[float]]


class Said(Enum):
    """What a rule says of the new side."""

    SLOWER = auto()
    FASTER = auto()
    SAME = auto()
    UNDECIDED = auto()


Rule = Callable[[Runs, Runs, Runs], Said]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRule:
    """A rule with its name."""

    name: str
    says: Rule


def _pooled(runs: Runs) -> Floats:
    return np.concatenate([np.asarray(run, dtype=float) for run in runs])


def _medians(runs: Runs) -> Floats:
    """Logarithm of each run's median."""
    return np.array([math.log(float(np.median(run))) for run in runs])


def _said(different: object, change: float) -> Said:
    if not different:
        return Said.SAME
    return Said.SLOWER if change > 0 else Said.FASTER


def ours() -> GateRule:
    """The gate of the product, as `tbctl gate --json-lines` asks it."""
    return GateRule(name="TesseraBench", says=_judged)


def _judged(base: Runs, new: Runs, history: Runs) -> Said:
    return _SAID[judge_samples(base, new, history=history).verdict]


def ours_at_first() -> GateRule:
    """The gate of the product on the launches of one run a side, as the collector asks it without a history."""
    return GateRule(name="TesseraBench", says=_judged_at_first)


def _judged_at_first(base: Runs, new: Runs, history: Runs) -> Said:
    def side(runs: Runs) -> Side:
        launches = (Launch(value=float(np.median(run)), samples=len(run), place="gpu") for run in runs)
        return Side(launches=tuple(launches), better=Better.LOWER, device_kind="cuda")

    return _SAID[judge(side(base), side(new), Policy()).verdict]


_SAID = {
    Verdict.REGRESSED: Said.SLOWER,
    Verdict.IMPROVED: Said.FASTER,
    Verdict.PASS: Said.SAME,
    Verdict.INCONCLUSIVE: Said.UNDECIDED,
}


# --- rules that pool the samples -------------------------------------------------------------------------------------


def welch(smallest: float) -> Rule:
    """Welch's t below 5 %, and means that differ by more than `smallest`."""

    def says(base: Runs, new: Runs, history: Runs) -> Said:
        a, b = _pooled(base), _pooled(new)
        change = float(b.mean() / a.mean()) - 1
        return _said(abs(change) > smallest and stats.ttest_ind(a, b, equal_var=False).pvalue < 0.05, change)

    return says


def threshold(base: Runs, new: Runs, history: Runs) -> Said:
    """Means that differ by more than 5 %, whatever the noise."""
    change = float(_pooled(new).mean() / _pooled(base).mean()) - 1
    return _said(abs(change) > 0.05, change)


def ranks(*, largest_p: float = 0.05, smallest: float = 0.0, overlap: float = 0.0) -> Rule:
    """Mann and Whitney's test, a smallest change of the median, and a smallest Cliff's delta."""

    def says(base: Runs, new: Runs, history: Runs) -> Said:
        a, b = _pooled(base), _pooled(new)
        test, change = stats.mannwhitneyu(a, b), float(np.median(b) / np.median(a)) - 1
        delta = abs(2 * float(test.statistic) / (a.size * b.size) - 1)
        factor = max(1 + change, 1 / (1 + change)) - 1
        return _said(test.pvalue < largest_p and factor > smallest and delta >= overlap, change)

    return says


def bootstrap_t(base: Runs, new: Runs, history: Runs) -> Said:
    """Criterion: a bootstrapped t below 5 %, and the interval of the mean's change beyond 1 % either way.

    500 resamples instead of its 100 000: that moves its limits, but hardly its rates.
    """
    a, b, rng = _pooled(base), _pooled(new), np.random.default_rng(1)
    both = np.concatenate([a, b])

    def t(x: Floats, y: Floats) -> Floats:
        error = np.sqrt(x.var(axis=-1, ddof=1) / x.shape[-1] + y.var(axis=-1, ddof=1) / y.shape[-1])
        scaled: Floats = (y.mean(axis=-1) - x.mean(axis=-1)) / np.maximum(error, 1e-300)
        return scaled

    picks_a, picks_b = (rng.integers(0, both.size, (500, side.size)) for side in (a, b))
    chance = t(both[picks_a], both[picks_b])
    p_value = 2 * min(float((chance >= t(a, b)).mean()), float((chance <= t(a, b)).mean()))
    means = [side[rng.integers(0, side.size, (500, side.size))].mean(axis=1) for side in (a, b)]
    low, high = np.quantile(means[1] / means[0] - 1, [0.025, 0.975])
    return _said(p_value < 0.05 and (low > 0.01 or high < -0.01), float(low + high))


# --- rules that know runs --------------------------------------------------------------------------------------------


def hierarchical_bootstrap(base: Runs, new: Runs, history: Runs) -> Said:
    """Runs are drawn, then samples within them; the interval of the ratio of run medians leaves 1, by more than 2 %."""
    rng = np.random.default_rng(1)

    def draws(runs: Runs) -> Floats:
        table = np.asarray(runs, dtype=float)
        count, samples = table.shape
        picked = table[rng.integers(0, count, (400, count))]
        within = rng.integers(0, samples, (400, count, samples))
        medians: Floats = np.log(np.median(np.take_along_axis(picked, within, 2), axis=2)).mean(axis=1)
        return medians

    low, high = np.quantile(draws(new) - draws(base), [0.025, 0.975])
    change = float(_medians(new).mean() - _medians(base).mean())
    return _said((low > 0 or high < 0) and abs(math.expm1(change)) > 0.02, change)


def run_welch(base: Runs, new: Runs, history: Runs) -> Said:
    """Welch's t on run medians below 5 %, and 2 %; undecided below three runs a side."""
    if min(len(base), len(new)) < 3:
        return Said.UNDECIDED
    a, b = _medians(base), _medians(new)
    change = float(b.mean() - a.mean())
    return _said(stats.ttest_ind(a, b, equal_var=False).pvalue < 0.05 and abs(math.expm1(change)) > 0.02, change)


def conbench(base: Runs, new: Runs, history: Runs) -> Said:
    """The mean of the runs' best against that of earlier runs: five of their standard deviations."""
    past = np.array([min(run) for run in (*history, *base)])
    if past.size < 2:
        return Said.UNDECIDED
    change = float(np.mean([min(run) for run in new]) - past.mean())
    return _said(abs(change) > 5 * float(past.std(ddof=1)) > 0, change)


def bencher(base: Runs, new: Runs, history: Runs) -> Said:
    """The new mean outside the 99 % prediction limits of earlier runs' means."""
    past = np.array([float(np.mean(run)) for run in (*history, *base)])
    if past.size < 2:
        return Said.UNDECIDED
    limit = float(special.stdtrit(past.size - 1, 0.99)) * float(past.std(ddof=1)) * math.sqrt(1 + 1 / past.size)
    change = float(np.mean([np.mean(run) for run in new]) - past.mean())
    return _said(abs(change) > limit > 0, change)


PEERS = (
    GateRule(name="mean > 2 % and Welch p < .05", says=welch(0.02)),
    GateRule(name="mean > 5 %", says=threshold),
    GateRule(name="benchstat, google/benchmark (ranks p < .05)", says=ranks()),
    GateRule(name="ranks p < .05 and median > 2 %", says=ranks(smallest=0.02)),
    GateRule(name="Mozilla (ranks, Cliff .15)", says=ranks(overlap=0.15)),
    GateRule(name="asv compare (ranks p < .002, factor 1.1)", says=ranks(largest_p=0.002, smallest=0.1)),
    GateRule(name="Criterion (bootstrap t, 1 %)", says=bootstrap_t),
    GateRule(name="hierarchical bootstrap and 2 %", says=hierarchical_bootstrap),
    GateRule(name="Welch on run medians and 2 %", says=run_welch),
    GateRule(name="Conbench (best of run, z 5)", says=conbench),
    GateRule(name="Bencher (t-test .99)", says=bencher),
)
