"""The rates this device reaches right now, probed in the same trial: what other results are measured against."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from statistics import median

from tesserabench.bench.case import Case, Params, ParamValue
from tesserabench.bench.definition import Benchmark
from tesserabench.bench.device.protocol import Device, TimingOrder, Workload
from tesserabench.bench.dtypes import real_dtype
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.measurement import Ceilings
from tesserabench.bench.registry import INSTALLED
from tesserabench.bench.timing.rotation import close_all
from tesserabench.bench.vocabulary import DeviceKind, Mode, Phase

COPY = "memory/copy"
MATMUL = "gemm/matmul"
LAUNCHES = 5
"""The best of this many launches is the ceiling, after one that warms up."""
BANDWIDTH = "bandwidth"
"""Name of the ceiling of memory; those of arithmetic have the names of their dtypes."""
DRIFT_LIMIT = 0.02
NOISE_SPREADS = 3.0
"""So many times the spread of its launches a ceiling may move by chance."""

_MATMUL_SIZE = {DeviceKind.CPU: 1024, DeviceKind.CUDA: 8192, DeviceKind.SIMULATED: 8192}
_COPY_BYTES = {DeviceKind.CUDA: 1 << 30, DeviceKind.SIMULATED: 1 << 30}
_CPU_COPY_BYTES = (64 << 20, 128 << 20)
"""Least and most bytes of one array on a CPU; in between, the size of the last-level cache."""


def copy_elements(device: Device) -> int:
    """Return how many float32 a probe copies: far more than the cache holds, far less than the memory."""
    kind = device.info.kind
    if kind is DeviceKind.CPU:
        size = min(max(device.info.cache_bytes or 0, _CPU_COPY_BYTES[0]), _CPU_COPY_BYTES[1])
    else:
        size = _COPY_BYTES[kind]
    if device.info.memory_bytes is not None:
        size = min(size, device.info.memory_bytes // 16)
    return size // 4


def rate_ceiling(ceilings: Ceilings, dtype: str | None, flops: int | None, size: int | None) -> float | None:
    """Return the launch rate (1/s) the roofline allows for this work, or None when a needed ceiling is unknown.

    The lower of ceil_flops / flops and ceil_bandwidth / bytes (Williams et al., Roofline, 2009).
    """
    limits: list[float] = []
    if flops:
        peak = ceilings.flops.get(real_dtype(dtype or ""))
        if peak is None:
            return None
        limits.append(peak / flops)
    if size:
        if ceilings.bandwidth is None:
            return None
        limits.append(ceilings.bandwidth / size)
    return min(limits, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """The ceilings of one moment, and how sure they are."""

    ceilings: Ceilings
    spreads: Mapping[str, float]
    """By name of the ceiling: how far its median launch was behind its best one, as a fraction."""


class CeilingProbe:
    """Probes the copy bandwidth and the matrix product of each dtype; what the device cannot do stays absent.

    A CPU takes seconds to make the inputs, so it keeps them from the first probe to the last.
    """

    def __init__(self, device: Device, dtypes: Iterable[str], keep_going: Callable[[], None]) -> None:
        self._device, self._keep_going = device, keep_going
        self._dtypes = sorted({real_dtype(dtype) for dtype in dtypes})
        self._kept: dict[str, Workload] = {}
        self._absent: set[str] = set()

    def probe(self) -> Probed:
        """Return the best rates right now."""
        spreads: dict[str, float] = {}
        bandwidth = self._rate(COPY, {"n": copy_elements(self._device), "dtype": "float32"}, BANDWIDTH, spreads)
        size = _MATMUL_SIZE[self._device.info.kind]
        flops: dict[str, float] = {}
        for dtype in self._dtypes:
            rate = self._rate(MATMUL, {"m": size, "n": size, "k": size, "dtype": dtype}, dtype, spreads)
            if rate is not None:
                flops[dtype] = rate
        return Probed(ceilings=Ceilings(bandwidth=bandwidth, flops=flops), spreads=spreads)

    def close(self) -> None:
        """Give the inputs back."""
        kept, self._kept = tuple(self._kept.values()), {}
        close_all(kept)

    def _rate(self, name: str, values: dict[str, ParamValue], ceiling: str, spreads: dict[str, float]) -> float | None:
        benchmark = INSTALLED.find_benchmark(name)
        if ceiling in self._absent or (ceiling != BANDWIDTH and ceiling not in benchmark.domain["dtype"]):
            return None
        defaults = {axis: known[0] for axis, known in benchmark.domain.items()}
        case = Case(benchmark=name, params=Params({**defaults, **values}), version=benchmark.version)
        self._device.begin(case, Phase.CEILING)
        try:
            times = self._time(benchmark, case, ceiling)
        except Exception as error:
            failure = self._device.failure(error)
            if isinstance(failure, CaseFailure) and not failure.fatal:
                self._absent.add(ceiling)
                return None
            raise failure from error
        best = min(times)
        if best <= 0:
            return None
        spreads[ceiling] = median(times) / best - 1
        return _work(benchmark, case) / (best / 1e9)

    def _time(self, benchmark: Benchmark, case: Case, ceiling: str) -> tuple[int, ...]:
        workload = self._kept.get(ceiling) or self._device.prepare(benchmark, case, seed=0)
        try:
            with closing(self._device.arm((workload,), TimingOrder(mode=Mode.HOT))) as timing:
                self._keep_going()
                timing.take(1)
                self._keep_going()
                return timing.take(LAUNCHES).total_ns
        finally:
            if self._device.info.kind is DeviceKind.CPU:
                self._kept[ceiling] = workload
            else:
                close_all((workload,))


def drifted(opening: Probed, closing_probe: Probed) -> tuple[str, ...]:
    """Return the names of the ceilings that moved by more than 2 %, and by more than their own noise explains."""
    before, after = _named(opening.ceilings), _named(closing_probe.ceilings)
    moved = []
    for name in before.keys() & after.keys():
        noise = NOISE_SPREADS * max(opening.spreads.get(name, 0.0), closing_probe.spreads.get(name, 0.0))
        if abs(after[name] / before[name] - 1) > max(DRIFT_LIMIT, noise):
            moved.append(name)
    return tuple(sorted(moved))


def _named(ceilings: Ceilings) -> dict[str, float]:
    bandwidth = {} if ceilings.bandwidth is None else {BANDWIDTH: ceilings.bandwidth}
    return {**bandwidth, **ceilings.flops}


def _work(benchmark: Benchmark, case: Case) -> int:
    formula = benchmark.flops if benchmark.name == MATMUL else benchmark.bytes
    assert formula is not None, f"{benchmark.name} has lost the formula its ceiling needs"
    return formula(case.params)
