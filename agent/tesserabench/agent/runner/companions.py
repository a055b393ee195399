"""The devices that a measurement uses beside its own: pure, from what is measured and what the host has."""

from collections.abc import Iterable, Sequence

from tesserabench.bench import find_benchmark
from tesserabench.v1.host_pb2 import Device


def companions(benchmarks: Iterable[str], device: Device, devices: Sequence[Device]) -> tuple[Device, ...]:
    """The other CUDA devices that these benchmarks use as well, from the next index on; none for most benchmarks.

    A process sees one instance of a partitioned device at most: work on such a device stays alone.
    """
    if device.kind != "cuda" or _is_instance(device):
        return ()
    if not any(find_benchmark(name).several_devices for name in set(benchmarks)):
        return ()
    others = [item for item in devices if item.kind == "cuda" and item.uuid != device.uuid and not _is_instance(item)]
    return tuple(sorted(others, key=lambda item: (item.index < device.index, item.index)))


def _is_instance(device: Device) -> bool:
    return device.uuid.startswith("MIG-")
