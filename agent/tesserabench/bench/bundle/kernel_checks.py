"""Whether a bundle's CUDA sources compile: those that it declares, and those that only its Python names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tesserabench.bench.bundle.checks import Check, Status, check, every_case
from tesserabench.bench.bundle.compiling import CompileError, compile_source, nvrtc
from tesserabench.bench.bundle.declared import Declared
from tesserabench.bench.bundle.declared_benchmark import benchmark_of
from tesserabench.bench.bundle.expression import ExpressionError
from tesserabench.bench.bundle.manifest import Manifest
from tesserabench.bench.bundle.sources import cuda_source
from tesserabench.bench.errors import BundleError
from tesserabench.bench.kernels import ARCHITECTURES as EVERY_ARCHITECTURE
from tesserabench.bench.kernels import parse


def compiled(manifest: Manifest, architectures: Sequence[str]) -> Iterator[Check]:
    """Yield a check for every source and set of definitions; one that is skipped where NVRTC is missing.

    A source that no benchmark declares is compiled as its first lines say (`// variants: NAME=VALUE,VALUE`). Without
    such a line it may need definitions that only Python knows: then it counts only when it compiles.
    """
    folder = manifest.folder / manifest.kernels
    binding = nvrtc()
    try:
        builds = [*_declared_builds(manifest, folder), *_free_builds(manifest, folder)]
    except BundleError as error:
        yield Check(subject="kernels: definitions", status=Status.FAILED, message=str(error))
        return
    if binding is None and builds:
        message = "NVRTC is not installed here; install tesserabench[cuda13] to compile without a GPU"
        yield Check(subject="kernels: compile", status=Status.SKIPPED, message=message)
        return
    for build in builds:
        found = check(build.subject, partial(build.compile, binding, architectures))
        if found.status is Status.FAILED and build.guessed:
            message = f"no benchmark declares it and no line `// variants: NAME=VALUE` says how; {found.message}"
            found = Check(subject=found.subject, status=Status.SKIPPED, message=message)
        yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Build:
    """A source with its definitions, to be compiled; `function` is empty where any will do."""

    path: Path
    root: Path
    function: str
    options: tuple[str, ...]
    guessed: bool = False
    """Whether nothing says that these are its definitions."""

    @property
    def subject(self) -> str:
        words = [self.path.relative_to(self.root).as_posix(), *(word for word in self.options if word[:2] == "-D")]
        return f"kernel {' '.join(words)}"

    def compile(self, binding: Any, architectures: Sequence[str]) -> str:
        source = cuda_source(self.path, root=self.root)
        written = parse(self.path.stem, source, lambda _: "").architectures
        wanted = architectures if written == EVERY_ARCHITECTURE else written
        for architecture in wanted:
            try:
                found = compile_source(
                    binding, source, name=self.path.name, options=self.options, architecture=architecture
                )
            except CompileError as error:
                raise CompileError(f"for sm_{architecture}: {error}") from None
            if self.function and self.function not in found:
                raise CompileError(
                    f"has no kernel {self.function!r}; it has: {', '.join(found) or 'none'} "
                    '(declare it extern "C" __global__, or its name is mangled)'
                )
        return f"sm_{' sm_'.join(wanted)}"


def _declared_builds(manifest: Manifest, folder: Path) -> list[_Build]:
    found: dict[_Build, None] = {}
    for declared in manifest.declared:
        for kernel in filter(None, (declared.kernel, declared.reference_kernel)):
            for options in _options_of(declared, kernel, manifest):
                path = folder / kernel.source
                found[_Build(path=path, root=folder, function=kernel.function, options=options)] = None
    return list(found)


def _options_of(declared: Declared, kernel: Any, manifest: Manifest) -> Iterator[tuple[str, ...]]:
    for case in every_case(benchmark_of(declared, manifest)):
        try:
            defines = kernel.definitions(case.params)
        except ExpressionError as error:
            raise declared.table.error("defines", str(error)) from None
        yield (*kernel.options, *(f"-D{name}={value}" for name, value in sorted(defines.items())))


def _free_builds(manifest: Manifest, folder: Path) -> Iterator[_Build]:
    declared = {
        (folder / kernel.source).resolve()
        for item in manifest.declared
        for kernel in (item.kernel, item.reference_kernel)
        if kernel is not None
    }
    for path in sorted(folder.rglob("*.cu")) if folder.is_dir() else ():
        if path.resolve() in declared:
            continue
        try:
            text = path.read_text(encoding="utf-8")
            variants = parse(path.stem, text, lambda _: "").variants
        except (ValueError, OSError) as error:
            raise BundleError(str(error), place=str(path)) from None
        for variant in variants:
            options = tuple(f"-D{name}={value}" for name, value in sorted(variant.items()))
            yield _Build(path=path, root=folder, function="", options=options, guessed=not variant)
