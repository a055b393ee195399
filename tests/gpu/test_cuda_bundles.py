"""Bundles on real hardware: every template validates and runs, and a wrong kernel is found."""

from pathlib import Path

import cupy
import pytest
from tesserabench.bench import Outcome, run_locally
from tesserabench.bench.bundle import load_bundle
from tesserabench.bench.bundle.beginning import TEMPLATES, begin_bundle
from tesserabench.bench.bundle.checks import Status
from tesserabench.bench.bundle.supervising import validate

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not cupy.is_available(), reason="no CUDA device on this machine"),
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_template_is_sound_on_the_device(template: str, tmp_path: Path) -> None:
    begin_bundle(tmp_path / "mine", template)
    found = validate(tmp_path / "mine", devices=("cuda",))
    assert [check for check in found.checks if check.status is not Status.PASSED] == []
    assert any(check.subject.endswith(" on cuda") for check in found.checks)


@pytest.mark.parametrize("template", TEMPLATES)
def test_template_is_measured_on_the_device(template: str, tmp_path: Path) -> None:
    begin_bundle(tmp_path / "mine", template)
    bundle = load_bundle(tmp_path / "mine")
    result = run_locally(bundle.name, device="cuda", registry=bundle.registry)
    assert {item.outcome for item in result.measurements} == {Outcome.OK}
    assert result.header is not None
    assert result.header.environment.facts["bundle.digest"] == bundle.digest
    if template != "python":
        facts = [kernel for item in result.measurements for kernel in item.kernels]
        assert facts
        assert all(kernel.registers for kernel in facts)


def test_wrong_kernel_has_no_time(tmp_path: Path) -> None:
    begin_bundle(tmp_path / "mine", "cuda")
    kernel = tmp_path / "mine" / "kernels" / "saxpy.cu"
    kernel.write_text(kernel.read_text().replace("ELEMENT(2)", "ELEMENT(3)"))
    bundle = load_bundle(tmp_path / "mine")
    (measured,) = run_locally(bundle.name, device="cuda", registry=bundle.registry).measurements
    assert measured.outcome is Outcome.INCORRECT
    assert measured.statistics is None
