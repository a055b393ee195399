"""Launches our own kernels once, at sizes with a tail, and checks what came out: run under compute-sanitizer."""

import sys
import time
from collections.abc import Iterator
from typing import Any

from tesserabench.bench import Case, Params, find_benchmark, open_device
from tesserabench.bench.device.cuda import CudaDevice
from tesserabench.bench.verification import compare, limit_of

LIMIT_SECONDS = 20.0
"""No case begins after that; the line printed says how many did."""

SHARED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("memory/reduction", {"n": 10_007, "dtype": "float32"}),
    ("memory/read", {"n": 10_007, "dtype": "float64"}),
    ("memory/transpose", {"m": 37, "n": 70, "dtype": "float32"}),
    ("memory/random", {"op": "gather", "entries": 4096, "accesses": 1003}),
    ("primitives/scan", {"n": 50_001, "dtype": "float32"}),
    ("primitives/histogram", {"n": 5003, "bins": 256, "distribution": "skewed"}),
    ("primitives/histogram", {"n": 5003, "bins": 2048, "distribution": "uniform"}),
    ("primitives/topk", {"rows": 5, "columns": 33, "k": 8}),
    ("primitives/topk", {"rows": 3, "columns": 1025, "k": 16}),
    *(
        (f"norm/{name}", {"rows": 9, "columns": columns, "dtype": dtype})
        for name in ("softmax", "layernorm", "rmsnorm", "residual_rmsnorm")
        for columns, dtype in ((33, "float32"), (1000, "bfloat16"))
    ),
    ("norm/softmax", {"rows": 3, "columns": 50_257, "dtype": "float16"}),
    *(
        (
            "attention/flash",
            {
                "batch": 1,
                "heads": 4,
                "kv_heads": 2,
                "length": length,
                "head_dim": head_dim,
                "causal": causal,
                "dtype": "bfloat16",
            },
        )
        for length, head_dim, causal in ((63, 64, True), (333, 128, False))
    ),
    (
        "attention/decode",
        {"batch": 2, "heads": 8, "kv_heads": 2, "length": 777, "head_dim": 128, "dtype": "float16"},
    ),
    (
        "conv/direct",
        {"images": 2, "size": 9, "channels": 5, "filters": 7, "taps": 3, "stride": 1, "dtype": "float32"},
    ),
)
"""Kernels that use shared memory, where threads can race."""
OTHERS: tuple[tuple[str, dict[str, Any]], ...] = (
    *((f"memory/{name}", {"n": 1001, "dtype": "float32"}) for name in ("copy", "triad", "fill", "scale", "cached")),
    *(("memory/width", {"n": 1028, "width": width}) for width in (1, 16)),
    ("memory/random", {"op": "update", "entries": 4096, "accesses": 1003}),
    ("memory/chase", {"size": 1280, "hops": 7}),
    *(
        (
            "embedding/gather",
            {"rows": 100, "width": width, "lookups": 71, "distribution": "zipf", "dtype": "float16"},
        )
        for width in (3, 8)
    ),
    *(("elementwise/chain", {"n": 1003, "steps": 8, "fused": fused}) for fused in (True, False)),
    ("elementwise/map", {"n": 1003, "function": "gelu"}),
    ("sparse/spmv", {"rows": 701, "per_row": 9, "pattern": "power_law", "dtype": "float32"}),
    (
        "attention/naive",
        {"batch": 1, "heads": 2, "length": 137, "head_dim": 64, "causal": True, "dtype": "float16"},
    ),
)


def check(device: Any, name: str, params: dict[str, Any]) -> None:
    """Launch one case and raise AssertionError when its result is wrong."""
    benchmark = find_benchmark(name)
    case = Case(benchmark=name, params=Params(params), version=benchmark.version)
    work = device.prepare(benchmark, case, 0)
    work.poison()
    work.launch()
    device.synchronize()
    found = compare(work.outputs(), work.reference(), limit_of(benchmark, case), poisoned=True)
    assert found.passed, (name, params, found)
    if hasattr(work, "close"):
        work.close()


def chosen(kind: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Return the cases of a check: races happen in shared memory alone."""
    return SHARED if kind == "racecheck" else (*SHARED, *OTHERS)


def in_time(cases: tuple[tuple[str, dict[str, Any]], ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield cases until the time is up."""
    started = time.monotonic()
    for case in cases:
        if time.monotonic() - started > LIMIT_SECONDS:
            return
        yield case


def main() -> None:
    """Check every case there is time for, and the kernels that timing needs."""
    cases, count = chosen(sys.argv[1]), 0
    with open_device("cuda") as device:
        assert isinstance(device, CudaDevice)
        for how in ("read", "write"):
            device.flush().enqueue(how)
        device.synchronize()
        for name, params in in_time(cases):
            check(device, name, params)
            count += 1
    sys.stdout.write(f"verified {count} of {len(cases)} cases\n")


if __name__ == "__main__":
    main()
