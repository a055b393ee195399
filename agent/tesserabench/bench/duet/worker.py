"""The worker process: one trial, then it ends. Started by `duet.process`, never by hand.

`python -P -m tesserabench.bench.duet.worker PIPE PARENT`: the order comes as JSON on stdin, messages go to the file
descriptor PIPE (see `bench.worker.frames`). An order is an object with `device`, perhaps `threads`, and either
`duet` (a DuetPlan) or `plan` (a TrialPlan, with the `bundle` that its benchmarks come from, when they are not the
installed ones). `digests` say what the files of the bundles of A and B, or of `bundle`, must still be.
"""

import json
import os
import sys
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tesserabench.bench.worker.pipe import PipeObserver, protect

if TYPE_CHECKING:
    from tesserabench.bench.device.protocol import Device
    from tesserabench.bench.measurement import TrialResult
    from tesserabench.bench.registry import Registry
    from tesserabench.bench.watch import Observer


def run(order: Mapping[str, Any], observer: PipeObserver) -> None:
    """Measure what the order says; its end is a `result` or a `failed` message."""
    from tesserabench.bench.codec import encode  # noqa: PLC0415 - NumPy starts its threads only under the limits above
    from tesserabench.bench.device import open_device  # noqa: PLC0415 - see above
    from tesserabench.bench.errors import (  # noqa: PLC0415 - see above
        BundleError,
        DeviceUnavailable,
        RegistrationError,
        ScenarioError,
        SelectionError,
    )

    try:
        with open_device(order["device"], threads=order.get("threads")) as device:
            observer.send("opened", device=encode(device.info))
            result = measure_order(order, device, observer)
            observer.send("result", result=result.without_measurements().to_dict())
    except (SelectionError, DeviceUnavailable, ScenarioError) as error:
        observer.send("failed", outcome="unsupported", reason=str(error))
    except (BundleError, RegistrationError) as error:
        # The same bundle was loaded when this was planned: nothing that the device lacks.
        observer.send("failed", outcome="harness_error", reason=str(error))


def measure_order(order: Mapping[str, Any], device: "Device", observer: "Observer") -> "TrialResult":
    """Measure what an order says on an open device; raise a SelectionError when it cannot be meant."""
    from tesserabench.bench.duet.interleave import measure_duet  # noqa: PLC0415 - NumPy, see `run`
    from tesserabench.bench.duet.plan import DuetPlan  # noqa: PLC0415 - see above
    from tesserabench.bench.plan import TrialPlan  # noqa: PLC0415 - see above
    from tesserabench.bench.trial import measure_trial  # noqa: PLC0415 - see above

    if "duet" in order:
        duet = DuetPlan.from_dict(order["duet"])
        digest_a, digest_b = order.get("digests") or (None, None)
        registries = _registry(duet.bundle_a, digest_a), _registry(duet.bundle_b, digest_b)
        return measure_duet(duet, device, observer=observer, registries=registries)
    plan = TrialPlan.from_dict(order["plan"])
    (digest,) = order.get("digests") or (None,)
    return measure_trial(plan, device, observer=observer, registry=_registry(order.get("bundle"), digest))


def _registry(spec: str | None, digest: str | None) -> "Registry":
    from tesserabench.bench.bundle import find_bundle  # noqa: PLC0415 - see `run`
    from tesserabench.bench.errors import BundleError  # noqa: PLC0415 - see `run`
    from tesserabench.bench.registry import INSTALLED  # noqa: PLC0415 - see `run`

    if spec is None:
        return INSTALLED
    bundle = find_bundle(spec)
    if bundle is None:
        raise BundleError(f"bundle {spec!r} is gone: it was there when this was planned")
    if digest is not None and bundle.digest != digest:
        raise BundleError(
            f"bundle {spec!r} changed after its first process had begun ({digest[:12]} was, {bundle.digest[:12]} is): "
            "leave its files alone while it is measured, or measure a copy"
        )
    return bundle.registry


def main() -> int:
    """Run the order on stdin."""
    pipe, parent = int(sys.argv[1]), int(sys.argv[2])
    protect(parent)
    observer = PipeObserver(pipe)
    order = json.load(sys.stdin)
    # Nothing that a library starts may keep the pipe open or write to it.
    os.set_inheritable(pipe, False)
    try:
        run(order, observer)
    except Exception as error:  # noqa: BLE001 - the last one who can tell the parent; the trace goes to its own output
        traceback.print_exc()
        reason = f"the worker raised {type(error).__name__}: {error}; this is a fault of the engine, please report it"
        observer.send("failed", outcome="harness_error", reason=reason)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
