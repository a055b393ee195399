"""How much evidence is read for a cause."""

from datetime import UTC, datetime

from tesserabench.collector.core.cause_evidence import ChangeSeen, _bounded
from tesserabench.collector.store.tracks import DeviceVisit, device_id

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _visits(devices: int, runs: int = 3) -> list[DeviceVisit]:
    return [
        DeviceVisit(
            run_id=run * 1000 + number,
            commit=f"{run:040x}",
            host=f"host-{number // 8}",
            device=f"GPU-{number:04}",
            model="m",
            kind="cuda",
            at=NOW,
            facts={},
            throttle="",
        )
        for run in range(runs)
        for number in range(devices)
    ]


def test_a_small_fleet_is_looked_at_as_a_whole() -> None:
    visits = _visits(32)
    assert _bounded(visits, [ChangeSeen(key=1, series_id=1, change=0.1, run_id=5)], series=100) == visits


def test_a_large_fleet_is_sampled_and_what_showed_the_change_is_kept() -> None:
    change = ChangeSeen(key=1, series_id=1, change=0.1, run_id=1501, devices=frozenset({"GPU-0777"}))
    kept = {visit.device for visit in _bounded(_visits(1600), [change], series=100)}
    assert len(kept) == 60
    assert {"GPU-0501", "GPU-0777"} <= kept
    numbers = sorted(int(device.removeprefix("GPU-")) for device in kept)
    assert numbers[0] < 40
    assert numbers[-1] > 1550


def test_a_device_is_named_by_its_uuid_or_by_its_place() -> None:
    assert device_id("gpu-07", "GPU-1234") == "GPU-1234"
    assert device_id("node-1", "SIM-1") == "node-1/SIM-1"
    assert device_id("node-1", "") == "node-1"
