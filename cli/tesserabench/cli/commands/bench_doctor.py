"""`tbctl bench doctor`: which devices can be measured here, and what is missing for the others."""

from importlib.util import find_spec
from types import ModuleType

from tesserabench.cli.bench_library import load_library
from tesserabench.cli.commands.doctor import COLUMNS, Check
from tesserabench.cli.context import CommandContext
from tesserabench.cli.grammar import command

_OPTIONAL = (
    ("nvmath", "matrix products through cuBLASLt, fp8 among them", "tesserabench[gemm]"),
    ("scipy", "verdicts of interleaved comparisons", "scipy"),
)


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
    checks = [_device(library, "cpu"), _device(library, "cuda"), _compiler(), *map(_extra, _OPTIONAL)]
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


def _extra(part: tuple[str, str, str]) -> Check:
    module, what, package = part
    if find_spec(module) is None:
        return Check(name=module, status="warn", text=f"not installed: no {what}", remedy=f"install {package}")
    return Check(name=module, status="ok", text=what)
