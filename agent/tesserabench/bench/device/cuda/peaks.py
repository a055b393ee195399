"""What a device could do at most by its clocks and widths: rates above them are a mistake of the measurement."""

from collections.abc import Mapping, Sequence

_DTYPES = ("float64", "float32", "tf32", "float16", "bfloat16", "int8", "float8_e4m3")
_OPERATIONS: Mapping[str, Sequence[int]] = {
    "8.0": (128, 128, 1024, 2048, 2048, 4096),
    "8.6": (4, 256, 512, 1024, 1024, 2048),
    "8.9": (4, 256, 512, 1024, 1024, 2048, 2048),
    "9.0": (256, 256, 2048, 4096, 4096, 8192, 8192),
    "10.0": (128, 256, 4096, 8192, 8192, 16384, 16384),
    "12.0": (4, 256, 512, 1024, 1024, 2048, 2048),
}
"""Operations of one multiprocessor in a cycle by dtype, dense, a fused multiply-add counted as two; the faster of its
ordinary and its tensor units. Ordinary units: CUDA C++ Programming Guide, "Throughput of Native Arithmetic
Instructions". Tensor units: the data sheets' rates over multiprocessors and boost clock (A100 312 TFLOP/s float16 from
108 at 1.41 GHz; A40 150 from 84 at 1.74; L40S 362 from 142 at 2.52; H100 989 from 132 at 1.83; B200 2250 from 148 at
1.85; RTX PRO 6000 504 from 188 at 2.62). Where data sheets disagree, the larger: too high a peak accuses nobody."""


def peak_flops(compute_capability: str, processors: int, clock_hz: float) -> dict[str, float]:
    """Return FLOP/s by dtype at a clock; nothing for a device whose units are not in the table."""
    operations = zip(_DTYPES, _OPERATIONS.get(compute_capability, ()), strict=False)
    return {dtype: float(count * processors * clock_hz) for dtype, count in operations}


def peak_bandwidth(memory_clock_hz: float, bus_bits: int) -> float:
    """Return B/s of a memory that transfers twice a cycle, as every GDDR and HBM does."""
    return 2 * memory_clock_hz * bus_bits / 8
