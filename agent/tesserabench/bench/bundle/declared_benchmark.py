"""A declared kernel as a Benchmark of the engine."""

from typing import TYPE_CHECKING

from tesserabench.bench.bundle.declared import Declared
from tesserabench.bench.bundle.expression import Expression, ExpressionError
from tesserabench.bench.case import Params
from tesserabench.bench.definition import Benchmark, Count
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.errors import BundleError
from tesserabench.bench.vocabulary import DeviceKind, Mode, Tier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tesserabench.bench.bundle.manifest import Manifest
    from tesserabench.bench.definition import Axes

DEVICES = (DeviceKind.CUDA, DeviceKind.SIMULATED)
LIMITS = {"float16": 3e-3, "float32": 1e-5, "float64": 1e-12}
"""Largest relative error of an output, by its dtype, as for the installed benchmarks; whole numbers must be equal."""


def benchmark_of(declared: Declared, manifest: "Manifest") -> Benchmark:
    """Return the benchmark; its work is prepared on CUDA devices, and priced by its formulas on simulated ones."""
    return Benchmark(
        name=f"{manifest.name}/{declared.name}",
        suite=manifest.name,
        summary=declared.summary,
        prepare=lambda device, params, seed: _prepare(declared, manifest, device, params, seed),
        parameters=declared.parameters,
        tiers=_by_tier(declared.tiers),
        device_tiers={DeviceKind(kind): _by_tier(tiers) for kind, tiers in declared.device_tiers.items()},
        devices=DEVICES,
        flops=_count(declared, "flops", declared.flops),
        bytes=_count(declared, "bytes", declared.bytes),
        items=_count(declared, "items", declared.items),
        tolerance=lambda params: _tolerance(declared, params),
        version=declared.version,
        mode=Mode(declared.mode),
        modes=frozenset(Mode(mode) for mode in declared.modes) | {Mode(declared.mode)},
        inputs=" ".join(sorted({item.distribution for item in declared.inputs})) or "none",
    )


def _tolerance(declared: Declared, params: Params) -> float:
    """Return the manifest's limit, else that of the least precise output."""
    if declared.tolerance is not None:
        return declared.tolerance
    return max(LIMITS.get(item.dtype_of(params), 0.0) for item in declared.outputs)


def _by_tier(tiers: "Mapping[str, Axes]") -> "dict[Tier, Axes]":
    return {Tier(tier): axes for tier, axes in tiers.items()}


def _count(declared: Declared, key: str, formula: Expression | None) -> Count | None:
    if formula is None:
        return None
    known = formula

    def count(params: Params) -> int:
        try:
            found = known.integer(params)
        except ExpressionError as error:
            raise declared.table.error(key, str(error)) from None
        if found < 0:
            raise declared.table.error(key, f"is {found} for {dict(params)}; it must be zero or more")
        return found

    return count


def _prepare(declared: Declared, manifest: "Manifest", device: ArrayDevice, params: Params, seed: int) -> Workload:
    # NumPy is imported when work is prepared, not when suites are listed.
    from tesserabench.bench.bundle.declared_work import DeclaredWork  # noqa: PLC0415

    folder = manifest.folder / manifest.kernels
    try:
        return DeclaredWork(declared, folder, device, params, seed)
    except ExpressionError as error:
        raise BundleError(f"benchmark {declared.name}, case {dict(params)}: {error}") from None
