"""What Nsight Compute sees of one launch of a case: achieved occupancy, and its report as a file to open.

The case is prepared and launched in a process of its own, under `ncu`, once to warm up and once to be profiled: nothing
here ever happens while something is timed. Counters may need rights that the administrator gives (ERR_NVGPUCTRPERM).
"""

import contextlib
import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tesserabench.bench.case import Case
from tesserabench.bench.errors import ProfileFailed
from tesserabench.bench.metric import OCCUPANCY_ACHIEVED, MetricValue

OCCUPANCY_COUNTER = "sm__warps_active.avg.pct_of_peak_sustained_active"
DURATION_COUNTER = "gpu__time_duration.sum"
COUNTERS = (OCCUPANCY_COUNTER, DURATION_COUNTER)
LAUNCHER = "tesserabench.bench.device.cuda.launch_once"
TIMEOUT_SECONDS = 300.0
_FORBIDDEN = "ERR_NVGPUCTRPERM"
_LOG_LINES = 3
_NANOSECONDS = {"ns": 1.0, "nsecond": 1.0, "us": 1e3, "usecond": 1e3, "ms": 1e6, "msecond": 1e6, "s": 1e9}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledKernel:
    """One kernel of the launch. `occupancy` is 0 to 1; what was not counted is None."""

    name: str
    duration_ns: float | None
    occupancy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The kernels of one launch in order, and the report that ncu-ui opens."""

    kernels: tuple[ProfiledKernel, ...]
    artifact: Path

    def metrics(self) -> tuple[MetricValue, ...]:
        """Return `occupancy_achieved`, the mean over the kernels by their time; nothing where it was not counted."""
        counted = [
            (kernel.occupancy, kernel.duration_ns)
            for kernel in self.kernels
            if kernel.occupancy is not None and kernel.duration_ns
        ]
        if not counted:
            return ()
        total = sum(duration for _, duration in counted)
        mean = sum(occupancy * duration for occupancy, duration in counted) / total
        return (MetricValue.of(OCCUPANCY_ACHIEVED, mean, None, None),)


def find_ncu(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the path of Nsight Compute's command, or None where there is none."""
    return shutil.which("ncu", path=environ.get("PATH"))


def profile_command(ncu: str, case: Case, report: Path, *, device: str = "cuda", seed: int = 0) -> tuple[str, ...]:
    """Return the command that profiles the second launch of a case and writes `report`."""
    order = json.dumps({"case": case.to_dict(), "device": device, "seed": seed})
    return (
        ncu,
        "--force-overwrite",
        "--target-processes",
        "application-only",
        # The launcher says which part counts.
        "--profile-from-start",
        "off",
        "--metrics",
        ",".join(COUNTERS),
        "--export",
        str(report),
        sys.executable,
        "-m",
        LAUNCHER,
        order,
    )


def table_command(ncu: str, report: Path) -> tuple[str, ...]:
    """Return the command that prints a report as CSV."""
    return (ncu, "--import", str(report), "--csv", "--page", "raw", "--print-units", "base")


def profile_case(
    case: Case,
    folder: Path,
    *,
    device: str = "cuda",
    seed: int = 0,
    ncu: str | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Profile:
    """Profile one launch of an installed benchmark's case; the report goes into `folder`, named by the case's hash.

    Raises ProfileFailed with the remedy when there is no ncu, when it may not count, or when nothing can be launched.
    """
    program = ncu or find_ncu()
    if program is None:
        raise ProfileFailed("ncu is not on PATH; install Nsight Compute, which comes with the CUDA toolkit")
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / f"{case.hash}.ncu-rep"
    _run(profile_command(program, case, report, device=device, seed=seed), timeout_seconds)
    if not report.is_file():
        raise ProfileFailed(f"{program} wrote no report for {case.id}; was any kernel launched?")
    return Profile(kernels=parse_table(_run(table_command(program, report), timeout_seconds)), artifact=report)


def parse_table(text: str) -> tuple[ProfiledKernel, ...]:
    """Return the kernels of ncu's raw CSV page; the row after the names holds units. Raises ProfileFailed."""
    lines = [line for line in text.splitlines() if line.startswith('"')]
    rows = list(csv.DictReader(io.StringIO("\n".join(lines))))
    if not rows or "Kernel Name" not in rows[0]:
        raise ProfileFailed("ncu printed no table with a column 'Kernel Name'; is it of a version before 2021?")
    units, *kernels = rows
    return tuple(
        ProfiledKernel(
            name=row["Kernel Name"],
            duration_ns=_number(row.get(DURATION_COUNTER), _NANOSECONDS.get(units.get(DURATION_COUNTER) or "")),
            occupancy=_number(row.get(OCCUPANCY_COUNTER), 0.01),
        )
        for row in kernels
    )


def _number(text: str | None, factor: float | None) -> float | None:
    """Return a cell as a number; None where it is empty, no number or of a unit that is not known."""
    if not text or factor is None:
        return None
    try:
        return float(text.replace(",", "")) * factor
    except ValueError:
        return None


def _run(command: Sequence[str], timeout_seconds: float) -> str:
    try:
        # The words are the engine's own and the program was found by it; there is no shell in between.
        process = subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    except OSError as error:
        raise ProfileFailed(f"{command[0]} cannot be started: {error.strerror}") from None
    with process:
        try:
            printed, errors = process.communicate(timeout=timeout_seconds)
        except BaseException as error:
            # The program that is profiled goes with the group; ncu alone would leave it behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                late = f"{command[0]} took longer than {timeout_seconds:g} s; choose smaller parameters"
                raise ProfileFailed(late) from None
            raise
    said = printed + errors
    if _FORBIDDEN in said:
        raise ProfileFailed(
            "the driver keeps its performance counters to administrators (ERR_NVGPUCTRPERM); "
            "load it with NVreg_RestrictProfilingToAdminUsers=0, or run as root"
        )
    if process.returncode:
        last = "; ".join(line.strip() for line in said.splitlines()[-_LOG_LINES:] if line.strip())
        raise ProfileFailed(f"{command[0]} ended with status {process.returncode}: {last}")
    return printed
