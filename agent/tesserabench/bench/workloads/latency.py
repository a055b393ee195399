"""What surrounds kernels: launches, graphs, events, streams and allocations; calls, wake-ups and pages on a CPU.

Times of mode host are what the caller waits, synchronisation included. `device_gap` alone is timed on the device.
"""

from tesserabench.bench.case import Params
from tesserabench.bench.definition import Axes
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.registry import INSTALLED, benchmark

INSTALLED.suite("latency", summary="launches, graphs, events, synchronisation and allocation: what surrounds kernels")

KI, MI = 1 << 10, 1 << 20
BATCH = 256
"""Launches or records between two synchronisations: far below the driver's queue of about a thousand."""
_KERNELS: Axes = {"kernel": ("empty", "step")}
_CALLS: Axes = {**_KERNELS, "through": ("cupy", "driver")}
"""`step` writes one word, which is checked; `driver` is the driver's own call, without CuPy's care for arguments."""


@benchmark(
    name="launch",
    suite="latency",
    summary="one kernel from the call until the host knows that it is done",
    parameters=_CALLS,
    devices=("cuda",),
    mode="host",
    modes=("host",),
    tolerance=lambda _: 0.0,
    inputs="none",
)
def launch(device: ArrayDevice, params: Params, seed: int) -> Workload:  # noqa: ARG001 - nothing is random here
    """Return the launch of one kernel."""
    # CuPy is imported when work is prepared, not when suites are listed; likewise below.
    from tesserabench.bench.workloads.latency_work import Launches  # noqa: PLC0415

    return Launches(device, kernel=params.text("kernel"), count=1, through=params.text("through"))


@benchmark(
    name="launch_rate",
    suite="latency",
    summary="many kernels launched one after the other; the metric item_time is the cost of one launch call",
    parameters={**_CALLS, "launches": (BATCH,)},
    tiers={"smoke": {"kernel": ("empty",)}, "full": _CALLS},
    devices=("cuda",),
    items=lambda params: params.integer("launches"),
    mode="host",
    modes=("host",),
    tolerance=lambda _: 0.0,
    inputs="none",
)
def launch_rate(device: ArrayDevice, params: Params, seed: int) -> Workload:  # noqa: ARG001 - nothing is random here
    """Return a row of launches."""
    from tesserabench.bench.workloads.latency_work import Launches  # noqa: PLC0415

    count = params.integer("launches")
    return Launches(device, kernel=params.text("kernel"), count=count, through=params.text("through"))


@benchmark(
    name="device_gap",
    suite="latency",
    summary="the period of small kernels back to back as the device sees it: the kernel and the gap after it",
    parameters={**_KERNELS, "queue": ("stream", "graph")},
    tiers={"smoke": {"kernel": ("empty",)}, "full": _KERNELS},
    devices=("cuda",),
    mode="hot",
    modes=("hot",),
    tolerance=lambda _: 0.0,
    inputs="none",
)
def device_gap(device: ArrayDevice, params: Params, seed: int) -> Workload:  # noqa: ARG001 - nothing is random here
    """Return one kernel; queued on a stream it may not be captured."""
    from tesserabench.bench.workloads.latency_work import Launches  # noqa: PLC0415

    captured = params.text("queue") == "graph"
    return Launches(device, kernel=params.text("kernel"), count=1, capturable=captured)


@benchmark(
    name="graph_launch",
    suite="latency",
    summary="a graph of kernels in a chain, from its launch until it is done; item_time is the cost of one node",
    parameters={"nodes": (1, 10, 100, 1000)},
    devices=("cuda",),
    items=lambda params: params.integer("nodes"),
    mode="host",
    modes=("host",),
    tolerance=lambda _: 0.0,
    inputs="none",
)
def graph_launch(device: ArrayDevice, params: Params, seed: int) -> Workload:  # noqa: ARG001 - nothing is random here
    """Return the launch of a graph whose nodes count themselves."""
    from tesserabench.bench.workloads.latency_work import GraphLaunch  # noqa: PLC0415

    return GraphLaunch(device, nodes=params.integer("nodes"))


