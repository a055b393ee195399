"""The main job end to end on this machine: measure, measure again with a planted slow-down, see it named.

Everything that is started lives in `.demo/` of the clone, listens on loopback only, and is stopped at the end unless
`--keep` is given. Exit status 0 when the gate named exactly the benchmark that was slowed.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".demo"
BIN = Path(sys.executable).parent
SUITE = "core"
PLANTED = "memory/triad"
FACTOR = 3.0
GATE_FAILED = 10
START_SECONDS = 60.0
STOP_SECONDS = 30.0


class DemoError(Exception):
    """The demo cannot go on; the message says what to look at."""


def main() -> int:
    """Run the demo and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave collector and agent running")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    started: list[subprocess.Popen[bytes]] = []
    failed = True
    try:
        _stop_earlier()
        failed = not _demonstrate(started)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
    finally:
        if arguments.keep and not failed:
            _leave_running(started)
        else:
            _stop(started)
    return 1 if failed else 0


def _demonstrate(started: list[subprocess.Popen[bytes]]) -> bool:
    began = time.monotonic()
    _title("1. A collector on its own PostgreSQL, and an agent on this host")
    addresses = _start_collector(started)
    tbctl = _Tbctl(server=addresses["grpc"])
    _start_agent(started, addresses["grpc"])
    _wait_for_host(tbctl, started)
    tbctl("node", "list")

    _title(f"2. Measure suite `{SUITE}`: this becomes the baseline of branch main")
    trigger = ("run", "trigger", "--suite", SUITE, "--tier", "smoke", "--repeat", "5", "--branch", "main", "--wait")
    if tbctl(*trigger, "--commit", "1111111"):
        raise DemoError(f"the first run did not end well; see {STATE / 'collector.log'} and {STATE / 'agent.log'}")

    _title(f"3. Measure again with `{PLANTED}` slowed {FACTOR:g} times: does the gate name it, and only it?")
    slowed = (*trigger, "--commit", "2222222", "--drill", f"{PLANTED}={FACTOR}", "--fail-on", "major")
    status = tbctl(*slowed)
    named = _regressed_benchmarks(tbctl)
    if status == 0 and not named:
        print("\nToo busy a machine to tell from one look. As in a pipeline, let it look again where it is undecided:")
        status = tbctl(*slowed, "--confirm", "2", "--budget", "4m")
        named = _regressed_benchmarks(tbctl)
    print(f"\nexit status that a CI job would get: {status}")
    print(f"benchmarks that the gate named:      {', '.join(named) or 'none'}")

    _title("4. Where to look")
    print(f"pages     http://{addresses['web']}/")
    print(f"health    http://{addresses['web']}/healthz   http://{addresses['web']}/readyz")
    print(f"metrics   http://{addresses['web']}/metrics")
    print(f"commands  TBCTL_SERVER={addresses['grpc']} {BIN.relative_to(ROOT)}/tbctl regression list")
    print(f"\nthe demo took {time.monotonic() - began:.0f} s")
    if status != GATE_FAILED or named != [PLANTED]:
        raise DemoError(
            f"expected exit status {GATE_FAILED} and exactly `{PLANTED}`: the gate said otherwise on this machine"
        )
    return True


