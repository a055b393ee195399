"""Whether a bundle is sound: everything that can be known before its times are believed."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tesserabench.bench.bundle.compiling import ARCHITECTURES, CompileError, compile_source, nvrtc
from tesserabench.bench.bundle.declared import Declared, DeclaredKernel
from tesserabench.bench.bundle.declared_benchmark import benchmark_of
from tesserabench.bench.bundle.expression import ExpressionError
from tesserabench.bench.bundle.loading import Bundle, load_bundle
from tesserabench.bench.bundle.manifest import Manifest, read_manifest
from tesserabench.bench.bundle.sources import cuda_source
from tesserabench.bench.case import Case
from tesserabench.bench.definition import Benchmark
from tesserabench.bench.device import device_kind
from tesserabench.bench.errors import BenchError, BundleError
from tesserabench.bench.kernels import parse
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
MOST_CASES = 6
"""Cases of a benchmark that are run, the smallest of the smoke tier."""


class Status(StrEnum):
    """What became of a check."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at: what, how it ended, and where and why when it failed or was left out."""

    subject: str
    status: Status
    message: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the check as JSON types."""
        return {name: str(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Check":
        """Read what `to_dict` wrote."""
        return cls(subject=str(data["subject"]), status=Status(data["status"]), message=str(data.get("message", "")))


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
            yield _check(f"{benchmark.name}: cases and formulas", lambda item=benchmark: _formulas(item))
            if benchmark.name in declared:
                yield from _declared(declared[benchmark.name], benchmark)
    yield from _kernels(manifest, architectures)
    for device in devices:
        yield from _runs(bundle, device)


def _check(subject: str, look: Any) -> Check:
    try:
        message = look()
    except (BenchError, ExpressionError, CompileError) as error:
        return Check(subject=subject, status=Status.FAILED, message=str(error))
    except Exception as error:  # noqa: BLE001 - a formula in Python may raise anything
        return Check(subject=subject, status=Status.FAILED, message=f"{type(error).__name__}: {error}")
    return Check(subject=subject, status=Status.PASSED, message=message)


def _every_case(benchmark: Benchmark) -> list[Case]:
    found = [
        case
        for kind in benchmark.devices
        for tier in Tier
        if benchmark.in_tier(tier, kind)
        for case in benchmark.cases(tier, kind)
    ]
    return list(dict.fromkeys(found))


def _formulas(benchmark: Benchmark) -> str:
    cases = _every_case(benchmark)
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
    cases = _every_case(benchmark)
    kernels = [declared.kernel, *([declared.reference_kernel] if declared.reference_kernel else [])]
    yield _check(f"{benchmark.name}: launch shape", lambda: _launch_shapes(kernels, cases))
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

    return _check(subject, look)


def _kernels(manifest: Manifest, architectures: Sequence[str]) -> Iterator[Check]:
    folder = manifest.folder / manifest.kernels
    binding = nvrtc()
    sources = sorted(folder.rglob("*.cu")) if folder.is_dir() else []
    try:
        jobs = [*_declared_builds(manifest, folder), *_free_builds(manifest, folder, sources)]
    except BundleError as error:
        yield Check(subject="kernels: definitions", status=Status.FAILED, message=str(error))
        return
    if binding is None and jobs:
        message = "NVRTC is not installed here; install tesserabench[cuda13] to compile without a GPU"
        yield Check(subject="kernels: compile", status=Status.SKIPPED, message=message)
        return
    for job in jobs:
        yield _check(job.subject, lambda job=job: job.compile(binding, architectures))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Build:
    """A source with its definitions, to be compiled; `function` is empty where any will do."""

    path: Path
    root: Path
    function: str
    options: tuple[str, ...]

    @property
    def subject(self) -> str:
        words = [self.path.relative_to(self.root).as_posix(), *(word for word in self.options if word[:2] == "-D")]
        return f"kernel {' '.join(words)}"

    def compile(self, binding: Any, architectures: Sequence[str]) -> str:
        source = cuda_source(self.path, root=self.root)
        for architecture in architectures:
            try:
                found = compile_source(
                    binding, source, name=self.path.name, options=self.options, architecture=architecture
                )
            except CompileError as error:
                raise CompileError(f"for sm_{architecture}: {error}") from None
            if self.function and self.function not in found:
                raise CompileError(
                    f"has no kernel {self.function!r}; it has: {', '.join(found) or 'none'} "
                    '(declare it extern "C" __global__, or its name is mangled)'
                )
        return f"sm_{' sm_'.join(architectures)}"


def _declared_builds(manifest: Manifest, folder: Path) -> list[_Build]:
    found: dict[_Build, None] = {}
    for declared in manifest.declared:
        points = [case.params for case in _cases_of(declared, manifest)]
        for kernel in filter(None, (declared.kernel, declared.reference_kernel)):
            for params in points:
                try:
                    defines = kernel.definitions(params)
                except ExpressionError as error:
                    raise declared.table.error("defines", str(error)) from None
                options = (*kernel.options, *(f"-D{name}={value}" for name, value in sorted(defines.items())))
                path = folder / kernel.source
                found[_Build(path=path, root=folder, function=kernel.function, options=options)] = None
    return list(found)


def _cases_of(declared: Declared, manifest: Manifest) -> list[Case]:
    return _every_case(benchmark_of(declared, manifest))


def _free_builds(manifest: Manifest, folder: Path, sources: list[Path]) -> list[_Build]:
    """Sources that only Python names: compiled as their first lines say (`// variants: NAME=VALUE,VALUE`)."""
    declared = {
        (folder / kernel.source).resolve()
        for item in manifest.declared
        for kernel in (item.kernel, item.reference_kernel)
        if kernel is not None
    }
    found: list[_Build] = []
    for path in sources:
        if path.resolve() in declared:
            continue
        try:
            variants = parse(path.stem, path.read_text(encoding="utf-8"), lambda _: "").variants
        except (ValueError, OSError) as error:
            raise BundleError(str(error), place=str(path)) from None
        for variant in variants:
            options = tuple(f"-D{name}={value}" for name, value in sorted(variant.items()))
            found.append(_Build(path=path, root=folder, function="", options=options))
    return found


def _runs(bundle: Bundle, device: str) -> Iterator[Check]:
    kind = device_kind(device)
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
        return Check(subject=subject, status=Status.SKIPPED, message=measured.reason)
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
