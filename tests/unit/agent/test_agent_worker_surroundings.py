"""What surrounds a worker: variables that spoil measurements, memory, placement, and what the driver reports."""

import os
import signal
from pathlib import Path

import pytest
from tesserabench.agent.host.fingerprint import host_facts
from tesserabench.agent.host.placement import members
from tesserabench.agent.runner import ending
from tesserabench.agent.runner.child import place
from tesserabench.agent.runner.memory import MemoryGuard
from tesserabench.agent.runner.process import worker_environment
from tesserabench.agent.runner.variables import spoiling, spoiling_lines
from tesserabench.agent.runner.xids import explain_xid, xid_sentence
from tesserabench.bench import Outcome


@pytest.mark.parametrize(
    ("name", "value", "spoils"),
    [
        ("CUDA_LAUNCH_BLOCKING", "1", True),
        ("CUDA_LAUNCH_BLOCKING", "0", False),
        ("CUDA_INJECTION64_PATH", "/opt/profiler.so", True),
        ("NVIDIA_TF32_OVERRIDE", "0", True),
        ("CUDA_CACHE_DISABLE", "", False),
        ("NCCL_DEBUG", "INFO", False),
    ],
)
def test_variables_that_spoil_measurements_are_named_and_not_inherited(name: str, value: str, spoils: bool) -> None:
    assert (name in spoiling({name: value})) is spoils
    assert (name in worker_environment({name: value}, Path("/x"), {})) is not spoils
    assert [name in line and "unset it" in line for line in spoiling_lines({name: value})] == [True] * spoils


def test_secrets_stay_behind() -> None:
    parent = {"TESSERABENCH_AGENT_TOKEN": "s", "AWS_SECRET_ACCESS_KEY": "s", "PATH": "/bin", "CUDA_HOME": "/cuda"}
    kept = worker_environment(parent, Path("/x"), {})
    assert {name for name in kept if name in parent} == {"PATH", "CUDA_HOME"}


def test_guard_complains_above_its_limit_and_of_nobody_who_is_gone() -> None:
    assert "worker_memory_bytes" in MemoryGuard(os.getpid(), 1 << 20).complaint()
    assert MemoryGuard(os.getpid(), 1 << 50).complaint() == ""
    assert MemoryGuard(os.getpid(), None).complaint() == ""
    assert MemoryGuard(2**22 + 1, 1).complaint() == ""


def test_kill_for_want_of_memory_is_told_from_others() -> None:
    killed = ending.of_exit(-signal.SIGKILL, "gemm/matmul[m=4]", ran_out=True)
    assert (killed.outcome, killed.case) == (Outcome.OUT_OF_MEMORY, "gemm/matmul[m=4]")
    assert ending.of_exit(-signal.SIGKILL, None).outcome is Outcome.DEVICE_ERROR
    assert ending.of_exit(-signal.SIGSEGV, None, ran_out=True).outcome is Outcome.DEVICE_ERROR


def test_worker_that_is_not_placed_says_so() -> None:
    assert place([], None) == {"processors": [], "numa_node": None}
    assert place([2**20], None)["processors"] == []


def test_members_of_a_set_of_bits() -> None:
    assert members([0b101, 1 << 63]) == {0, 2, 127}
    assert members([]) == set()


def test_every_error_number_has_an_explanation() -> None:
    assert "compute-sanitizer" in xid_sentence(31)
    assert not explain_xid(31).hardware
    assert explain_xid(79).lost
    assert "Xid 12345" in xid_sentence(12345)


def test_limits_of_a_container_are_told(tmp_path: Path) -> None:
    group = tmp_path / "sys/fs/cgroup/kubepods/pod1"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("2147483648\n")
    (group / "cpu.max").write_text("150000 100000\n")
    process = tmp_path / "proc/self"
    process.mkdir(parents=True)
    (process / "cgroup").write_text("0::/kubepods/pod1\n")
    (tmp_path / "proc/1").mkdir()
    (tmp_path / "proc/1/cgroup").write_text("0::/kubepods/pod1\n")
    for node in (0, 1):
        (tmp_path / f"sys/devices/system/node/node{node}").mkdir(parents=True)
    facts = host_facts(tmp_path)
    assert facts["host.cgroup_memory_bytes"] == 2 << 30
    assert facts["host.cgroup_cpus"] == 1.5
    assert facts["host.numa_nodes"] == 2
    assert facts["host.container"] == "kubepods"


def test_host_that_tells_nothing_has_no_limits(tmp_path: Path) -> None:
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("max 100000\n")
    assert set(host_facts(tmp_path)) == {"host.machine_hash"}