class _Tbctl:
    """tbctl against the demo's collector, with its output on this terminal."""

    def __init__(self, *, server: str) -> None:
        self.environment = {
            **{
                key: value
                for key, value in os.environ.items()
                if not key.startswith(("TBCTL_", "GITHUB_", "GITLAB_", "CI"))
            },
            "TBCTL_SERVER": server,
        }

    def __call__(self, *arguments: str) -> int:
        print(f"$ tbctl {' '.join(arguments)}", flush=True)
        return subprocess.run([BIN / "tbctl", *arguments], env=self.environment, check=False).returncode

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """The items that a listing command prints with `-o json`."""
        command = [BIN / "tbctl", *arguments, "-o", "json"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DemoError(f"tbctl {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")
        listed: list[dict[str, Any]] = json.loads(done.stdout)["items"]
        return listed


def _regressed_benchmarks(tbctl: _Tbctl) -> list[str]:
    confirmed = tbctl.items("regression", "list", "--state", "confirmed")
    cases = [item["evidence"]["case"] for item in confirmed]
    return sorted({f"{case['suite']}/{case['benchmark']}" for case in cases})


def _start_collector(started: list[subprocess.Popen[bytes]]) -> dict[str, str]:
    state = STATE / "collector"
    settings = {"STATE_DIR": str(state), "GRPC_LISTEN": "127.0.0.1:0", "WEB_LISTEN": "127.0.0.1:0"}
    process = _start(
        started, "collector", "tesserabench-collector", "serve", prefix="TESSERABENCH_COLLECTOR_", **settings
    )
    addresses = state / "addresses.json"
    for _ in _until(START_SECONDS, "the collector to listen"):
        _must_run(process, "collector")
        if addresses.exists():
            with contextlib.suppress(json.JSONDecodeError):
                told: dict[str, str] = json.loads(addresses.read_text())
                return told
    raise AssertionError


def _start_agent(started: list[subprocess.Popen[bytes]], collector: str) -> None:
    settings = {
        "STATE_DIR": str(STATE / "agent"),
        "LOCK_DIR": str(STATE / "locks"),
        "COLLECTOR": collector,
        "METRICS_LISTEN": "127.0.0.1:0",
    }
    _start(started, "agent", "tesserabench-agent", "run", prefix="TESSERABENCH_AGENT_", **settings)


def _wait_for_host(tbctl: _Tbctl, started: list[subprocess.Popen[bytes]]) -> None:
    for _ in _until(START_SECONDS, "the agent to be ready"):
        _must_run(started[-1], "agent")
        if any(item["state"] == "ready" for item in tbctl.items("node", "list")):
            return


def _start(
    started: list[subprocess.Popen[bytes]], name: str, program: str, command: str, *, prefix: str, **settings: str
) -> subprocess.Popen[bytes]:
    STATE.mkdir(exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TESSERABENCH_")}
    environment |= {f"{prefix}{key}": value for key, value in settings.items()}
    with (STATE / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [BIN / program, command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    started.append(process)
    return process


def _must_run(process: subprocess.Popen[bytes], name: str) -> None:
    if process.poll() is not None:
        tail = "\n".join((STATE / f"{name}.log").read_text(errors="replace").splitlines()[-15:])
        raise DemoError(f"the {name} ended with {process.returncode}:\n{tail}")


def _until(seconds: float, what: str) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.2)
    raise DemoError(f"waited {seconds:.0f} s for {what}; see the logs in {STATE}")


def _leave_running(started: list[subprocess.Popen[bytes]]) -> None:
    pids = [process.pid for process in reversed(started)]
    (STATE / "pids").write_text("\n".join(map(str, pids)))
    print(f"\nleft running; to stop it: kill {' '.join(map(str, pids))}")


def _stop_earlier() -> None:
    """Stop what an earlier `--keep` left and start with an empty state."""
    with contextlib.suppress(FileNotFoundError):
        for pid in map(int, (STATE / "pids").read_text().split()):
            # The number may be another's by now: only a program of this clone is stopped.
            with contextlib.suppress(OSError):
                if str(BIN).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGTERM)
                    for _ in _until(STOP_SECONDS, f"process {pid} of an earlier demo to end"):
                        os.kill(pid, 0)
    shutil.rmtree(STATE, ignore_errors=True)


def _stop(started: list[subprocess.Popen[bytes]]) -> None:
    for process in reversed(started):
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"demo: process {process.pid} did not end in {STOP_SECONDS:.0f} s and was killed", file=sys.stderr)
            process.kill()
            process.wait()


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _title(text: str) -> None:
    print(f"\n=== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
