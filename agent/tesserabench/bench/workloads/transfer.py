"""Copies between host and device, and between devices.

Bandwidths count the payload once. Pinned copies are timed on the device, back to back, unless mode host is asked for;
pageable ones wait inside the driver, so that only the host's clock can time them.
"""

from tesserabench.bench.case import Params
from tesserabench.bench.definition import Axes
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.registry import INSTALLED, benchmark

INSTALLED.suite("transfer", summary="copies between host and device and between devices, pinned and pageable")

KI, MI, GI = 1 << 10, 1 << 20, 1 << 30
_SIZES: Axes = {"size": (64, 64 * KI, MI, 64 * MI, GI)}
_TIERS: dict[str, Axes] = {
    "smoke": {"size": (64 * MI,)},
    "regression": {"size": (64 * KI, 64 * MI)},
    "full": {"size": (64, 4 * KI, 64 * KI, MI, 16 * MI, 64 * MI, 256 * MI, GI)},
}


@benchmark(
    name="pinned",
    suite="transfer",
    summary="copies from or to page-locked host memory, or both ways at once",
    parameters={"direction": ("h2d", "d2h", "both"), **_SIZES},
    tiers=_TIERS,
    devices=("cuda",),
    mode="hot",
    modes=("hot", "host"),
    tolerance=lambda _: 0.0,
    inputs="uniform",
)
def pinned(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the copy, or the pair of copies."""
    # CuPy is imported when work is prepared, not when suites are listed; likewise below.
    from tesserabench.bench.workloads.transfer_work import host_copy  # noqa: PLC0415

    return host_copy(device, params.text("direction"), params.integer("size"), pinned=True, seed=seed)


@benchmark(
    name="pageable",
    suite="transfer",
    summary="copies from or to ordinary host memory, which the driver moves through buffers of its own",
    parameters={"direction": ("h2d", "d2h"), **_SIZES},
    tiers=_TIERS,
    devices=("cuda",),
    mode="host",
    modes=("host",),
    tolerance=lambda _: 0.0,
    inputs="uniform",
)
def pageable(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the copy."""
    from tesserabench.bench.workloads.transfer_work import host_copy  # noqa: PLC0415

    return host_copy(device, params.text("direction"), params.integer("size"), pinned=False, seed=seed)


@benchmark(
    name="latency",
    suite="transfer",
    summary="four bytes, from the call until the host knows that they arrived",
    parameters={"direction": ("h2d", "d2h"), "memory": ("pinned", "pageable"), "size": (4,)},
    devices=("cuda",),
    mode="host",
    modes=("host",),
    tolerance=lambda _: 0.0,
    inputs="uniform",
)
def latency(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the small copy."""
    from tesserabench.bench.workloads.transfer_work import host_copy  # noqa: PLC0415

    memory = params.text("memory") == "pinned"
    return host_copy(device, params.text("direction"), params.integer("size"), pinned=memory, seed=seed)


@benchmark(
    name="p2p",
    suite="transfer",
    summary="copies to and from the device that many places further on; measured on every device, the rows of a matrix",
    parameters={"direction": ("write", "read", "both"), "distance": (1, 2, 3, 4, 5, 6, 7), **_SIZES},
    tiers={
        "smoke": {"distance": (1,), "size": (64 * MI,)},
        "full": {"distance": (1, 2, 3, 4, 5, 6, 7), "size": (64, 64 * KI, MI, 64 * MI, GI)},
    },
    devices=("cuda",),
    mode="hot",
    modes=("hot", "host"),
    tolerance=lambda _: 0.0,
    inputs="uniform",
    several_devices=True,
)
def p2p(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the copy between devices; unsupported where there is no such device, or no way to it."""
    from tesserabench.bench.workloads.transfer_peer import peer_copy  # noqa: PLC0415

    return peer_copy(device, params.text("direction"), params.integer("distance"), params.integer("size"), seed=seed)
