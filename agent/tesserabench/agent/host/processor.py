"""State of the processors, as far as everybody may read it."""

import time

import psutil
from tesserabench.v1.measurement_pb2 import DeviceState


def processor_state() -> DeviceState:
    """Clock, load and memory in use of the machine; what cannot be read is absent."""
    state = DeviceState()
    state.time.FromNanoseconds(time.time_ns())
    frequency = psutil.cpu_freq()
    if frequency is not None and frequency.current:
        state.sm_clock_mhz = frequency.current
    cores = psutil.cpu_count() or 1
    state.utilization = min(1.0, psutil.getloadavg()[0] / cores)
    state.memory_used_bytes = int(psutil.virtual_memory().used)
    return state
