"""The measuring library as tbctl uses it: imported late, its errors as tbctl's, suites found by name or folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tesserabench.cli.errors import CliError, UsageProblem


def load_library() -> ModuleType:
    """The measuring library, imported now.

    Raises:
        CliError: it, or NumPy, is not installed.
    """
    try:
        import numpy  # noqa: F401, ICN001, PLC0415 - only to learn whether it is there
        from tesserabench import bench  # noqa: PLC0415 - slow to import
    except ImportError as error:
        missing = error.name or "a package"
        raise CliError(f"measuring here needs {missing}; install it with: pip install 'tesserabench[agent]'") from error
    return bench


def guarded(library: Any, call: Callable[[], Any]) -> Any:
    """What `call` gives, with the errors of the library as errors of tbctl.

    Raises:
        UsageProblem: the request cannot be met.
        CliError: the device cannot be opened here.
    """
    try:
        return call()
    except library.UnknownDevice as error:
        raise UsageProblem(str(error)) from error
    except library.DeviceUnavailable as error:
        raise CliError(str(error)) from error
    except library.BenchError as error:
        raise UsageProblem(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSuite:
    """A suite, the registry that it is in, and the bundle that it came with, if it came with one."""

    name: str
    registry: Any
    bundle: Any | None = None
    place: str | None = None
    """How another process finds the bundle again, whatever folder it works in."""

    @property
    def place_and_digest(self) -> tuple[str, str] | None:
        """Where the bundle is, and what its files were when it was found."""
        return None if self.bundle is None or self.place is None else (self.place, str(self.bundle.digest))


def find_suite(library: Any, spec: str) -> FoundSuite:
    """The suite that an argument means: an installed one, a folder with a bundle, or one that a package offers.

    `./bundle:SUITE` names another suite of a bundle than its own.

    Raises:
        UsageProblem: the bundle cannot be loaded, or has no such suite.
    """
    return FoundSuite(**guarded(library, lambda: _find(library, spec)))


def _find(library: Any, spec: str) -> dict[str, Any]:
    from tesserabench.bench.bundle import find_bundle, names_a_folder  # noqa: PLC0415 - with the library

    folder, colon, name = spec.rpartition(":")
    where = folder if colon else spec
    require_harmless(where)
    bundle = find_bundle(where)
    if bundle is None:
        return {"name": spec, "registry": library.INSTALLED}
    place = str(bundle.folder) if names_a_folder(where) else where
    return {"name": name if colon else bundle.name, "registry": bundle.registry, "bundle": bundle, "place": place}


def require_harmless(spec: str) -> None:
    """Look in another process whether a bundle's folder can be loaded without ending or blocking the process.

    Raises:
        BundleError: of the library; it cannot.
    """
    from tesserabench.bench.bundle import names_a_folder  # noqa: PLC0415 - with the library
    from tesserabench.bench.bundle.supervising import require_loadable  # noqa: PLC0415 - with the library

    place = Path(spec).expanduser()
    # `gemm/matmul` looks like a folder too.
    if names_a_folder(spec) and place.exists():
        require_loadable(place)
