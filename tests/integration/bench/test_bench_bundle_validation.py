"""Validating bundles in a process of their own: sound ones, wrong ones and hostile ones."""

import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.waiting import wait_until
from tesserabench.bench.bundle import BundleError, load_bundle
from tesserabench.bench.bundle.beginning import TEMPLATES, begin_bundle
from tesserabench.bench.bundle.checks import Check, Status
from tesserabench.bench.bundle.supervising import Validation, validate
from tesserabench.bench.local import run_locally

HAS_NVRTC = find_spec("cupy_backends") is not None and find_spec("nvidia") is not None


FLOODS = """
import contextlib, os
for descriptor in range(3, 64):
    with contextlib.suppress(OSError):
        os.write(descriptor, b"noise\\n")
"""


def begin(folder: Path, template: str = "cuda") -> Path:
    begin_bundle(folder, template)
    return folder


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def failures(found: Validation) -> list[str]:
    return [f"{check.subject}: {check.message}" for check in found.checks if check.status is Status.FAILED]


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_is_sound(template: str, tmp_path: Path) -> None:
    heard: list[Check] = []
    found = validate(begin(tmp_path / f"My {template}", template), tell=heard.append)
    assert failures(found) == []
    assert found.passed
    assert tuple(heard) == found.checks
    assert found.checks[0].message.startswith(f"my-{template}, digest ")
    compiled = [check for check in found.checks if check.subject.startswith("kernel")]
    assert {check.status for check in compiled} <= ({Status.PASSED} if HAS_NVRTC else {Status.SKIPPED})
    assert bool(compiled) == (template != "python")
    ran = [check for check in found.checks if check.subject.endswith(" on cpu")]
    assert {check.status for check in ran} == {Status.SKIPPED if template == "cuda" else Status.PASSED}


def test_bundle_is_begun_only_in_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(BundleError, match="is not empty"):
        begin_bundle(tmp_path, "cuda")
    with pytest.raises(BundleError, match="is unknown; use one of: python, cuda, fusion"):
        begin_bundle(tmp_path / "new", "rust")
    with pytest.raises(BundleError, match="makes no name"):
        begin_bundle(tmp_path / "___", "cuda")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.skipif(not HAS_NVRTC, reason="NVRTC is not installed")
@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("ELEMENT(2) * x[i]", "ELEMENT(2) * z[i]", 'saxpy.cu(6): error: identifier "z" is undefined'),
        ('extern "C" __global__ void saxpy', "__global__ void saxpy", "has no kernel 'saxpy'"),
        ('#include "index.cuh"', '#include "gone.cuh"', "saxpy.cu:1: includes 'gone.cuh', which is not there"),
    ],
)
def test_kernel_that_does_not_compile_names_file_and_line(old: str, new: str, says: str, tmp_path: Path) -> None:
    folder = begin(tmp_path / "mine")
    rewrite(folder / "kernels" / "saxpy.cu", old, new)
    assert says in " ".join(failures(validate(folder)))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('block = ["threads"]', 'block = ["threads * 8"]', "block of saxpy in mine/saxpy[n=1048576,threads=256"),
        ('grid = ["ceil_div(n, threads)"]', 'grid = ["n // 2 ** 40"]', "must be between 1 and"),
        ('grid = ["ceil_div(n, threads)"]', 'grid = ["ceil_div(q, threads)"]', "names 'q', which is unknown here"),
        ('flops = "2 * n"', 'flops = "n / 3"', "it must be a whole number, try // or round()"),
        ('flops = "2 * n"', 'flops = "n - 67108864"', "it must be zero or more"),
        ('out = "2.0 * x + y"', 'out = "(2.0 * x + y)[1:]"', "has the shape (1048575,), but the output has (1048576,)"),
        ('out = "2.0 * x + y"', 'out = "log(0.0 * x)"', "is not finite everywhere"),
        ('shape = ["n"] },\n  { scalar', 'shape = ["n - n"] },\n  { scalar', "every length must be 1 or more"),
        ('distribution = "uniform"', 'distribution = "integers"', "integers need an upper end"),
        ('source = "saxpy.cu"', 'source = "gone.cu"', "gone.cu"),
        ("threads = [128, 256, 512]", "threads = [128, 256, 4096]", "must have 1 to 1024 threads"),
    ],
)
def test_wrong_declaration_is_found_without_a_device(old: str, new: str, says: str, tmp_path: Path) -> None:
    folder = begin(tmp_path / "mine")
    rewrite(folder / "tesserabench.toml", old, new)
    found = failures(validate(folder))
    assert says in " ".join(found)
    assert "Traceback" not in " ".join(found)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("while True: pass\n", "took longer than 4 s, while the bundle was loaded"),
        ("import os\nos.kill(os.getpid(), 11)\n", "the process died of SIGSEGV while the bundle was loaded"),
        ("import os\nos._exit(7)\n", "the process ended with status 7 while the bundle was loaded"),
        (FLOODS, "something else than checks came from the process while the bundle was loaded"),
        ("raise RuntimeError('not\\ntoday')\n", "softmax.py:1: raises RuntimeError while it is imported"),
        ("def f(:\n", "softmax.py:1: is no valid Python"),
        ("print('flood ' * 1_000_000)\n", "declares no benchmark"),
    ],
)
def test_hostile_bundle_is_one_failed_check(text: str, says: str, tmp_path: Path) -> None:
    folder = begin(tmp_path / "mine", "python")
    (folder / "softmax.py").write_text(text)
    found = validate(folder, limit_seconds=4 if "while" in text else 60)
    assert len(failures(found)) == 1
    assert says in failures(found)[0]
    assert not found.passed


