"""Everything that only a GPU can show, in one run of under nine minutes: a short table last, JSON beside it.

Each section is a process of its own with a limit of its own, so that a crash, a hang or a sticky CUDA error ends that
section alone. `--out` names the folder for `check.json`, `check.md` and the sections' logs.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from support.gpu_section import Line, read_lines

HERE = Path(__file__).resolve().parents[1] / "gpu"
_KILL_GRACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A program and its limit; `arguments` get the path for its lines appended as `--out PATH`."""

    name: str
    arguments: tuple[str, ...]
    limit_seconds: float


SECTIONS = (
    Section(name="tests", arguments=(str(HERE / "section_tests.py"),), limit_seconds=170),
    Section(name="findings", arguments=(str(HERE / "section_findings.py"),), limit_seconds=80),
    Section(name="peers", arguments=(str(HERE / "section_peers.py"),), limit_seconds=75),
    Section(name="spread", arguments=(str(HERE / "section_spread.py"),), limit_seconds=75),
    Section(name="suites", arguments=(str(HERE / "section_suites.py"),), limit_seconds=100),
    Section(name="sanitizer", arguments=(str(HERE / "section_sanitizer.py"),), limit_seconds=39),
)
"""The limits add up to less than nine minutes."""


def run_one(section: Section, out: Path) -> tuple[list[Line], float]:
    """Run one section; a section that fails or runs out of time adds a line that says so."""
    lines_path = out / f"{section.name}.jsonl"
    lines_path.unlink(missing_ok=True)
    started = time.monotonic()
    with (out / f"{section.name}.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, *section.arguments, "--out", str(lines_path)],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        problem = _await(process, section.limit_seconds)
    lines = read_lines(lines_path)
    # They stand in the report: a folder with two files a section is more than some places take back.
    lines_path.unlink(missing_ok=True)
    if problem:
        lines.append(Line(section=section.name, name="section", value=None, unit="", holds=False, remark=problem))
    return lines, time.monotonic() - started


def _await(process: subprocess.Popen[bytes], limit_seconds: float) -> str:
    """Wait for a process and return what went wrong, or nothing; what outlives its limit is killed with its group."""
    try:
        status = process.wait(limit_seconds)
    except subprocess.TimeoutExpired:
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(process.pid, number)
            try:
                process.wait(_KILL_GRACE_SECONDS)
                break
            except subprocess.TimeoutExpired:
                continue
        return f"ended at its limit of {limit_seconds:g} s"
    return "" if status == 0 else f"exit status {status}; see its log"


def device_line() -> str:
    """Return the device, its driver and clocks as nvidia-smi tells them."""
    query = "name,driver_version,clocks.max.sm,clocks.max.memory,power.limit"
    try:
        found = subprocess.run(
            ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"nvidia-smi did not answer: {error}"
    return found.stdout.strip()


def write_report(lines: Sequence[Line], device: str, seconds: float, out: Path) -> None:
    """Write `check.json` and `check.md`."""
    stamp = datetime.now(UTC).isoformat(timespec="seconds")
    document = {
        "device": device,
        "time": stamp,
        "seconds": round(seconds, 1),
        "lines": [asdict(line) for line in lines],
    }
    (out / "check.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    rows = [
        f"| {line.section} | {line.name} | {'-' if line.value is None else f'{line.value:.6g}'} {line.unit} "
        f"| {line.goal} | {'' if line.holds is None else 'yes' if line.holds else 'no'} | {line.remark} |"
        for line in lines
    ]
    head = [
        f"# {device}",
        "",
        f"{stamp}, {seconds:.0f} s",
        "",
        "| section | what | value | goal | held | remark |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    (out / "check.md").write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")


def run_all(sections: Sequence[Section], out: Path) -> int:
    """Run every section, print the table, write the report; return 1 when a goal was missed."""
    out.mkdir(parents=True, exist_ok=True)
    device, started = device_line(), time.monotonic()
    print(device, flush=True)
    lines: list[Line] = []
    for section in sections:
        found, seconds = run_one(section, out)
        lines.extend(found)
        print(f"{section.name}: {len(found)} lines in {seconds:.0f} s", flush=True)
    write_report(lines, device, time.monotonic() - started, out)
    print()
    for line in lines:
        print(line.text())
    missed, goals = (sum(line.holds in held for line in lines) for held in ((False,), (False, True)))
    print(f"\n{missed} of {goals} goals missed, {time.monotonic() - started:.0f} s")
    return 1 if missed else 0


def main() -> int:
    """Run the sections named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/gpu"))
    parser.add_argument("sections", nargs="*", metavar="SECTION")
    options = parser.parse_args()
    known = {section.name: section for section in SECTIONS}
    for name in options.sections:
        if name not in known:
            parser.error(f"section {name!r} is unknown; known: {', '.join(known)}")
    return run_all([known[name] for name in options.sections or known], options.out)


if __name__ == "__main__":
    sys.exit(main())
