"""The manifest of a bundle, `tesserabench.toml`: who it is, what it needs and what it declares."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tesserabench.bench.bundle.declared import Declared, read_declared
from tesserabench.bench.bundle.places import lines_of
from tesserabench.bench.bundle.table import Source, Table
from tesserabench.bench.environment import engine_version
from tesserabench.bench.errors import BundleError
from tesserabench.bench.vocabulary import Tier

FILE_NAME = "tesserabench.toml"
SCHEMA_VERSION = 1

_FIELDS = ("schema", "name", "summary", "version", "modules", "kernels", "requires", "defaults", "benchmark")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_REQUIREMENT = re.compile(r"(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)")
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """How a bundle is measured when nobody says otherwise; None leaves it to the engine."""

    tier: Tier | None = None
    target: float | None = None
    budget_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What `tesserabench.toml` says; `name` is also the name of the bundle's suite."""

    folder: Path
    name: str
    summary: str
    version: str
    modules: tuple[str, ...]
    kernels: str
    """Folder of the CUDA sources, relative to the bundle."""
    defaults: "Defaults"
    declared: tuple[Declared, ...]
    root: Table


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder; raise BundleError naming file, line, field, value and remedy."""
    path = folder / FILE_NAME
    table = _parse(path)
    table.allow(_FIELDS)
    schema = table.integer("schema", -1, least=-1)
    if schema != SCHEMA_VERSION:
        found = "is missing" if schema == -1 else f"is {schema}"
        raise table.error("schema", f"{found}; this engine reads {SCHEMA_VERSION}: write schema = {SCHEMA_VERSION}")
    name = table.text("name")
    if not _NAME.fullmatch(name):
        raise table.error(
            "name", f"is {name!r}; it must be small letters, digits, '.', '_' and '-', at most 63 characters"
        )
    _check_requires(table)
    modules = table.texts("modules")
    for module in modules:
        if not _MODULE.fullmatch(module):
            raise table.error("modules", f"contains {module!r}; write modules as Python does, without .py")
    return Manifest(
        folder=folder,
        name=name,
        summary=table.text("summary"),
        version=table.text("version", ""),
        modules=modules,
        kernels=table.text("kernels", "."),
        defaults=_defaults(table.table("defaults")),
        declared=tuple(read_declared(item) for item in table.tables("benchmark")),
        root=table,
    )


def _parse(path: Path) -> Table:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise BundleError(
            f"folder {str(path.parent)!r} holds no {FILE_NAME}; begin one with: tbctl bench new {path.parent}"
        ) from None
    except OSError as error:
        raise BundleError(f"cannot be read ({error.strerror}); check its permissions", place=str(path)) from None
    if len(raw) > _MOST_BYTES:
        raise BundleError(f"has {len(raw)} bytes; a manifest has at most {_MOST_BYTES}", place=str(path))
    try:
        text = raw.decode("utf-8")
        data = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise BundleError(f"is not UTF-8 ({error.reason} at byte {error.start})", place=str(path)) from None
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        place = f"{path}:{line.group(1)}" if line else str(path)
        raise BundleError(f"is no valid TOML: {error}", place=place) from None
    except RecursionError:
        raise BundleError("is nested too deeply", place=str(path)) from None
    return Table(Source(name=str(path), lines=lines_of(text)), (), data)


def _defaults(table: Table) -> Defaults:
    table.allow(("tier", "target", "budget_seconds"))
    return Defaults(
        tier=Tier(table.choice("tier", tuple(Tier), Tier.SMOKE)) if "tier" in table else None,
        target=table.positive("target"),
        budget_seconds=table.positive("budget_seconds"),
    )


def _check_requires(table: Table) -> None:
    """Compare the engine with a requirement such as `>=0.1, <2`."""
    text = table.text("requires", "")
    installed = re.match(r"\d+(\.\d+)*", engine_version())
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = _REQUIREMENT.fullmatch(part)
        if found is None:
            raise table.error("requires", f"is {text!r}; write versions such as '>=0.1, <2'")
        if installed is not None and not _holds(_numbers(installed.group(0)), found.group(1), _numbers(found.group(2))):
            raise table.error(
                "requires", f"is {text!r}, but version {engine_version()} is installed; install one that fits"
            )


def _numbers(text: str) -> tuple[int, ...]:
    numbers = [int(part) for part in text.split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _holds(installed: tuple[int, ...], sign: str, wanted: tuple[int, ...]) -> bool:
    return {
        ">=": installed >= wanted,
        "<=": installed <= wanted,
        "==": installed == wanted,
        "!=": installed != wanted,
        ">": installed > wanted,
        "<": installed < wanted,
    }[sign]
