"""Our medians beside those of torch with triton's do_bench: the same work, the same device, in turns in one process."""

import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from support.gpu_section import Line, run_section
from tesserabench.bench import MeasureOptions, Outcome, run_locally

SECTION = "peers"
TURNS = 3
OPTIONS = replace(
    MeasureOptions.for_tier("smoke"), budget_seconds=0.5, target=0.0025, min_samples=30, probe_ceilings=False
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Work that both can do. `theirs` returns their milliseconds; `limit` is the largest ratio that is good enough."""

    name: str
    suite: str
    include: str
    overrides: dict[str, str]
    theirs: Callable[[Any, Any], float]
    mode: str | None = None
    limit: float | None = None


def _do_bench(triton: Any, call: Callable[[], Any]) -> float:
    return float(triton.testing.do_bench(call, warmup=50, rep=300, return_mode="median"))


def _gemm(torch: Any, triton: Any) -> float:
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(a)
    return _do_bench(triton, lambda: torch.mm(a, b, out=out))


def _copy(torch: Any, triton: Any) -> float:
    source = torch.randn(1 << 28, device="cuda")
    target = torch.empty_like(source)
    return _do_bench(triton, lambda: target.copy_(source))


def _attention(torch: Any, triton: Any) -> float:
    q, k, v = (torch.randn(4, 16, 4096, 128, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    attention = importlib.import_module("torch.nn.attention")
    with attention.sdpa_kernel(attention.SDPBackend.FLASH_ATTENTION):
        return _do_bench(triton, lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v))


def _softmax(torch: Any, triton: Any) -> float:
    x = torch.randn(8192, 4096, device="cuda")
    out = torch.empty_like(x)
    return _do_bench(triton, lambda: torch.softmax(x, dim=-1, out=out))


def _launch(torch: Any, _: Any) -> float:
    """Host time of a tiny launch and its synchronisation; do_bench has no such mode."""
    x = torch.zeros(1, device="cuda")
    spent: list[int] = []
    for _turn in range(500):
        torch.cuda.synchronize()
        begin = time.perf_counter_ns()
        x.add_(1)
        torch.cuda.synchronize()
        spent.append(time.perf_counter_ns() - begin)
    return median(spent[100:]) / 1e6


PEERS = (
    Peer(
        name="matrix product bf16 8192^3",
        suite="gemm",
        include=r"^gemm/matmul\[",
        overrides={"matmul.m": "8192", "matmul.n": "8192", "matmul.k": "8192", "matmul.dtype": "bfloat16"},
        theirs=_gemm,
        mode="cold",
        limit=1.01,
    ),
    Peer(
        name="copy of 1 GiB",
        suite="memory",
        include=r"^memory/copy\[",
        overrides={"copy.n": str(1 << 28), "copy.dtype": "float32"},
        theirs=_copy,
        mode="cold",
        limit=1.01,
    ),
    Peer(
        name="flash attention forward",
        suite="attention",
        include=r"^attention/flash\[.*causal=false",
        overrides={"flash.batch": "4", "flash.heads": "16", "flash.kv_heads": "16", "flash.length": "4096"}
        | {"flash.head_dim": "128", "flash.dtype": "bfloat16"},
        theirs=_attention,
        mode="cold",
    ),
    Peer(
        name="softmax of 8192 x 4096",
        suite="norm",
        include=r"^norm/softmax\[",
        overrides={"softmax.rows": "8192", "softmax.columns": "4096", "softmax.dtype": "float32"},
        theirs=_softmax,
        mode="cold",
    ),
    Peer(
        name="launch and synchronise",
        suite="latency",
        include=r"^latency/launch.kernel=step,through=cupy",
        overrides={},
        theirs=_launch,
        mode="host",
    ),
)


def ours_ms(peer: Peer) -> tuple[float, str]:
    """Return our median in milliseconds and the back end, or raise with the outcome."""
    result = run_locally(
        peer.suite, device="cuda", mode=peer.mode, include=peer.include, overrides=peer.overrides, options=OPTIONS
    )
    found = result.measurements[0]
    if found.outcome is not Outcome.OK or found.statistics is None or found.sampling is None:
        raise RuntimeError(f"{found.case_id}: {found.outcome}: {found.reason}")
    return found.statistics.median / 1e6, str(found.sampling.backend)


def compare(peer: Peer, torch: Any, triton: Any) -> Line:
    """Take turns and return the ratio of the medians."""
    ours: list[float] = []
    theirs: list[float] = []
    backend = ""
    for _ in range(TURNS):
        found, backend = ours_ms(peer)
        ours.append(found)
        theirs.append(peer.theirs(torch, triton))
    ratio = median(ours) / median(theirs)
    return Line(
        section=SECTION,
        name=f"{peer.name}: ours over theirs",
        value=ratio,
        unit="x",
        goal="" if peer.limit is None else f"<= {peer.limit:g}",
        holds=None if peer.limit is None else ratio <= peer.limit,
        remark=f"{median(ours) * 1e3:.4g} us ({backend}) beside {median(theirs) * 1e3:.4g} us",
    )


def measure() -> Iterator[Line]:
    """Every comparison; without torch or triton there is none, and that is said."""
    try:
        torch, triton = importlib.import_module("torch"), importlib.import_module("triton")
    except ImportError as error:
        yield Line(section=SECTION, name="torch and triton", value=None, unit="", remark=f"not here: {error}")
        return
    for peer in PEERS:
        try:
            yield compare(peer, torch, triton)
        except Exception as error:  # noqa: BLE001 - the other comparisons are still worth having
            remark = f"{type(error).__name__}: {error}"[:200]
            yield Line(section=SECTION, name=peer.name, value=None, unit="", holds=False, remark=remark)


if __name__ == "__main__":
    run_section(measure)
