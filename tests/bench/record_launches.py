"""Records real launches for the gate's measurements: some kernels of the installed suites, in many fresh processes.

    PYTHONPATH=tests python tests/bench/record_launches.py --name noon --processes 40

One session is one file in tests/bench/data: what a machine gave at one time. Sessions some time apart are what
"different nights" are made of. A launch is a process that measures every kernel once, with the engine and on the CPU;
its first `SAMPLES` samples after the engine's own warm-up are kept, in whole nanoseconds, as they were taken.
"""

import argparse
import datetime as dt
import json
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tesserabench.bench import MeasureOptions, run_locally

DATA = Path(__file__).parent / "data"
SAMPLES = 80
KERNELS: dict[str, tuple[str, dict[str, str]]] = {
    "gemm": ("gemm/matmul", {"gemm/matmul.m": "128", "gemm/matmul.n": "128", "gemm/matmul.k": "128"}),
    "copy": ("memory/copy", {"memory/copy.n": "262144"}),
    "reduction": ("memory/reduction", {"memory/reduction.n": "262144"}),
    "scan": ("primitives/scan", {"primitives/scan.n": "131072"}),
    "softmax": ("norm/softmax", {"norm/softmax.rows": "256"}),
    "sort": ("primitives/sort", {"primitives/sort.n": "65536"}),
    "spmv": ("sparse/spmv", {"sparse/spmv.rows": "16384"}),
    "call": ("latency/call", {}),
}
"""Name in the file, benchmark, and sizes that take around a millisecond or less."""


def measure() -> dict[str, list[int]]:
    """The samples of one launch: what a fresh process is started for."""
    options = replace(
        MeasureOptions.for_tier("smoke"),
        target=1e-6,
        min_samples=SAMPLES,
        max_samples=SAMPLES,
        budget_seconds=5.0,
        min_device_seconds=0.0,
        warmup_min_seconds=0.05,
        warmup_cap_seconds=0.3,
        probe_ceilings=False,
    )
    found: dict[str, list[int]] = {}
    for name, (benchmark, sizes) in KERNELS.items():
        suite, _, _ = benchmark.partition("/")
        result = run_locally(suite, include=f"^{benchmark}", overrides=sizes, options=options, threads=1)
        (measurement, *_) = result.measurements
        if len(measurement.samples) < SAMPLES:
            raise SystemExit(f"{benchmark}: {measurement.outcome} {measurement.reason} {len(measurement.samples)}")
        found[name] = [round(sample) for sample in measurement.samples[:SAMPLES]]
    return found


def record(processes: int) -> dict[str, list[list[int]]]:
    """The samples of every kernel, launch by launch."""
    kernels: dict[str, list[list[int]]] = {name: [] for name in KERNELS}
    for launch in range(processes):
        command = [sys.executable, __file__, "--launch"]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for name, samples in json.loads(answer).items():
            kernels[name].append(samples)
        print(f"{launch + 1}/{processes}", file=sys.stderr)
    return kernels


def facts(started: dt.datetime, seconds: float) -> dict[str, str | int]:
    """Where and when it was recorded."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.processor(),
        "processors": len(models),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds),
    }


def written(session: dict[str, str | int], kernels: dict[str, list[list[int]]]) -> str:
    """The file's text: JSON with one launch a line."""
    blocks = []
    for name, launches in kernels.items():
        lines = ",\n".join(json.dumps(samples, separators=(",", ":")) for samples in launches)
        blocks.append(f"{json.dumps(name)}: [\n{lines}\n]")
    together = ",\n".join(blocks)
    return f'{{"session": {json.dumps(session)},\n"processes": {{\n{together}\n}}}}\n'


def main(arguments: Sequence[str] | None = None) -> None:
    """Record one session, or be one of its launches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launch", action="store_true", help="measure once, in this process, and print the samples")
    parser.add_argument("--name", default="session", help="of the file")
    parser.add_argument("--processes", type=int, default=40)
    chosen = parser.parse_args(arguments)
    if chosen.launch:
        print(json.dumps(measure()))
        return
    started, begun = dt.datetime.now(dt.UTC), time.monotonic()
    kernels = record(chosen.processes)
    DATA.mkdir(exist_ok=True)
    path = DATA / f"launches-{chosen.name}.json"
    path.write_text(written(facts(started, time.monotonic() - begun), kernels), encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
