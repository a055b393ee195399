"""The same code in ten fresh processes: how far apart are their medians?"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median

from support.gpu_section import Line, run_section

SECTION = "spread"
WORKERS = 10
LEAST_WORKERS = 3
LIMIT_SECONDS = 58.0
"""No worker begins after that: fewer of them are better than none."""
LONG_NS = 100_000
"""Kernels of at least this many nanoseconds have to agree within `GOAL`."""
GOAL = 0.005

WORKER = """
import json, sys
from dataclasses import replace
from tesserabench.bench import MeasureOptions, run_locally
quick = MeasureOptions.for_tier("smoke")
options = replace(quick, budget_seconds=0.4, target=0.0025, min_samples=30, probe_ceilings=False)
medians = {}
for suite, include, overrides in json.loads(sys.argv[1]):
    result = run_locally(suite, device="cuda", include=include, overrides=overrides, options=options)
    for item in result.measurements:
        if item.outcome == "ok":
            medians[item.case_id] = item.statistics.median
print(json.dumps(medians))
"""
WORK: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "gemm",
        r"^gemm/matmul\[",
        {"matmul.m": "8192", "matmul.n": "8192", "matmul.k": "8192", "matmul.dtype": "bfloat16"},
    ),
    (
        "gemm",
        r"^gemm/matmul\[",
        {"matmul.m": "4096", "matmul.n": "4096", "matmul.k": "4096", "matmul.dtype": "float32"},
    ),
    ("memory", r"^memory/(copy|triad|reduction)\[", {"n": str(1 << 27), "dtype": "float32"}),
    ("fft", r"^fft/c2c\[", {"c2c.batch": "4096"}),
    ("memory", r"^memory/copy\[", {"copy.n": str(1 << 20), "copy.dtype": "float32"}),
)


def measure() -> Iterator[Line]:
    """Up to ten workers, and for each case the largest distance of a worker's median from the middle one."""
    seen: dict[str, list[float]] = {}
    started = time.monotonic()
    for done in range(WORKERS):
        if done >= LEAST_WORKERS and time.monotonic() - started > LIMIT_SECONDS:
            break
        found = subprocess.run(
            [sys.executable, "-c", WORKER, json.dumps(WORK)], capture_output=True, text=True, check=False, timeout=60
        )
        if found.returncode:
            said = found.stderr.strip().rpartition("\n")[2][:300]
            yield Line(section=SECTION, name="worker", value=None, unit="", holds=False, remark=said)
            return
        for case, value in json.loads(found.stdout.splitlines()[-1]).items():
            seen.setdefault(case, []).append(value)
    for case, values in seen.items():
        middle = median(values)
        spread = max(abs(value / middle - 1) for value in values)
        long = middle >= LONG_NS
        yield Line(
            section=SECTION,
            name=case,
            value=spread * 100,
            unit="%",
            goal="<= 0.5 %" if long else "",
            holds=spread <= GOAL if long else None,
            remark=f"{len(values)} workers, {middle / 1e3:.4g} us",
        )


if __name__ == "__main__":
    run_section(measure)
