"""Which devices a measurement uses beside its own."""

from tesserabench.agent.runner.companions import companions
from tesserabench.v1.host_pb2 import Device

GPUS = [Device(kind="cuda", uuid=f"GPU-{index}", index=index) for index in range(4)]
CPU = Device(kind="cpu", uuid="cpu-0")


def indices(found: tuple[Device, ...]) -> list[int]:
    return [device.index for device in found]


def test_collectives_take_every_other_gpu_from_the_next_one_on() -> None:
    assert indices(companions(["collectives/all_reduce"], GPUS[1], [CPU, *GPUS])) == [2, 3, 0]
    assert indices(companions(["memory/copy", "transfer/p2p"], GPUS[0], GPUS)) == [1, 2, 3]


def test_everything_else_leaves_the_other_devices_alone() -> None:
    assert companions(["memory/copy", "transfer/pinned"], GPUS[0], GPUS) == ()
    assert companions(["collectives/all_reduce"], CPU, [CPU, *GPUS]) == ()
    assert companions(["collectives/all_reduce"], GPUS[0], [CPU, GPUS[0]]) == ()


def test_an_instance_of_a_partitioned_device_stays_alone() -> None:
    instance = Device(kind="cuda", uuid="MIG-1", index=5)
    assert companions(["collectives/all_reduce"], instance, [*GPUS, instance]) == ()
    assert indices(companions(["collectives/all_reduce"], GPUS[0], [GPUS[0], instance])) == []
