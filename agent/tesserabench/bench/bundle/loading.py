"""From a folder, or an installed package, to a registry of its own."""

import importlib.util
import itertools
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from tesserabench.bench.bundle.declared_benchmark import benchmark_of
from tesserabench.bench.bundle.manifest import FILE_NAME, Defaults, Manifest, read_manifest
from tesserabench.bench.bundle.sources import digest_of
from tesserabench.bench.errors import BundleError, RegistrationError
from tesserabench.bench.registry import INSTALLED, Registry, collecting, nearest

ENTRY_POINTS = "tesserabench.benchmarks"
"""Group of the entry points by which an installed package offers benchmarks."""

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Somebody's benchmarks, loaded. Its registry holds nothing else, so that several may stand side by side."""

    name: str
    """Also the name of its main suite."""
    summary: str
    version: str
    digest: str
    """SHA-256 over its files, see `digest_of`; part of the environment of every trial."""
    folder: Path
    registry: Registry
    defaults: Defaults = field(default_factory=Defaults)

    @property
    def suites(self) -> tuple[str, ...]:
        """The names of its suites that have benchmarks."""
        return tuple(suite.name for suite in self.registry.suites() if suite.benchmarks)


def load_bundle(path: Path | str) -> Bundle:
    """Load the bundle in a folder; raise BundleError naming file, line, field, value and remedy.

    Its modules are imported under names of their own, afresh with each call: two versions of one bundle can be loaded
    in one process. They may import their neighbours with `from . import neighbour`.
    """
    folder = Path(path)
    if folder.name == FILE_NAME:
        folder = folder.parent
    if not folder.is_dir():
        raise BundleError(f"bundle {str(path)!r} is no folder; give a folder that holds {FILE_NAME}")
    folder = folder.resolve()
    manifest = read_manifest(folder)
    registry = _registry(manifest.name, manifest.summary, manifest.version, digest_of(folder))
    with _errors_of(manifest.root.source.name):
        for declared in manifest.declared:
            registry.add(benchmark_of(declared, manifest))
    package = _package(folder, f"_tesserabench_bundle_{next(_numbers)}_{registry.facts['bundle.digest']!s:.12}")
    with collecting(registry):
        for module in manifest.modules:
            _import(package, module, manifest)
    _require_benchmarks(registry, str(folder / FILE_NAME))
    found = _bundle(manifest.name, manifest.summary, manifest.version, folder, registry)
    return replace(found, defaults=manifest.defaults)


def installed_bundles() -> tuple[str, ...]:
    """Return the names under which installed packages offer benchmarks."""
    return tuple(sorted({entry.name for entry in entry_points(group=ENTRY_POINTS)}))


def load_installed(name: str) -> Bundle:
    """Load the benchmarks that an installed package offers under a name; raise BundleError with near matches.

    The entry point names a package. Where its folder holds a manifest it is a bundle like any other; otherwise it is
    imported as it is, and what it declares belongs to the suite `name`.
    """
    found = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if name not in found:
        raise BundleError(f"no installed package offers benchmarks named {name!r}; {nearest(name, found)}")
    entry = found[name]
    top = entry.module.partition(".")[0]
    for known in [item for item in sys.modules if item == top or item.startswith(f"{top}.")]:
        del sys.modules[known]  # what it declared to an earlier registry must be declared again
    home = _home_of(entry, top)
    folder = home if home.is_dir() else home.parent
    if home.is_dir() and (home / FILE_NAME).is_file():
        return load_bundle(home)
    version = entry.dist.version if entry.dist is not None else ""
    registry = _registry(name, f"benchmarks of {entry.module}", version, digest_of(home))
    place = f"entry point {entry.name} = {entry.value}"
    with collecting(registry), _errors_of(place):
        try:
            entry.load()
        except (Exception, SystemExit) as error:
            if isinstance(error, RegistrationError):
                raise
            raise _import_error(error, folder, place) from error
    _require_benchmarks(registry, place)
    return _bundle(name, registry.find_suite(name).summary, version, folder, registry)


