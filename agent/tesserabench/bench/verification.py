"""Whether outputs are right: relative Frobenius error against a float64 reference, over poisoned memory."""

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.case import Case
from tesserabench.bench.definition import Benchmark
from tesserabench.bench.device.protocol import CheckedInputs, Device, Workload
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.measurement import Correctness
from tesserabench.bench.vocabulary import Outcome

if TYPE_CHECKING:
    import numpy.typing as npt
    from tesserabench.bench.device.protocol import HostArrays

METRIC = "relative_frobenius_error"
LIMITS = {
    "float64": 1e-12,
    "complex128": 1e-12,
    "float32": 1e-5,
    "complex64": 1e-5,
    "tf32": 2e-3,
    "float16": 3e-3,
    "bfloat16": 1e-2,
    "float8_e4m3": 6e-2,
    "float8_e5m2": 1.2e-1,
    "int8": 0.0,
    "uint8": 0.0,
    "int32": 0.0,
    "uint32": 0.0,
    "int64": 0.0,
    "uint64": 0.0,
}
"""Largest ||out - ref|| / ||ref|| that counts as correct, by dtype of the inputs. e5m2 has one bit less than e4m3."""


def relative_error(output: "npt.NDArray[Any]", reference: "npt.NDArray[Any]") -> float | None:
    """Return ||output - reference|| / ||reference|| in float64; None for a wrong shape or anything not finite."""
    if output.shape != reference.shape or not np.all(np.isfinite(output)):
        return None
    if np.array_equal(output, reference):
        return 0.0
    wide = np.complex128 if np.iscomplexobj(output) or np.iscomplexobj(reference) else np.float64
    exact = reference.astype(wide)
    difference = float(np.linalg.norm((output.astype(wide) - exact).ravel()))
    scale = float(np.linalg.norm(exact.ravel()))
    if difference == 0:
        # Whole numbers beyond 2^53 that differ, and no longer do in float64.
        return math.ulp(1.0)
    return difference / scale if scale > 0 else math.inf


def limit_of(benchmark: Benchmark, case: Case) -> float:
    """Return the largest error that counts as correct: the benchmark's own tolerance, else that of the dtype."""
    if benchmark.tolerance is not None:
        return benchmark.tolerance(case.params)
    dtype = str(case.params.get("dtype", "float64"))
    if dtype not in LIMITS:
        raise CaseFailure(
            Outcome.HARNESS_ERROR,
            f"dtype {dtype!r} has no limit for its error; give {benchmark.name} a tolerance, "
            f"or use one of: {', '.join(LIMITS)}",
        )
    return LIMITS[dtype]


def compare(outputs: "HostArrays", reference: "HostArrays", limit: float, *, poisoned: bool) -> Correctness:
    """Return the worst error over all outputs; raise CaseFailure when the reference names one that is not there."""
    if unknown := [name for name in reference if name not in outputs]:
        raise CaseFailure(
            Outcome.HARNESS_ERROR,
            f"reference() names {', '.join(map(repr, unknown))}, which outputs() does not give; "
            f"it gives: {', '.join(map(repr, outputs)) or 'nothing'}",
        )
    errors = [relative_error(outputs[name], exact) for name, exact in reference.items()]
    known = [error for error in errors if error is not None]
    worst = max(known, default=0.0) if len(known) == len(errors) else None
    return Correctness(
        metric=METRIC,
        value=worst if worst is not None and math.isfinite(worst) else None,
        limit=limit,
        passed=worst is not None and worst <= limit,
        poisoned=poisoned,
    )


def spread_of_errors(outputs: "HostArrays", reference: "HostArrays", limit: float) -> tuple[float, float]:
    """Return the largest absolute error, and the share of elements off by more than they may.

    An element may be off by the limit times its own size or the root mean square of all, whichever is larger: beside
    large numbers a small one cannot be exact. Arrays are finite and of equal shape.
    """
    largest, outside, count = 0.0, 0, 0
    for name, found in outputs.items():
        if name not in reference or found.size == 0:
            continue
        wide = np.complex128 if np.iscomplexobj(found) or np.iscomplexobj(reference[name]) else np.float64
        exact = reference[name].astype(wide)
        errors = np.abs(found.astype(wide) - exact)
        sizes = np.abs(exact)
        root_mean_square = float(np.sqrt(np.mean(sizes * sizes)))
        largest = max(largest, float(errors.max()))
        outside += int(np.count_nonzero(errors > limit * np.maximum(sizes, root_mean_square)))
        count += found.size
    return largest, outside / count if count else 0.0


