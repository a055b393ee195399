"""The log of an attempt as the collector speaks of it: one class per kind of record.

Made by the API from the wire, checked there; whatever is here can be stored. Times are microseconds since 1970 by the
host's clock, because a batch has hundreds of them and they go to the database as integers.

`SampleStatistics`, `MetricValue` and `CaseFinished` are neither frozen nor made with keywords, although nobody changes
them: each of the two costs a factor of three in making one, and these are made tens of thousands of times a second.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tesserabench.collector.store.words import Outcome


@dataclass(slots=True)
class SampleStatistics:
    """Statistics of the samples of one measurement, in its unit; absent ones are None."""

    count: int
    minimum: float
    q1: float
    q3: float
    maximum: float
    mean: float
    stdev: float | None
    p5: float | None
    p95: float | None
    p99: float | None
    mad: float | None
    effective_count: float | None
    autocorrelation: float | None
    drift: float | None


@dataclass(slots=True)
class MetricValue:
    """One metric of one case in one trial.

    `samples` are little-endian float64 (whole numbers when the unit is ns), `columns` what `store.samples` packs.
    """

    metric: str
    unit: str
    better: str
    primary: bool
    value: float
    ci_low: float | None
    ci_high: float | None
    statistics: SampleStatistics | None
    samples: bytes | None
    columns: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseIdentity:
    """Which case it was. `static_json` is the beginning of the stored detail, the same for every result of the case."""

    case_id: str
    suite: str
    benchmark: str
    parameters: Mapping[str, str]
    static_json: str


@dataclass(slots=True)
class CaseFinished:
    """What one case gave in one trial. `detail_json` goes on from the case's `static_json`."""

    sequence: int
    time_us: int
    trial: int
    case: CaseIdentity
    mode: str
    outcome: Outcome
    reason: str
    stop_reason: str | None
    measured_us: int
    detail_json: str
    values: tuple[MetricValue, ...]
    arm: str = ""
    """Of an interleaved comparison; empty outside of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStarted:
    """A worker process started."""

    sequence: int
    time_us: int
    trial: int
    device: Mapping[str, Any]
    device_kind: str
    device_model: str
    comparability: str
    fingerprint: str
    facts: Mapping[str, str]
    state: Mapping[str, Any] | None
    seed: int
    context: Mapping[str, Any]
    """Clock policy, processors, NUMA node, order of the arms; what is absent on the wire is absent here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFinished:
    """A worker process ended."""

    sequence: int
    time_us: int
    trial: int
    outcome: Outcome
    reason: str
    state: Mapping[str, Any] | None
    throttle: str | None
    throttle_fractions: Mapping[str, float]
    ceilings: list[Mapping[str, Any]]
    exit_status: int | None
    startup_seconds: float | None
    telemetry: Mapping[str, Any]
    """Flags of the trial, and what the agent read of the device meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLines:
    """Lines that the worker or the agent wrote; `trial` is absent for the agent's own."""

    sequence: int
    time_us: int
    trial: int | None
    source: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFinished:
    """The last record of a log."""

    sequence: int
    time_us: int
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """A record that cannot be taken as it is: kept in quarantine with its bytes.

    What can be told from it goes on: `case` ends as a failure of the harness, `closing` ends the attempt so.
    """

    sequence: int
    time_us: int | None
    reason: str
    content: bytes
    trial: int | None = None
    case: CaseIdentity | None = None
    closing: bool = False


Record = CaseFinished | TrialStarted | TrialFinished | LogLines | AttemptFinished | Unusable


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Consecutive records, ascending by one.

    `size_bytes` is about what they occupy in memory; `content_of` gives a record as it came, by its position.
    """

    records: tuple[Record, ...]
    size_bytes: int
    content_of: Callable[[int], bytes]
