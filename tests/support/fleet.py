"""A whole fleet of real processes on loopback: a collector with its embedded PostgreSQL, agents, and tbctl.

    with Fleet(tmp_path) as fleet:
        fleet.start_collector()
        agent = fleet.start_agent("alpha", scenario="steady")
        assert fleet.tbctl("run", "trigger", "--suite", "core", "--wait").returncode == 0

`stop()` ends exactly what was started, by process id.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.postgres import prepare_folder
from support.waiting import wait_until

BIN = Path(sys.executable).parent
START_SECONDS = 60.0
_STOP_SECONDS = 30.0


@dataclass(slots=True, kw_only=True)
class Daemon:
    """One started process with its settings, so that it can be started again as it was."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start it; its output is appended to its log."""
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(
                self.command, env=dict(self.environment), stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
            )

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, no farewell."""
        self.process.kill()
        self.process.wait(_STOP_SECONDS)

    def freeze(self) -> None:
        """Stop it where it stands, connections open."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """Ask it to end and return its exit status; a daemon that does not end is killed and the test fails."""
        if self.running:
            self.process.terminate()
        try:
            return self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            message = f"{self.name} did not end within {_STOP_SECONDS} s of SIGTERM:\n{self.tail()}"
            raise AssertionError(message) from None

    def tail(self, lines: int = 40) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a collector listens, and its database."""

    grpc: str
    web: str


class Fleet:
    """Everything that one system test started."""

    def __init__(
        self, directory: Path, *, collector_settings: Mapping[str, str] | None = None, durable: bool = False
    ) -> None:
        """Start nothing yet. Only the database of a durable fleet waits for the disk, as it does for users."""
        self.directory = directory
        self._durable = durable
        self.collector: Daemon | None = None
        self.agents: dict[str, Daemon] = {}
        self._collector_settings = dict(collector_settings or {})
        self._addresses: Addresses | None = None

    def __enter__(self) -> Self:
        """Return the fleet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything; show the logs when the test failed."""
        if error is not None:
            for daemon in [*self.agents.values(), *([self.collector] if self.collector else [])]:
                print(f"--- {daemon.name}\n{daemon.tail()}", file=sys.stderr)  # noqa: T201 - pytest shows it
        self.stop()

    @property
    def addresses(self) -> Addresses:
        """Where the collector listens now."""
        assert self._addresses is not None, "the collector has not been started"
        return self._addresses

    @property
    def collector_state(self) -> Path:
        """The collector's folder."""
        return self.directory / "collector"

    def start_collector(self, **settings: str) -> Daemon:
        """Start the collector and return once it is ready. Ports stay the same over restarts, as agents expect."""
        self._collector_settings.update(settings)
        if not self.collector_state.exists():
            prepare_folder(self.collector_state / "postgres", durable=self._durable)
        fixed = (
            {}
            if self._addresses is None
            else {
                "TESSERABENCH_COLLECTOR_GRPC_LISTEN": self._addresses.grpc,
                "TESSERABENCH_COLLECTOR_WEB_LISTEN": self._addresses.web,
            }
        )
        self.collector = Daemon(
            name="collector",
            command=[str(BIN / "tesserabench-collector"), "serve"],
            environment={
                **_plain_environment(self.directory),
                "TESSERABENCH_COLLECTOR_STATE_DIR": str(self.collector_state),
                "TESSERABENCH_COLLECTOR_GRPC_LISTEN": "127.0.0.1:0",
                "TESSERABENCH_COLLECTOR_WEB_LISTEN": "127.0.0.1:0",
                **self._collector_settings,
                **fixed,
            },
            log=self.directory / "collector.log",
        )
        (self.collector_state / "addresses.json").unlink(missing_ok=True)
        self.collector.start()
        self._addresses = wait_until(self._read_addresses, seconds=START_SECONDS, what="the collector's addresses")
        return self.collector

    def start_agent(self, host: str, *, devices: str = "simulated", **settings: str) -> Daemon:
        """Start an agent for `host` and return at once."""
        state = self.directory / f"agent-{host}"
        state.mkdir(parents=True, exist_ok=True)
        daemon = Daemon(
            name=f"agent {host}",
            command=[str(BIN / "tesserabench-agent"), "run"],
            environment={
                **_plain_environment(self.directory),
                "TESSERABENCH_AGENT_COLLECTOR": self.addresses.grpc,
                "TESSERABENCH_AGENT_HOST": host,
                "TESSERABENCH_AGENT_STATE_DIR": str(state),
                "TESSERABENCH_AGENT_DEVICES": devices,
                "TESSERABENCH_AGENT_METRICS_LISTEN": "127.0.0.1:0",
                **settings,
            },
            log=self.directory / f"agent-{host}.log",
        )
        daemon.start()
        self.agents[host] = daemon
        return daemon

    def tbctl(
        self, *arguments: str, seconds: float = 120.0, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run tbctl as a CI job would and return what it printed and its exit status."""
        return subprocess.run(
            [str(BIN / "tbctl"), *arguments],
            env={
                **_plain_environment(self.directory),
                "TBCTL_SERVER": self.addresses.grpc,
                **(environment or {}),
            },
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def tbctl_json(self, *arguments: str, seconds: float = 120.0) -> Any:
        """Run tbctl with `-o json` and return what it printed, parsed; fails when it does not exit 0."""
        done = self.tbctl(*arguments, "-o", "json", seconds=seconds)
        assert done.returncode == 0, (
            f"tbctl {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return json.loads(done.stdout)

    def wait_for_hosts(self, *hosts: str, seconds: float = START_SECONDS) -> None:
        """Return once every host is ready for work."""

        def ready() -> bool:
            done = self.tbctl("node", "list", "-o", "json")
            if done.returncode:
                return False
            states = {row["name"].removeprefix("hosts/"): row["state"] for row in json.loads(done.stdout)["items"]}
            return all(states.get(host) in {"ready", "busy"} for host in hosts)

        wait_until(ready, seconds=seconds, what=f"hosts {hosts} to be ready", every=0.3)

    def stop(self) -> None:
        """Stop agents, then the collector; harmless when called again."""
        for daemon in self.agents.values():
            if daemon.running:
                daemon.thaw()
                daemon.stop()
        if self.collector is not None and self.collector.running:
            self.collector.thaw()
            self.collector.stop()

    def _read_addresses(self) -> Addresses | None:
        assert self.collector is not None
        if not self.collector.running:
            message = f"the collector ended with {self.collector.process.returncode}:\n{self.collector.tail()}"
            raise AssertionError(message)
        try:
            told = json.loads((self.collector_state / "addresses.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return Addresses(grpc=told["grpc"], web=told["web"])


def _plain_environment(directory: Path) -> dict[str, str]:
    """An environment without the settings of whoever runs the tests, and with an own HOME."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key in {"PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH"}
    }
    return {**kept, "HOME": str(directory), "XDG_CONFIG_HOME": str(directory / "config"), "NO_COLOR": "1"}
