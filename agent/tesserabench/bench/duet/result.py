"""What an interleaved comparison gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tesserabench.bench.codec import encode
from tesserabench.bench.device.protocol import DeviceInfo
from tesserabench.bench.duet.plan import ArmOrder
from tesserabench.bench.measurement import Environment, Measurement
from tesserabench.bench.vocabulary import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPair:
    """One pair in one worker."""

    worker: int
    order: ArmOrder
    a: Measurement
    b: Measurement

    @property
    def failure(self) -> Measurement | None:
        """The side that gave no result that may be compared, if any did not: the one whose fault it was."""
        failed = [side for side in (self.a, self.b) if side.outcome is not Outcome.OK]
        # The other arm is ended because of it.
        return min(failed, key=lambda side: side.outcome is Outcome.INTERRUPTED, default=None)

    @property
    def medians(self) -> tuple[float, float] | None:
        """Nanoseconds of one launch of A and of B; None when a side gave nothing."""
        if self.failure is not None or self.a.statistics is None or self.b.statistics is None:
            return None
        return self.a.statistics.median, self.b.statistics.median


@dataclass(frozen=True, slots=True, kw_only=True)
class PairVerdict:
    """What is concluded of one pair. Fractions: 0.1 is 10 %; absent is unknown."""

    verdict: str
    """`pass` (the same), `improved` (B is faster), `regressed` (B is slower) or `inconclusive`."""
    reason: str | None
    severity: str | None
    explanation: str
    recommendation: str
    change: float | None
    """B over A, less one."""
    change_low: float | None
    change_high: float | None
    p_value: float | None
    minimum_effect: float
    """The least change that is called one."""
    smallest_visible_change: float | None
    more_workers: int | None
    """About how many more workers would settle what is inconclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairResult:
    """One pair over all workers."""

    a: str
    """Id of arm A's case."""
    b: str
    mode: str
    workers: tuple[WorkerPair, ...]
    median_a: float | None
    """Median over the workers of the median time of one launch, in nanoseconds."""
    median_b: float | None
    found: PairVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlResult:
    """A against A."""

    case: str
    failed: bool
    change: float | None
    change_low: float | None
    change_high: float | None
    workers: int
    explanation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DuetResult:
    """A whole comparison."""

    verdict: str
    """The worst of its pairs: `regressed`, else `inconclusive`, else `improved`, else `pass`."""
    pairs: tuple[PairResult, ...]
    """Worst first."""
    control: ControlResult | None
    workers: int
    """Processes that took part."""
    alone: tuple[str, ...]
    """Ids of cases that only one arm has."""
    flags: tuple[str, ...]
    """`null_control_failed`, `drill`: remarks on the whole comparison."""
    device: DeviceInfo | None
    environment: Environment | None
    duration_seconds: float
    troubles: tuple[str, ...] = ()
    """What became of workers that did not get through."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the two arms were: specs, bundles, overrides."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON types, every sample included."""
        data: dict[str, Any] = encode(self)
        for told, pair in zip(data["pairs"], self.pairs, strict=True):
            for item, worker in zip(told["workers"], pair.workers, strict=True):
                item["a"], item["b"] = worker.a.to_dict(), worker.b.to_dict()
        return data
