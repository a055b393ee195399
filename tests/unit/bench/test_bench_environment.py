import pytest
from tesserabench.bench import open_device, run_locally
from tesserabench.bench.environment import fingerprint, host_facts, variables


def test_variables_that_steer_numerical_libraries_are_recorded_and_secrets_are_not() -> None:
    found = variables(
        {
            "OMP_NUM_THREADS": "2",
            "CUDA_VISIBLE_DEVICES": "GPU-1",
            "OPENBLAS_CORETYPE": "Haswell",
            "NVIDIA_API_KEY": "hush",
            "CUDA_AUTH": "hush",
            "NCCL_SECRET_TOKEN": "hush",
            "HOME": "/root",
            "MY_CUDA_PATH": "elsewhere",
            "CUDA_CACHE_PATH": "/var/lib/somewhere",
            "CUPY_CACHE_DIR": "/var/lib/elsewhere",
        }
    )
    assert found == {
        "env.CUDA_VISIBLE_DEVICES": "GPU-1",
        "env.OMP_NUM_THREADS": "2",
        "env.OPENBLAS_CORETYPE": "Haswell",
    }


def test_unreadable_facts_are_left_out() -> None:
    facts = host_facts()
    assert None not in facts.values()
    assert {"host.kernel", "host.memory_bytes", "cpu.model", "software.python", "software.engine"} <= set(facts)


@pytest.mark.parametrize("device", ["cpu", "simulated"])
def test_comparability_ignores_variables_and_minds_the_device(device: str) -> None:
    with open_device(device) as opened:
        plain, steered = fingerprint(opened, {}), fingerprint(opened, {"OMP_NUM_THREADS": "1"})
    assert plain.comparability == steered.comparability
    assert plain.facts != steered.facts


def test_comparability_changes_with_what_must_be_equal() -> None:
    with open_device("simulated") as one, open_device('simulated:model = "Another"') as other:
        assert fingerprint(one).comparability != fingerprint(other).comparability
    with open_device("cpu", threads=1) as one, open_device("cpu", threads=2) as other:
        assert fingerprint(one).comparability != fingerprint(other).comparability


def test_header_carries_the_environment() -> None:
    header = run_locally("gemm", device="simulated").header
    assert header is not None
    assert header.environment.facts["simulated.scenario"] == "steady"
    assert len(header.environment.comparability) == 16