def require(correctness: Correctness, when: str) -> None:
    """Raise CaseFailure(incorrect) with the error, the limit and the remedy unless the check passed."""
    if correctness.passed:
        return
    found = (
        "is not finite or has the wrong shape" if correctness.value is None else f"is off by {correctness.value:.3g}"
    )
    raise CaseFailure(
        Outcome.INCORRECT,
        f"{when} the output {found} (relative Frobenius error, limit {correctness.limit:.3g}); "
        "the kernel computes something else than its float64 reference: do not use its times",
    )


def fingerprint(outputs: "HostArrays") -> str:
    """Return a digest of outputs, equal exactly when all their bits are."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(outputs):
        digest.update(name.encode())
        digest.update(outputs[name].tobytes())
    return digest.hexdigest()


class Verifier:
    """Checks the outputs of one case, which may have several sets of them; the first set has a reference."""

    def __init__(self, device: Device, workloads: Sequence[Workload], limit: float) -> None:
        self._device, self._workloads, self._limit = device, workloads, limit
        self._reference = workloads[0].reference()
        self._inputs = self._checksums()
        self._poison: str | None = None
        self.last: Correctness | None = None
        """What the latest check found; None before it, and for work without a reference."""

    @property
    def checked(self) -> bool:
        """Whether there is anything to compare."""
        return bool(self._reference)

    def open(self) -> None:
        """Poison all outputs, launch everything once, and raise CaseFailure(incorrect) unless the result is right."""
        self.poison()
        if len(self._workloads) > 1:
            self._poison = fingerprint(self._workloads[0].outputs())
        for workload in self._workloads:
            workload.launch()
        self._device.synchronize()
        if not self.checked:
            return
        outputs = self._workloads[0].outputs()
        found = compare(outputs, self._reference, self._limit, poisoned=True)
        self.last = found
        require(found, "before measuring")
        largest, outside = spread_of_errors(outputs, self._reference, self._limit)
        self.last = Correctness(
            metric=found.metric,
            value=found.value,
            limit=found.limit,
            passed=True,
            poisoned=True,
            max_abs_error=largest,
            outside_tolerance=outside,
        )

    def poison(self) -> None:
        """Fill the outputs of every set."""
        for workload in self._workloads:
            workload.poison()
        self._device.synchronize()

    def require(self, when: str) -> None:
        """Raise CaseFailure(incorrect) unless the outputs, poisoned a while ago, are right now."""
        self._device.synchronize()
        if not self.checked:
            return
        found = compare(self._workloads[0].outputs(), self._reference, self._limit, poisoned=True)
        if not found.passed:
            self.last = found
        require(found, when)

    def require_intact_inputs(self) -> None:
        """Raise CaseFailure(incorrect) when the inputs are not what they were."""
        if self._checksums() != self._inputs:
            raise CaseFailure(
                Outcome.INCORRECT,
                "after measuring the inputs are not what they were before; "
                "the kernel writes over its inputs, so that its launches did not all do the same work",
            )

    def unvisited(self) -> int | None:
        """Return how many sets were not written since they were poisoned; None where outputs cannot tell."""
        if self._poison is None or not self._workloads[0].outputs():
            return None
        return sum(fingerprint(workload.outputs()) == self._poison for workload in self._workloads)

    def determinism(self, launches: int) -> float | None:
        """Return the share of repeated launches whose outputs equal the first one's bit by bit; None below two."""
        if launches < 2 or not self._workloads[0].outputs():
            return None
        prints = [self._launched() for _ in range(launches)]
        return sum(found == prints[0] for found in prints[1:]) / (launches - 1)

    def _launched(self) -> str:
        self._workloads[0].poison()
        self._workloads[0].launch()
        self._device.synchronize()
        return fingerprint(self._workloads[0].outputs())

    def _checksums(self) -> list[str]:
        return [workload.checksum() for workload in self._workloads if isinstance(workload, CheckedInputs)]
