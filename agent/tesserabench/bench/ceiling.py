"""The rates this device reaches right now, probed in the same trial: what other results are measured against."""

from collections.abc import Callable, Iterable
from contextlib import closing

from tesserabench.bench.case import Case, Params, ParamValue
from tesserabench.bench.definition import Benchmark
from tesserabench.bench.device.protocol import Device, TimingOrder
from tesserabench.bench.dtypes import real_dtype
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.measurement import Ceilings
from tesserabench.bench.registry import INSTALLED
from tesserabench.bench.vocabulary import DeviceKind, Mode, Phase

COPY = "memory/copy"
MATMUL = "gemm/matmul"
LAUNCHES = 5
"""The best of this many launches is the ceiling; the first one is a warm-up and does not count."""

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


def probe(device: Device, dtypes: Iterable[str], keep_going: Callable[[], None]) -> Ceilings:
    """Probe the copy bandwidth and the matrix product of each dtype; what the device cannot do stays absent."""
    bandwidth = _best_rate(device, COPY, {"n": copy_elements(device), "dtype": "float32"}, keep_going)
    size = _MATMUL_SIZE[device.info.kind]
    found: dict[str, float] = {}
    for dtype in sorted({real_dtype(dtype) for dtype in dtypes}):
        params: dict[str, ParamValue] = {"m": size, "n": size, "k": size, "dtype": dtype}
        rate = _best_rate(device, MATMUL, params, keep_going)
        if rate is not None:
            found[dtype] = rate
    return Ceilings(bandwidth=bandwidth, flops=found)


def _best_rate(
    device: Device, name: str, values: dict[str, ParamValue], keep_going: Callable[[], None]
) -> float | None:
    benchmark = INSTALLED.find_benchmark(name)
    case = Case(benchmark=name, params=Params(values), version=benchmark.version)
    device.begin(case, Phase.CEILING)
    try:
        workload = device.prepare(benchmark, case, seed=0)
        with closing(device.arm((workload,), TimingOrder(mode=Mode.HOT))) as timing:
            times: list[int] = []
            for _ in range(1 + LAUNCHES):
                keep_going()
                times.extend(timing.take(1).total_ns)
    except Exception as error:
        failure = device.failure(error)
        if isinstance(failure, CaseFailure) and not failure.fatal:
            return None
        raise failure from error
    best = min(times[1:])
    return _work(benchmark, case) / (best / 1e9) if best > 0 else None


def _work(benchmark: Benchmark, case: Case) -> int:
    formula = benchmark.flops if benchmark.name == MATMUL else benchmark.bytes
    assert formula is not None, f"{benchmark.name} has lost the formula its ceiling needs"
    return formula(case.params)
