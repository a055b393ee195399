"""Whether outputs are right: relative Frobenius error against a float64 reference."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.case import Case
from tesserabench.bench.definition import Benchmark
from tesserabench.bench.device.protocol import Device, Workload
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
    "float16": 3e-3,
    "bfloat16": 1e-2,
}
"""Largest ||out - ref|| / ||ref|| that counts as correct, by dtype of the output."""


def relative_error(output: "npt.NDArray[Any]", reference: "npt.NDArray[Any]") -> float | None:
    """Return ||output - reference|| / ||reference|| in float64; None for a wrong shape or anything not finite."""
    if output.shape != reference.shape or not np.all(np.isfinite(output)):
        return None
    wide = np.complex128 if np.iscomplexobj(output) or np.iscomplexobj(reference) else np.float64
    exact = reference.astype(wide)
    difference = float(np.linalg.norm((output.astype(wide) - exact).ravel()))
    scale = float(np.linalg.norm(exact.ravel()))
    if difference == 0:
        return 0.0
    return difference / scale if scale > 0 else math.inf


def limit_of(benchmark: Benchmark, case: Case) -> float:
    """Return the largest error that counts as correct: the benchmark's own tolerance, else that of the dtype."""
    if benchmark.tolerance is not None:
        return benchmark.tolerance(case.params)
    return LIMITS[str(case.params.get("dtype", "float64"))]


def compare(outputs: "HostArrays", reference: "HostArrays", limit: float, *, poisoned: bool) -> Correctness:
    """Return the worst error over all outputs."""
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


def verify(device: Device, workload: Workload, reference: "HostArrays", limit: float) -> Correctness:
    """Poison the outputs, launch once, and return how they compare with the reference."""
    workload.poison()
    workload.launch()
    device.synchronize()
    return compare(workload.outputs(), reference, limit, poisoned=True)
