"""Statistics of samples whose agent did not send any, for many measurements at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from tesserabench.collector.store.records import SampleStatistics

_LARGEST_EXACT = 1000
_TAIL = 0.025
_Z = 1.959963984540054
_P99_NEEDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What samples say, in their unit: the median, its 95 % interval when there is one, and the other statistics."""

    median: float
    ci_low: float | None
    ci_high: float | None
    statistics: SampleStatistics


def summarise(
    blocks: Sequence[npt.NDArray[np.float64]],
) -> list[Summary]:
    """The summary of each block of samples.

    Args:
        blocks: arrays of shape (n,) with n ≥ 1; those of equal length are computed together.
    """
    by_length: dict[int, list[int]] = {}
    for position, block in enumerate(blocks):
        by_length.setdefault(len(block), []).append(position)
    found: dict[int, Summary] = {}
    for positions in by_length.values():
        rows = _summarise_rows(np.stack([blocks[position] for position in positions]))
        found.update(zip(positions, rows, strict=True))
    return [found[position] for position in range(len(blocks))]


def _summarise_rows(
    samples: npt.NDArray[np.float64],
) -> list[Summary]:
    """The same for samples of shape (m, n)."""
    count = samples.shape[1]
    ordered = np.sort(samples, axis=1)
    # Linear interpolation between order statistics (type 7, NumPy's default).
    p5, q1, median, q3, p95, p99 = (_quantile(ordered, q) for q in (0.05, 0.25, 0.5, 0.75, 0.95, 0.99))
    mad = _quantile(np.sort(np.abs(ordered - median[:, None]), axis=1), 0.5)
    mean = ordered.mean(axis=1)
    stdev = ordered.std(axis=1, ddof=1) if count > 1 else None
    rank = interval_rank(count)
    return [
        Summary(
            median=float(median[row]),
            ci_low=None if rank is None else float(ordered[row, rank]),
            ci_high=None if rank is None else float(ordered[row, count - 1 - rank]),
            statistics=SampleStatistics(
                count=count,
                minimum=float(ordered[row, 0]),
                q1=float(q1[row]),
                q3=float(q3[row]),
                maximum=float(ordered[row, -1]),
                mean=float(mean[row]),
                stdev=None if stdev is None else float(stdev[row]),
                p5=float(p5[row]),
                p95=float(p95[row]),
                p99=float(p99[row]) if count >= _P99_NEEDS else None,
                mad=float(mad[row]),
                effective_count=None,
                autocorrelation=None,
                drift=None,
            ),
        )
        for row in range(len(ordered))
    ]


def _quantile(ordered: npt.NDArray[np.float64], fraction: float) -> npt.NDArray[np.float64]:
    position = fraction * (ordered.shape[1] - 1)
    below = math.floor(position)
    above = min(below + 1, ordered.shape[1] - 1)
    share = position - below
    found: npt.NDArray[np.float64] = ordered[:, below] * (1 - share) + ordered[:, above] * share
    return found


@lru_cache(maxsize=4096)
def interval_rank(count: int) -> int | None:
    """Index (from 0) of the order statistic that bounds the median from below with 97.5 %; the upper bound mirrors it.

    Exact from the binomial distribution up to 1000 samples, its normal approximation above (Conover, Practical
    Nonparametric Statistics, 3.2). None below 6 samples, where no interval of 95 % exists.
    """
    if count > _LARGEST_EXACT:
        return max(0, math.floor(count / 2 - _Z * math.sqrt(count) / 2) - 1)
    allowed = _TAIL * 2**count
    tail = 0
    for rank in range(count):
        tail += math.comb(count, rank)
        if tail > allowed:
            return rank - 1 if rank else None
    return None
