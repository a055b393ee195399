"""Our own CUDA kernels, as text: no headers, so that each compiles in a fraction of a second.

`ELEMENT` is defined by the compiler's options as float or double where a kernel works on typed data.
"""

from importlib import resources

MODULES = ("copy", "reduction", "spin", "sweep", "triad")
"""Names of the sources; each defines one kernel of the same name."""

VARIANTS = {
    "copy": ("float", "double"),
    "reduction": ("float", "double"),
    "triad": ("float", "double"),
    "spin": (),
    "sweep": (),
}
"""The values of ELEMENT each source is compiled for; none where it has no typed data."""

OPTIONS = ("--std=c++17",)


def source(module: str) -> str:
    """Return the CUDA source of a module."""
    return resources.files(__name__).joinpath(f"{module}.cu").read_text(encoding="utf-8")


def compile_options(defines: dict[str, str]) -> tuple[str, ...]:
    """Return the compiler's options for a set of definitions."""
    return (*OPTIONS, *(f"-D{name}={value}" for name, value in sorted(defines.items())))