@benchmark(
    name="event",
    suite="latency",
    summary="events: recorded many times (item_time is one record), recorded and waited for, or waited for on a stream",
    parameters={"action,count": (("record", BATCH), ("record_and_synchronize", 1), ("stream_wait", BATCH))},
    devices=("cuda",),
    items=lambda params: params.integer("count"),
    mode="host",
    modes=("host",),
    inputs="none",
)
def event(device: ArrayDevice, params: Params, seed: int) -> Workload:  # noqa: ARG001 - nothing is random here
    """Return the action on events."""
    from tesserabench.bench.workloads.latency_work import event_work  # noqa: PLC0415

    return event_work(device, params.text("action"), params.integer("count"))


@benchmark(
    name="synchronize",
    suite="latency",
    summary="waiting for a stream, or for the whole device, when there is nothing to wait for",
    parameters={"scope": ("stream", "device")},
    devices=("cuda",),
    mode="host",
    modes=("host",),
    inputs="none",
)
def synchronize(device: ArrayDevice, params: Params, seed: int) -> Workload:  # noqa: ARG001 - nothing is random here
    """Return the synchronisation."""
    from tesserabench.bench.workloads.latency_work import synchronize_work  # noqa: PLC0415

    return synchronize_work(device, params.text("scope"))


@benchmark(
    name="allocate",
    suite="latency",
    summary="memory allocated and freed again: by the driver, in stream order, or from CuPy's pool",
    parameters={"allocator": ("malloc", "stream_ordered", "stream_ordered_kept", "pool", "pinned"), "size": (MI,)},
    tiers={"smoke": {"size": (MI,)}, "full": {"size": (4 * KI, MI, 256 * MI)}},
    devices=("cuda",),
    mode="host",
    modes=("host",),
    inputs="none",
)
def allocate(device: ArrayDevice, params: Params, seed: int) -> Workload:  # noqa: ARG001 - nothing is random here
    """Return one allocation and its release."""
    from tesserabench.bench.workloads.latency_work import allocation_work  # noqa: PLC0415

    return allocation_work(device, params.text("allocator"), params.integer("size"))


@benchmark(
    name="call",
    suite="latency",
    summary="one NumPy call on arrays so small that the call is all there is",
    parameters={"elements": (1, 64)},
    devices=("cpu",),
    tolerance=lambda _: 0.0,
    inputs="uniform",
)
def call(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the call."""
    from tesserabench.bench.workloads.latency_cpu import Call  # noqa: PLC0415

    return Call(device, params.integer("elements"), seed)


@benchmark(
    name="wake",
    suite="latency",
    summary="one byte to a waiting thread or process and back through pipes: two wake-ups by the scheduler",
    parameters={"partner": ("thread", "process")},
    devices=("cpu",),
    mode="host",
    tolerance=lambda _: 0.0,
    inputs="none",
)
def wake(device: ArrayDevice, params: Params, seed: int) -> Workload:  # noqa: ARG001 - nothing is random here
    """Return the round trip."""
    from tesserabench.bench.workloads.latency_cpu import WakeProcess, WakeThread  # noqa: PLC0415

    return WakeProcess() if params.text("partner") == "process" else WakeThread()


@benchmark(
    name="first_touch",
    suite="latency",
    summary="memory mapped, written once on every page and given back; item_time is the cost of one page",
    parameters={"size": (MI, 16 * MI)},
    tiers={"smoke": {"size": (MI,)}, "full": {"size": (MI, 16 * MI, 256 * MI)}},
    devices=("cpu",),
    mode="host",
    tolerance=lambda _: 0.0,
    inputs="none",
)
def first_touch(device: ArrayDevice, params: Params, seed: int) -> Workload:  # noqa: ARG001 - nothing is random here
    """Return the mapping and its first use."""
    from tesserabench.bench.workloads.latency_cpu import FirstTouch  # noqa: PLC0415

    return FirstTouch(params.integer("size"))
