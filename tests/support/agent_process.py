"""A real agent process for tests: own state folder, own settings, stopped by its own process id."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from support.waiting import wait_until


class AgentProcess:
    """`tesserabench-agent run` with settings from variables; its log goes to a file.

    `settings` are keys of the settings file with their values as text, `tls.ca` style for tables.
    """

    def __init__(self, folder: Path, collector: str, settings: Mapping[str, str] | None = None) -> None:
        self.state_dir = folder / "agent-state"
        self.log_path = folder / "agent.log"
        self.process: subprocess.Popen[bytes] | None = None
        given = {
            "collector": collector,
            "state_dir": str(self.state_dir),
            "lock_dir": str(folder / "locks"),
            "metrics_listen": "127.0.0.1:0",
            "devices": "simulated",
            "link.retry_min": "0.05",
            "link.retry_max": "0.5",
            "budgets.kill_grace": "1",
            "log_format": "json",
            **(settings or {}),
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TESSERABENCH_")}
        self._environment = kept | {
            f"TESSERABENCH_AGENT_{key.replace('.', '__').upper()}": value for key, value in given.items()
        }

    @property
    def spool_path(self) -> Path:
        """The disk log."""
        return self.state_dir / "spool.db"

    @property
    def log(self) -> str:
        """What the agent has logged so far, over all its starts."""
        return self.log_path.read_text(encoding="utf-8") if self.log_path.exists() else ""

    def start(self) -> "AgentProcess":
        """Start the agent; returns at once."""
        assert self.process is None or self.process.poll() is not None
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tesserabench.agent.main", "run"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def wait_for_log(self, text: str, *, seconds: float = 30) -> None:
        """Wait until the log contains `text`."""
        wait_until(lambda: text in self.log, seconds=seconds, what=f"{text!r} in the agent's log:\n{self.log}")

    def journal(self) -> list[tuple[str, int, int, int, int, int]]:
        """Name, epoch, records written and committed, cases written and committed of each attempt; from outside."""
        if not self.spool_path.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{self.spool_path}?mode=ro", uri=True)) as connection:
            return connection.execute(
                "SELECT name, epoch, records_written, records_committed, cases_written, cases_committed"
                " FROM journal ORDER BY id"
            ).fetchall()

    def metrics_address(self, *, seconds: float = 30) -> str:
        """Where /metrics is, once the agent listens."""
        file = self.state_dir / "metrics.addr"
        return wait_until(
            lambda: file.read_text(encoding="utf-8").strip() if file.exists() else "", seconds=seconds, what=str(file)
        )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the agent alone."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self, *, seconds: float = 60) -> int:
        """The exit status, once the process has ended."""
        assert self.process is not None
        return self.process.wait(timeout=seconds)

    def stop(self) -> None:
        """End the agent if it runs: at once, with its workers."""
        if self.process is None or self.process.poll() is not None:
            return
        # The first signal drains, a further one stops at once; two sent together may arrive as one.
        for _ in range(60):
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=0.3)
            except subprocess.TimeoutExpired:
                continue
            return
        self.process.kill()
        self.process.wait(timeout=20)
