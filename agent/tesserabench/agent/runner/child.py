"""The worker process: one trial, then it ends. Started by the agent, never by hand.

`python -P -m tesserabench.agent.runner.child PIPE PARENT`: the order comes as JSON on stdin, messages go to the file
descriptor PIPE (see `bench.worker.frames`). Whatever goes wrong with the device, a leak, a crash or a hang, dies with
this process.
"""

import ctypes
import json
import os
import platform
import sys
import traceback
from typing import Any

from tesserabench.bench.worker.pipe import PipeObserver, protect

_SET_MEMPOLICY = {"x86_64": 238, "aarch64": 237}
_MPOL_PREFERRED = 1
_MOST_NODES = 64


def place(processors: list[int], numa_node: int | None) -> dict[str, Any]:
    """Stay on processors and memory next to the device, as far as the kernel lets us; what holds now.

    Before anything is imported: threads that libraries start keep what holds when they start.
    """
    pinned: list[int] = []
    if processors:
        try:
            os.sched_setaffinity(0, processors)
            pinned = sorted(os.sched_getaffinity(0))
        except OSError as error:
            sys.stderr.write(f"the worker stays unpinned: processors {processors}: {error}\n")
    near = numa_node if numa_node is not None and _prefer_node(numa_node) else None
    return {"processors": pinned, "numa_node": near}


def _prefer_node(node: int) -> bool:
    """Ask for memory of one NUMA node first (set_mempolicy); False where the kernel has no such call or node."""
    number = _SET_MEMPOLICY.get(platform.machine())
    if number is None or not 0 <= node < _MOST_NODES:
        return False
    mask = ctypes.c_ulong(1 << node)
    # The kernel takes one bit less than the number it is told.
    asked = ctypes.CDLL(None, use_errno=True).syscall(
        ctypes.c_long(number), _MPOL_PREFERRED, ctypes.byref(mask), ctypes.c_ulong(_MOST_NODES + 1)
    )
    return bool(asked == 0)


def run(order: dict[str, Any], observer: PipeObserver) -> None:
    """Measure what the order says; its end is a `result` or a `failed` message."""
    from tesserabench.bench import (  # noqa: PLC0415 - NumPy starts its threads only under the limits set above
        DeviceUnavailable,
        ScenarioError,
        SelectionError,
        open_device,
    )
    from tesserabench.bench.codec import encode  # noqa: PLC0415 - see above
    from tesserabench.bench.duet.worker import measure_order  # noqa: PLC0415 - see above

    try:
        with open_device(order["device"]) as device:
            observer.send("opened", device=encode(device.info), state=encode(device.state()))
            result = measure_order(order, device, observer)
            observer.send("result", result=result.without_measurements().to_dict(), state=encode(device.state()))
    except (SelectionError, DeviceUnavailable, ScenarioError) as error:
        observer.send("failed", outcome="unsupported", reason=str(error))


def main() -> int:
    """Run the order on stdin."""
    pipe, parent = int(sys.argv[1]), int(sys.argv[2])
    protect(parent)
    observer = PipeObserver(pipe)
    order = json.load(sys.stdin)
    # Nothing that a library starts may keep the pipe open or write to it.
    os.set_inheritable(pipe, False)
    observer.send("placed", **place(order.get("processors") or [], order.get("numa_node")))
    try:
        run(order, observer)
    except Exception as error:  # noqa: BLE001 - the last one who can tell the agent; the trace goes to the trial's log
        traceback.print_exc()
        reason = f"the worker raised {type(error).__name__}: {error}; this is a fault of the engine, please report it"
        observer.send("failed", outcome="harness_error", reason=reason)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
