from datetime import UTC, datetime

import pytest
from tesserabench.cli.views.fleet import host_details, note_of
from tesserabench.v1.host_pb2 import Device, Host


@pytest.mark.parametrize(
    ("host", "note"),
    [
        (Host(), ""),
        (Host(clock_offset_seconds=2.5), ""),
        (Host(clock_offset_seconds=259_200), "its clock is 3d00h ahead: set it"),
        (Host(clock_offset_seconds=-90), "its clock is 1m30s behind: set it"),
        (Host(cordon_reason="fan", clock_offset_seconds=-90), "fan; its clock is 1m30s behind: set it"),
        (Host(unready_reason="disk is full"), "disk is full"),
    ],
)
def test_a_note_tells_why_a_host_takes_no_work_and_a_wrong_clock(host: Host, note: str) -> None:
    assert note_of(host) == note


def test_description_tells_what_is_the_matter_with_a_device() -> None:
    host = Host()
    host.inventory.devices.append(Device(uuid="GPU-1", kind="cuda", model="H100"))
    host.devices["GPU-1"].findings.extend(["brake", "thermal"])
    assert "look at: brake, thermal" in dict(host_details(host, datetime.now(tz=UTC)))["Device 0"]
