"""`tbctl bench doctor`: which devices can be measured here, and what is missing for the others."""

import shutil
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from tesserabench.cli.bench_library import load_library
from tesserabench.cli.commands.doctor import COLUMNS, Check
from tesserabench.cli.context import CommandContext
from tesserabench.cli.grammar import command

_NCCL = ("nvidia-nccl-cu13", "nvidia-nccl-cu12")


@command(
    "doctor",
    examples=(
        ("tbctl bench doctor", "what can be measured on this machine"),
        ("tbctl bench doctor -o json", "for a program"),
    ),
)
def doctor_command(context: CommandContext) -> None:
    """Say which devices and optional parts can be used on this machine, and why the others cannot."""
    library = load_library()
    checks = [_device(library, "cpu"), _device(library, "cuda"), _compiler(), _collectives(), _profiler()]
    context.printer.items("Check", checks, COLUMNS, body=_body, nothing="")


def _body(check: Check) -> dict[str, str]:
    return {"name": check.name, "status": check.status, "text": check.text, "remedy": check.remedy}


def _device(library: ModuleType, name: str) -> Check:
    try:
        with library.open_device(name) as device:
            info = device.info
            facts = (
                info.model,
                f"{info.processors} processors" if info.processors else "",
                f"timer {device.timer.name}, floor {device.timer.floor_ns:.0f} ns",
            )
            return Check(name=f"device {name}", status="ok", text=", ".join(filter(None, facts)))
    except library.DeviceUnavailable as error:
        text, _, remedy = str(error).partition("; ")
        return Check(name=f"device {name}", status="warn", text=text, remedy=remedy)


def _compiler() -> Check:
    from tesserabench.bench.bundle.compiling import nvrtc  # noqa: PLC0415 - with the library

    binding = nvrtc()
    if binding is None:
        remedy = "install tesserabench[cuda13], or tesserabench[cuda12] for a CUDA 12 driver"
        return Check(name="compiler", status="warn", text="NVRTC is not installed: no kernel compiles", remedy=remedy)
    version = ".".join(map(str, binding.getVersion()))
    return Check(name="compiler", status="ok", text=f"NVRTC {version}; it needs no GPU")


def _collectives() -> Check:
    for package in _NCCL:
        try:
            return Check(name="nccl", status="ok", text=f"{package} {version(package)}: suite collectives")
        except PackageNotFoundError:
            continue
    remedy = "install tesserabench[collectives], or tesserabench[collectives-cuda12] for a CUDA 12 driver"
    return Check(name="nccl", status="warn", text="not installed: no suite collectives", remedy=remedy)


def _profiler() -> Check:
    found = shutil.which("ncu")
    if found is None:
        remedy = "install Nsight Compute and put ncu on PATH"
        return Check(name="profiler", status="warn", text="ncu is not on PATH: no --profile", remedy=remedy)
    return Check(name="profiler", status="ok", text=f"{found}: bench run --profile")
