"""Collectives of NCCL between the devices of one host, one process for each rank.

Sizes and factors are those of NCCL's own tests: see `collective.operation`. The time is that of rank 0 in a row of
launches, which in the long run is everybody's.
"""

from tesserabench.bench.case import Params
from tesserabench.bench.definition import Axes
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.registry import INSTALLED, benchmark

INSTALLED.suite("collectives", summary="NCCL between the devices of one host, checked exactly on every rank")

KI, MI, GI = 1 << 10, 1 << 20, 1 << 30
_PARAMETERS: Axes = {
    "ranks": (2, 4, 8),
    "size": (8, 64 * KI, MI, 64 * MI, GI, 8 * GI),
    "dtype": ("float32", "float16", "int32"),
}
_TIERS: dict[str, Axes] = {
    "smoke": {"ranks": (2,), "size": (64 * MI,), "dtype": ("float32",)},
    "regression": {"size": (8, 64 * MI, GI)},
    "full": {"ranks": (2, 4, 8), "size": (8, 64 * KI, MI, 64 * MI, GI)},
    "nightly": {"size": (8, 64 * KI, MI, 16 * MI, 64 * MI, 256 * MI, GI, 8 * GI)},
}
_SUMMARIES = {
    "all_reduce": "every rank gets the sum over all ranks",
    "all_gather": "every rank gets the parts of all ranks",
    "reduce_scatter": "every rank gets its part of the sum over all ranks",
    "broadcast": "every rank gets what rank 0 has",
    "all_to_all": "every rank sends another part to each rank",
    "send_recv": "every rank sends to the next one, all at once",
}


def _register(name: str, summary: str) -> None:
    @benchmark(
        name=name,
        suite="collectives",
        summary=summary,
        parameters=_PARAMETERS,
        tiers=_TIERS,
        devices=("cuda",),
        mode="hot",
        modes=("hot", "host"),
        tolerance=lambda _: 0.0,
        inputs="uniform",
        several_devices=True,
    )
    def prepare(device: ArrayDevice, params: Params, seed: int) -> Workload:
        # NumPy is imported when work is prepared, not when suites are listed.
        from tesserabench.bench.workloads.collectives_work import CollectiveWork  # noqa: PLC0415

        return CollectiveWork(device, name, params, seed)


for _name, _summary in _SUMMARIES.items():
    _register(_name, _summary)
