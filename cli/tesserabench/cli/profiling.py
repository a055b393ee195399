"""Profiling the cases of a result with Nsight Compute, after they were timed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tesserabench.cli.errors import UsageProblem


def require_profilable(device: str, *, bundle: bool, trials: int) -> None:
    """Refuse what cannot be profiled, before anything is measured.

    Raises:
        UsageProblem: the device is no CUDA device, the cases are a bundle's, or there are several trials.
    """
    if device.partition(":")[0] != "cuda":
        raise UsageProblem(f"--profile needs a CUDA device, not {device}; add --device cuda")
    if bundle:
        raise UsageProblem("--profile profiles installed benchmarks only; profile a bundle with ncu itself")
    if trials > 1:
        raise UsageProblem(f"--profile profiles one launch of each case; leave --trials {trials} out")


def profiled(library: Any, result: Any, folder: Path, *, device: str, tell: Callable[[str], None]) -> Any:
    """The result with what the profiler counted; a case that cannot be profiled keeps its times and is told of."""
    from tesserabench.bench.device.cuda.profile import profile_case  # noqa: PLC0415 - with the library

    found: list[Any] = []
    for measurement in result.measurements:
        if measurement.outcome != library.Outcome.OK:
            found.append(measurement)
            continue
        try:
            profile = profile_case(measurement.case, folder, device=device, seed=measurement.seed)
        except library.BenchError as error:
            tell(f"{measurement.case_id} was not profiled: {error}")
            found.append(measurement)
            continue
        tell(f"profile of {measurement.case_id}: {profile.artifact}")
        found.append(replace(measurement, metrics=(*measurement.metrics, *profile.metrics())))
    return replace(result, measurements=tuple(found))
