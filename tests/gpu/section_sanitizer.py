"""Our own kernels under compute-sanitizer, at sizes with a tail."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from support.gpu_section import Line, run_section

SECTION = "sanitizer"
PROGRAM = Path(__file__).with_name("sanitized.py")
CHECKS = ("memcheck", "racecheck")
LIMIT_SECONDS = 35.0


def find_tool() -> str | None:
    """Return the path of compute-sanitizer, or None."""
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")


def measure() -> Iterator[Line]:
    """memcheck of every kernel, and racecheck of those with shared memory, at once; without the tool, that is said."""
    tool = find_tool()
    if tool is None:
        yield Line(section=SECTION, name="compute-sanitizer", value=None, unit="", remark="not installed here")
        return
    started = time.monotonic()
    running = {
        check: subprocess.Popen(
            [tool, "--tool", check, "--error-exitcode", "99", sys.executable, str(PROGRAM), check],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        for check in CHECKS
    }
    for check, process in running.items():
        try:
            printed, _ = process.communicate(timeout=max(0.1, started + LIMIT_SECONDS - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed = f"{process.communicate()[0]}\nError: not done after {LIMIT_SECONDS:g} s"
        sys.stderr.write(f"{printed}\n")
        clean = process.returncode == 0 and "verified" in printed
        words = [line for line in printed.splitlines() if "verified" in line or "SUMMARY" in line or "Error" in line]
        remark = "; ".join(words[-3:] or printed.strip().splitlines()[-1:])[:300]
        yield Line(section=SECTION, name=check, value=None, unit="", goal="clean", holds=clean, remark=remark)


if __name__ == "__main__":
    run_section(measure)
