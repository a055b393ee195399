"""What this very machine says of itself."""

import re

from tesserabench.agent.host import identity
from tesserabench.agent.host.gpus import open_gpus
from tesserabench.agent.host.machine import Machine


async def test_processor_tells_what_it_can() -> None:
    machine = Machine({"cpu"}, None)
    state = await machine.state(machine.devices[0])
    assert state.HasField("memory_used_bytes")
    assert not state.HasField("temperature_celsius")
    inventory = machine.inventory((), {"rack": "a1"})
    assert inventory.cpu_count >= 1
    assert inventory.memory_bytes > 0
    assert inventory.boot_id
    assert inventory.devices[0].uuid.startswith("cpu-")


def test_machine_is_told_from_others_without_giving_its_id_away() -> None:
    found = identity.machine_hash()
    assert re.fullmatch(r"[0-9a-f]{16}", found)
    assert found == identity.machine_hash()
    assert found not in identity.first_line("/etc/machine-id")
    assert "kernel" in identity.os_name()


def test_host_without_nvml_has_no_gpus_and_a_host_with_it_lists_them() -> None:
    gpus = open_gpus()
    if gpus is None:
        assert Machine({"cuda"}, None).devices == ()
        return
    try:
        assert all(device.uuid.startswith("GPU-") for device in gpus.devices)
    finally:
        gpus.close()
