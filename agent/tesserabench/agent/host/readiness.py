"""Whether a GPU is fit to be measured now: pure, from its state to what stands in the way."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tesserabench.agent.runner.watch import Obstacle
from tesserabench.v1.host_pb2 import Device
from tesserabench.v1.measurement_pb2 import DeviceState

PROCESS, UTILIZATION, MEMORY, TEMPERATURE = "process", "utilization", "memory", "temperature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From where on a GPU is not fit to be measured; None leaves a limit out."""

    utilization: float = 0.02
    memory_fraction: float = 0.5
    """Share of its memory in use while nothing of ours runs."""
    temperature_celsius: float | None = None


def obstacles(device: Device, state: DeviceState, pids: Sequence[int], limits: Limits) -> Iterator[Obstacle]:
    """What stands in the way. What the device cannot tell does not."""
    if pids:
        names = ", ".join(map(str, pids))
        yield Obstacle(word=PROCESS, sentence=f"process(es) {names} compute on {device.model}")
    # Work that NVML lists no process for: another container's, or a virtual machine's.
    elif state.HasField("utilization") and state.utilization > limits.utilization:
        yield Obstacle(
            word=UTILIZATION,
            sentence=f"{device.model} is {state.utilization:.0%} busy with work that shows no process "
            f"(limit {limits.utilization:.0%})",
        )
    if state.HasField("memory_used_bytes") and device.HasField("memory_bytes") and device.memory_bytes:
        used = state.memory_used_bytes / device.memory_bytes
        if used > limits.memory_fraction:
            yield Obstacle(
                word=MEMORY,
                sentence=f"{used:.0%} of the memory of {device.model} is in use (readiness.memory_fraction is "
                f"{limits.memory_fraction:g})",
            )
    limit = limits.temperature_celsius
    if limit is not None and state.HasField("temperature_celsius") and state.temperature_celsius > limit:
        yield Obstacle(
            word=TEMPERATURE,
            sentence=f"{device.model} has {state.temperature_celsius:g} degrees Celsius "
            f"(readiness.temperature_celsius is {limit:g})",
        )
