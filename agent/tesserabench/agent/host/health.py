"""One word for the state of a device: pure, from its last reading."""

from tesserabench.v1.measurement_pb2 import DeviceState


def health(state: DeviceState, *, measuring: bool) -> str:
    """`healthy`, `degraded` (findings, or memory errors that stay), `unhealthy` (silent), `busy` (with others)."""
    told = {field.name for field, _ in state.ListFields()} - {"time", "findings"}
    if not told:
        return "unhealthy"
    if state.ecc_uncorrected or state.findings:
        return "degraded"
    return "busy" if state.foreign_pids and not measuring else "healthy"