def test_process_that_leaves_before_its_last_check_has_not_passed(tmp_path: Path) -> None:
    folder = begin(tmp_path / "mine", "python")
    rewrite(folder / "softmax.py", "xp.divide(self.y, self.row, out=self.y)", "import os; os._exit(0)")
    (failure,) = failures(validate(folder))
    assert failure.startswith("process: the process ended with status 0 after 'mine/softmax: cases and formulas'")


def test_process_that_a_bundle_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    folder = begin(tmp_path / "mine", "python")
    with (folder / "softmax.py").open("a") as module:
        module.write("\nimport os, signal\nif os.fork() == 0:\n    signal.pause()\n")
    assert validate(folder, limit_seconds=300).passed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_whoever_validates_takes_the_process_with_it(number: signal.Signals, tmp_path: Path) -> None:
    folder = begin(tmp_path / "mine", "python")
    told = tmp_path / "pid"
    hangs = "import os, signal, pathlib\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    hangs += f"pathlib.Path({str(told)!r}).write_text(str(os.getpid()) + '.')\nwhile True: signal.pause()\n"
    (folder / "softmax.py").write_text(hangs)
    command = [sys.executable, "-m", "tesserabench.cli", "bench", "validate", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as parent:
        wait_until(lambda: told.exists() and told.read_text().endswith("."), seconds=60, what="the bundle to load")
        child = int(told.read_text().rstrip("."))
        parent.send_signal(number)
        assert parent.wait(60) == (130 if number is signal.SIGTERM else -signal.SIGKILL)
    wait_until(lambda: not alive(child), seconds=30, what="the process to end")


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_device_that_cannot_be_used_is_a_failed_check(tmp_path: Path) -> None:
    folder = begin(tmp_path / "mine", "python")
    found = failures(validate(folder, devices=("abacus", "cpu:3")))
    assert found[0].startswith("device abacus: device 'abacus' is unknown")
    assert "device 'cpu:3' does not exist" in found[1]


def test_wrong_result_is_found_on_the_cpu(tmp_path: Path) -> None:
    folder = begin(tmp_path / "mine", "python")
    rewrite(folder / "softmax.py", "xp.divide(self.y, self.row, out=self.y)", "pass")
    (failure,) = failures(validate(folder))
    assert failure.startswith("mine/softmax[rows=1024,columns=512,dtype=float32] on cpu: incorrect")


def test_exception_of_a_benchmark_is_a_failed_check(tmp_path: Path) -> None:
    folder = begin(tmp_path / "mine", "python")
    rewrite(folder / "softmax.py", "flops=lambda params: 5 * _size(params)", "flops=lambda params: params['gone']")
    assert "KeyError" in " ".join(failures(validate(folder, devices=())))


def test_templates_are_measured_on_devices_without_a_gpu(tmp_path: Path) -> None:
    for template, device in (("cuda", "simulated"), ("fusion", "cpu")):
        bundle = load_bundle(begin(tmp_path / template, template))
        result = run_locally(bundle.name, device=device, registry=bundle.registry)
        assert {str(item.outcome) for item in result.measurements} == {"ok"}, template


@pytest.mark.skipif(not HAS_NVRTC, reason="NVRTC is not installed")
def test_source_that_nothing_declares_must_compile_only_where_it_says_how(tmp_path: Path) -> None:
    folder = begin(tmp_path / "mine")
    (folder / "kernels" / "left_over.cu").write_text("__global__ void f(ELEMENT* x) {}\n")
    found = {check.subject: check for check in validate(folder, devices=()).checks}
    assert found["kernel left_over.cu"].status is Status.SKIPPED
    (folder / "kernels" / "left_over.cu").write_text("// variants: ELEMENT=flaot\n__global__ void f(ELEMENT* x) {}\n")
    assert "flaot" in " ".join(failures(validate(folder, devices=())))


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("kernel saxpy does not compile for sm_90: saxpy.cu(3): error", Status.FAILED),
        ("dtype float16 has no library product on a CPU; use float32", Status.SKIPPED),
    ],
)
def test_kernel_that_the_device_cannot_compile_is_a_fault_of_the_bundle(
    reason: str, status: Status, tmp_path: Path
) -> None:
    folder = begin(tmp_path / "mine", "python")
    refusal = f"raise CaseFailure(Outcome.UNSUPPORTED, {reason!r})"
    rewrite(folder / "softmax.py", "    return Softmax(device, params, seed)", f"    {refusal}")
    rewrite(folder / "softmax.py", "import ArrayDevice,", "import ArrayDevice, CaseFailure, Outcome,")
    found = validate(folder).checks[-1]
    assert (found.status, found.message) == (status, reason)
