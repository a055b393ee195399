"""Our own kernels under compute-sanitizer, at sizes with a tail."""

import shutil
import subprocess
import sys
from collections.abc import Iterator

from support.gpu_section import Line, run_section

SECTION = "sanitizer"
CHECKER = """
import cupy
from tesserabench.bench import Case, Params, find_benchmark, open_device
from tesserabench.bench.verification import limit_of, require, verify
with open_device("cuda") as device:
    for name in ("copy", "triad", "reduction"):
        for count in (1, 1001, 1 << 16):
            benchmark = find_benchmark("memory/" + name)
            params = Params({"n": count, "dtype": "float32"})
            case = Case(benchmark=benchmark.name, params=params, version=benchmark.version)
            work = device.prepare(benchmark, case, 0)
            require(verify(device, work, work.reference(), limit_of(benchmark, case)), "under the sanitizer")
print("verified")
"""


def measure() -> Iterator[Line]:
    """memcheck and racecheck; a machine without the tool says so."""
    tool = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if tool is None:
        yield Line(section=SECTION, name="compute-sanitizer", value=None, unit="", remark="not installed here")
        return
    for check in ("memcheck", "racecheck"):
        found = subprocess.run(
            [tool, "--tool", check, "--error-exitcode", "99", sys.executable, "-c", CHECKER],
            capture_output=True,
            text=True,
            check=False,
        )
        clean = found.returncode == 0 and "verified" in found.stdout
        last = (found.stdout + found.stderr).strip().splitlines()[-1:] or [""]
        yield Line(section=SECTION, name=check, value=None, unit="", goal="clean", holds=clean, remark=last[0][:160])


if __name__ == "__main__":
    run_section(measure)
