"""Our own CUDA kernels, as text: few headers, so that each compiles in a fraction of a second.

Every `.cu` file here is a kernel module, found by its name; nothing else lists it. Comment lines at its top say how it
is meant to be compiled:

    // variants: ELEMENT=float,double            every combination of these definitions is compiled by the tests
    // variants: ELEMENT="long long" WIDTH=2     further lines add further combinations; quote values with blanks
    // architectures: 90a                        only for these; without the line, for any device from sm_80 on
    // spills: why it may                        without the line, no variant may spill registers

`#include "name.cuh"` takes a file of this folder into the text, once. CUDA's own headers are written in angle brackets.
"""

import itertools
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

OPTIONS = ("--std=c++17",)
ARCHITECTURES = ("80", "90", "100", "120")
"""What every module without a line of its own must compile for."""

_HEADER = re.compile(r"^// *(variants|architectures|spills): *(.+?) *$")
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"[ \t]*$', re.MULTILINE)
_BOUNDS = r"(?:\s*__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\))?"
_KERNEL = re.compile(rf"__global__{_BOUNDS}\s+void{_BOUNDS}\s+(\w+)\s*\(")


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSource:
    """A kernel module: its text with the files of ours that it includes, and what its first lines declare."""

    name: str
    text: str
    variants: tuple[Mapping[str, str], ...]
    """Definitions to compile it with; one empty mapping where it needs none."""
    architectures: tuple[str, ...]
    functions: tuple[str, ...]
    """Its kernels, in order."""
    may_spill: bool


@cache
def modules() -> tuple[str, ...]:
    """Return the names of all kernel modules, sorted."""
    files = (item.name for item in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".cu") for name in files if name.endswith(".cu")))


@cache
def find(module: str) -> KernelSource:
    """Return a kernel module of this folder; raise ValueError when its first lines cannot be understood."""
    return parse(module, _read(f"{module}.cu"), _read)


def source(module: str) -> str:
    """Return the CUDA source of a module, with the files of ours that it includes."""
    return find(module).text


def parse(name: str, text: str, read: Callable[[str], str]) -> KernelSource:
    """Return a kernel module from its text; `read` returns the text of a file that it includes by name.

    Raises ValueError naming the line that is wrong.
    """
    found: dict[str, list[str]] = {"variants": [], "architectures": [], "spills": []}
    for line in itertools.takewhile(lambda line: line.startswith("//"), text.splitlines()):
        if match := _HEADER.match(line):
            found[match.group(1)].append(match.group(2))
    variants = tuple(itertools.chain.from_iterable(_combinations(name, line) for line in found["variants"]))
    whole = expand(name, text, read)
    return KernelSource(
        name=name,
        text=whole,
        variants=variants or ({},),
        architectures=tuple(" ".join(found["architectures"]).replace(",", " ").split()) or ARCHITECTURES,
        functions=tuple(dict.fromkeys(_KERNEL.findall(whole))),
        may_spill=bool(found["spills"]),
    )


def expand(name: str, text: str, read: Callable[[str], str]) -> str:
    """Return the text with every `#include "file"` replaced by that file, the first time it is named.

    A file that includes itself, however indirectly, ends there: it is in the text already.
    """
    seen = {name, f"{name}.cu"}

    def place(match: re.Match[str]) -> str:
        if match.group(1) in seen:
            return ""
        seen.add(match.group(1))
        return _INCLUDE.sub(place, read(match.group(1)).rstrip("\n"))

    return _INCLUDE.sub(place, text)


def compile_options(defines: Mapping[str, str]) -> tuple[str, ...]:
    """Return the compiler's options for a set of definitions."""
    return (*OPTIONS, *(f"-D{name}={value}" for name, value in sorted(defines.items())))


def _read(file: str) -> str:
    return resources.files(__name__).joinpath(file).read_text(encoding="utf-8")


def _combinations(module: str, line: str) -> tuple[Mapping[str, str], ...]:
    axes: list[list[tuple[str, str]]] = []
    for word in shlex.split(line):
        name, equals, values = word.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(
                f"{module}.cu: '// variants: {line}': {word!r} is no definition; "
                "write NAME=VALUE or NAME=VALUE,VALUE, and quote values with blanks"
            )
        axes.append([(name, value) for value in values.split(",")])
    return tuple(dict(choice) for choice in itertools.product(*axes))