def _registry(name: str, summary: str, version: str, digest: str) -> Registry:
    _require_new([name])
    facts: dict[str, str | int | float | bool] = {"bundle.name": name, "bundle.digest": digest}
    if version:
        facts["bundle.version"] = version
    registry = Registry(facts=facts, default_suite=name)
    registry.suite(name, summary=summary)
    return registry


def _require_new(names: Iterable[str]) -> None:
    """Refuse suites that are installed already: their series must not be confused."""
    for name in sorted({suite.name for suite in INSTALLED.suites()}.intersection(names)):
        raise BundleError(f"name {name!r} is that of an installed suite; choose another one")


def _bundle(name: str, summary: str, version: str, folder: Path, registry: Registry) -> Bundle:
    digest = str(registry.facts["bundle.digest"])
    return Bundle(name=name, summary=summary, version=version, digest=digest, folder=folder, registry=registry)


def _require_benchmarks(registry: Registry, place: str) -> None:
    _require_new(suite.name for suite in registry.suites())
    if not any(suite.benchmarks for suite in registry.suites()):
        raise BundleError(
            "declares no benchmark; add a [[benchmark]] table, or name in `modules` a Python module with @benchmark",
            place=place,
        )


@contextmanager
def _errors_of(place: str) -> Iterator[None]:
    """Say of a wrong declaration where it stands."""
    try:
        yield
    except RegistrationError as error:
        raise BundleError(str(error), place=place) from None


def _package(folder: Path, name: str) -> ModuleType:
    """Return an empty package whose modules are the files of the folder."""
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    return package


def _import(package: ModuleType, module: str, manifest: Manifest) -> None:
    folder = manifest.folder
    path = folder.joinpath(*module.split(".")).with_suffix(".py")
    if not path.is_file() and not (path.with_suffix("") / "__init__.py").is_file():
        raise manifest.root.error("modules", f"names {module!r}, but there is no file {path}")
    with _errors_of(str(path)):
        try:
            importlib.import_module(f"{package.__name__}.{module}")
        except (Exception, SystemExit) as error:
            if isinstance(error, RegistrationError):
                raise
            raise _import_error(error, folder, str(path)) from error


def _import_error(error: BaseException, folder: Path, place: str) -> BundleError:
    """Say which line of the bundle failed, and what helps."""
    if isinstance(error, SyntaxError):
        return BundleError(f"is no valid Python: {error.msg}", place=f"{error.filename or place}:{error.lineno or 1}")
    inside = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(str(folder))]
    if inside:
        place = f"{inside[-1].filename}:{inside[-1].lineno}"
    if isinstance(error, BundleError):
        return error
    if isinstance(error, ModuleNotFoundError) and error.name:
        first = error.name.partition(".")[0]
        if (folder / f"{first}.py").is_file() or (folder / first).is_dir():
            return BundleError(
                f"imports {first!r}, a neighbour; write: from . import {first} (a bundle's modules have private names)",
                place=place,
            )
        return BundleError(f"needs the package {error.name!r}, which is not installed; install it", place=place)
    if isinstance(error, SystemExit):
        return BundleError("ends the process while it is imported; a module only declares benchmarks", place=place)
    return BundleError(f"raises {type(error).__name__} while it is imported: {error}", place=place)


def _home_of(entry: EntryPoint, top: str) -> Path:
    """Return the package's folder, or the file of a module that is no package, without importing either."""
    place = f"entry point {entry.name} = {entry.value}"
    spec = importlib.util.find_spec(top)
    if spec is None or not (spec.origin or spec.submodule_search_locations):
        raise BundleError("names a module that is not there; reinstall its package", place=place)
    if not spec.submodule_search_locations:
        return Path(str(spec.origin)).resolve()
    folder = Path(next(iter(spec.submodule_search_locations))).resolve()
    inner = folder.joinpath(*entry.module.split(".")[1:])
    return inner if inner.is_dir() else folder
