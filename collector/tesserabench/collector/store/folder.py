"""The folder of a PostgreSQL server of our own, and what can be done with it from outside.

    FOLDER/
        data/          PostgreSQL's own folder
        run/           its socket, when the path is short enough for one
        password       of the only user, random, readable by the owner alone
        port           the loopback port, when there is no socket
        postgres.log   what the server wrote
        lock           held while a collector owns the server

A running server is known by the process id in its own folder and by that process working in this very folder, never by
a name.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from tesserabench.collector.errors import DatabaseSetupError

USER = "tesserabench"
DATABASE = "tesserabench"
SOCKET_PORT = 5432
"""Number in the socket's file name."""
STOP_SECONDS = 60
"""How long a server may take to shut down in order before it is told to drop everything."""

_LONGEST_SOCKET_PATH = 107
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """The places in a server's folder."""

    root: Path

    @property
    def data(self) -> Path:
        """PostgreSQL's own folder."""
        return self.root / "data"

    @property
    def run(self) -> Path:
        """Folder of the socket."""
        return self.root / "run"

    @property
    def has_socket(self) -> bool:
        """Whether a socket's path fits into what the kernel takes."""
        return len(os.fsencode(self.run / f".s.PGSQL.{SOCKET_PORT}")) <= _LONGEST_SOCKET_PATH

    def dsn(self, database: str = DATABASE) -> str:
        """How to connect to the server in this folder."""
        password = quote((self.root / "password").read_text().strip(), safe="")
        if self.has_socket:
            where = urlencode({"host": str(self.run), "port": SOCKET_PORT})
            return f"postgresql://{USER}:{password}@/{database}?{where}"
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port()}/{database}"

    def port(self) -> int:
        """The loopback port that was chosen for this folder."""
        return int((self.root / "port").read_text())

    def running_pid(self) -> int | None:
        """Process id of the server that runs on this folder, if one does."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            # A stale file may name a process that has nothing to do with us: ours works in its data folder.
            return pid if Path(f"/proc/{pid}/cwd").samefile(self.data) else None
        except (OSError, ValueError, IndexError):
            return None

    def processes(self) -> list[int]:
        """Process ids of everything that works in the data folder: the server and its helpers."""
        if not self.data.exists():
            return []
        there = self.data.stat()
        return [
            int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _works_in(entry, there)
        ]


def stop_server(root: Path, *, seconds: float = STOP_SECONDS) -> bool:
    """Shut down the server of a folder in order, whoever started it; whether there was one.

    Raises:
        DatabaseSetupError: it did not end, even when told to drop everything.
    """
    folder = Folder(root=root.absolute())
    pid = folder.running_pid()
    if pid is None:
        return False
    for number in (signal.SIGINT, signal.SIGQUIT):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return True
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if folder.running_pid() != pid or _is_zombie(pid):
                return True
            time.sleep(_POLL_SECONDS)
    raise DatabaseSetupError(f"PostgreSQL with process id {pid} in {root} does not end")


def running_dsn(root: Path) -> str | None:
    """DSN of the server that runs on a folder, for programs that only want to talk to it; None when none runs."""
    folder = Folder(root=root.absolute())
    return None if folder.running_pid() is None else folder.dsn()


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _works_in(process: Path, folder: os.stat_result) -> bool:
    try:
        return os.path.samestat((process / "cwd").stat(), folder)
    except OSError:
        # Gone, a zombie, or another user's.
        return False
