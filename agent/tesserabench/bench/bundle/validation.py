"""Whether a bundle is sound: everything that can be known before its times are believed."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tesserabench.bench.bundle.checks import Check, Status, check, every_case
from tesserabench.bench.bundle.compiling import ARCHITECTURES
from tesserabench.bench.bundle.declared import Declared, DeclaredKernel
from tesserabench.bench.bundle.kernel_checks import compiled
from tesserabench.bench.bundle.loading import Bundle, load_bundle
from tesserabench.bench.bundle.manifest import read_manifest
from tesserabench.bench.case import Case
from tesserabench.bench.definition import Benchmark
from tesserabench.bench.device import device_kind
from tesserabench.bench.errors import BenchError, BundleError
from tesserabench.bench.local import run_locally
from tesserabench.bench.plan import MeasureOptions
from tesserabench.bench.vocabulary import DeviceKind, Outcome, Tier

if TYPE_CHECKING:
    from tesserabench.bench.measurement import Measurement

MOST_THREADS = 1024
MOST_SHARED_BYTES = 227 << 10
"""Dynamic shared memory of a block, the most of any device up to sm_100."""
MOST_BLOCKS = (2**31 - 1, 65535, 65535)
MOST_REFERENCE_ELEMENTS = 1 << 24
"""References of larger cases are not computed without a device: that would take long and tell little more."""
_NO_COMPILE = "does not compile"
MOST_CASES = 6
"""Cases of a benchmark that are run, the smallest of the smoke tier."""


def examine(
    folder: Path, *, devices: Sequence[str] = ("cpu",), architectures: Sequence[str] = ARCHITECTURES
) -> Iterator[Check]:
    """Yield the checks of a bundle as they are made; a bundle that cannot be loaded is one failed check."""
    try:
        bundle = load_bundle(folder)
        manifest = read_manifest(bundle.folder)
    except BenchError as error:
        yield Check(subject="load", status=Status.FAILED, message=str(error))
        return
    yield Check(subject="load", status=Status.PASSED, message=f"{bundle.name}, digest {bundle.digest[:12]}")
    declared = {f"{manifest.name}/{item.name}": item for item in manifest.declared}
    for suite in bundle.registry.suites():
        for benchmark in suite.benchmarks:
            yield check(f"{benchmark.name}: cases and formulas", partial(_formulas, benchmark))
            if benchmark.name in declared:
                yield from _declared(declared[benchmark.name], benchmark)
    yield from compiled(manifest, architectures)
    for device in devices:
        yield from _runs(bundle, device)


def _formulas(benchmark: Benchmark) -> str:
    cases = every_case(benchmark)
    if not cases:
        raise BundleError(f"{benchmark.name} has no case in any tier; give its parameters values")
    for case in cases:
        for name in ("flops", "bytes", "items"):
            count = getattr(benchmark, name)
            found = None if count is None else count(case.params)
            if found is not None and (isinstance(found, bool) or not isinstance(found, int) or found < 0):
                raise BundleError(f"{name} of {case.id} is {found!r}; it must be a whole number of zero or more")
        limit = 0.0 if benchmark.tolerance is None else benchmark.tolerance(case.params)
        if not math.isfinite(limit) or limit < 0:
            raise BundleError(f"tolerance of {case.id} is {limit!r}; it must be a relative error of zero or more")
    without = "" if benchmark.flops or benchmark.bytes else "; without flops or bytes there is no rate and no ceiling"
    return f"{len(cases)} case(s){without}"


def _declared(declared: Declared, benchmark: Benchmark) -> Iterator[Check]:
    cases = every_case(benchmark)
    kernels = [declared.kernel, *([declared.reference_kernel] if declared.reference_kernel else [])]
    yield check(f"{benchmark.name}: launch shape", lambda: _launch_shapes(kernels, cases))
    if declared.reference:
        yield _reference(declared, benchmark.name, cases)


def _launch_shapes(kernels: list[DeclaredKernel], cases: list[Case]) -> str:
    for kernel in kernels:
        for case in cases:
            grid, block, shared = kernel.launch_shape(case.params)
            what = f"{kernel.function} in {case.id}"
            if min(block) < 1 or math.prod(block) > MOST_THREADS:
                raise BundleError(f"block of {what} is {block}; it must have 1 to {MOST_THREADS} threads")
            if min(grid) < 1 or any(found > most for found, most in zip(grid, MOST_BLOCKS, strict=False)):
                raise BundleError(f"grid of {what} is {grid}; it must be between 1 and {MOST_BLOCKS}")
            if not 0 <= shared <= MOST_SHARED_BYTES:
                raise BundleError(f"shared_bytes of {what} is {shared}; it must be 0 to {MOST_SHARED_BYTES}")
    return ""


def _reference(declared: Declared, name: str, cases: list[Case]) -> Check:
    subject = f"{name}: reference"
    # NumPy is needed from here on, not to list a bundle.
    from tesserabench.bench.bundle.declared_work import DeclaredArrays, shape_of  # noqa: PLC0415

    def elements(case: Case) -> int:
        arrays = (*declared.inputs, *declared.outputs)
        return sum(math.prod(shape_of(item, case.params)) for item in arrays)

    def look() -> str:
        import numpy as np  # noqa: PLC0415 - see above

        smallest = min(cases, key=elements)
        if elements(smallest) > MOST_REFERENCE_ELEMENTS:
            return f"not computed: its smallest case has {elements(smallest)} elements; it is checked on the device"
        with np.errstate(all="ignore"):
            found = DeclaredArrays(declared, np, smallest.params, 0).formulas()
        for output, values in found.items():
            if not np.all(np.isfinite(values)):
                raise BundleError(f"the reference of {output!r} is not finite everywhere in {smallest.id}")
        return f"finite, of the right shape in {smallest.id}"

    return check(subject, look)


def _runs(bundle: Bundle, device: str) -> Iterator[Check]:
    try:
        kind = device_kind(device)
    except BenchError as error:
        yield Check(subject=f"device {device}", status=Status.FAILED, message=str(error))
        return
    for suite in bundle.registry.suites():
        for benchmark in suite.benchmarks:
            if kind not in benchmark.devices:
                message = f"it runs on: {', '.join(benchmark.devices)}"
                yield Check(subject=f"{benchmark.name} on {device}", status=Status.SKIPPED, message=message)
                continue
            yield from _run(bundle, benchmark, device, kind)


def _run(bundle: Bundle, benchmark: Benchmark, device: str, kind: DeviceKind) -> Iterator[Check]:
    tier = next(item for item in Tier if benchmark.in_tier(item, kind))

    def size(case: Case) -> int:
        return benchmark.bytes(case.params) if benchmark.bytes else 0

    cases = sorted(benchmark.cases(tier, kind), key=size)[:MOST_CASES]
    options = replace(MeasureOptions.for_tier(Tier.SMOKE), probe_ceilings=False, budget_seconds=0.2, require_idle=False)
    for case in cases:
        subject = f"{case.id} on {device}"
        overrides = {f"{benchmark.short_name}.{name}": _written(value) for name, value in case.params.items()}
        try:
            result = run_locally(
                benchmark.suite,
                device=device,
                tier=tier,
                overrides=overrides,
                include=f"^{re.escape(case.id)}$",
                options=options,
                registry=bundle.registry,
            )
        except BenchError as error:
            yield Check(subject=subject, status=Status.FAILED, message=str(error))
            return
        measured = result.measurements[0] if result.measurements else None
        yield _judged(subject, measured, result.reason)


def _judged(subject: str, measured: "Measurement | None", reason: str) -> Check:
    if measured is None:
        return Check(subject=subject, status=Status.FAILED, message=reason or "nothing was measured")
    if measured.outcome is Outcome.UNSUPPORTED:
        # What the device says of a kernel that it cannot compile is a fault of the bundle.
        status = Status.FAILED if _NO_COMPILE in measured.reason else Status.SKIPPED
        return Check(subject=subject, status=status, message=measured.reason)
    if measured.outcome is not Outcome.OK:
        return Check(subject=subject, status=Status.FAILED, message=f"{measured.outcome}: {measured.reason}")
    checked = measured.correctness
    if checked is None or checked.value is None:
        message = "measured; no reference, so that nothing says the outputs are right"
    else:
        message = f"error {checked.value:.2g}, limit {checked.limit:.2g}"
    return Check(subject=subject, status=Status.PASSED, message=message)


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
