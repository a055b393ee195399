"""What a section of the check on a GPU host finds: lines for its table, and how they travel to who prints it."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One finding. `holds` is None for a reading without a goal."""

    section: str
    name: str
    value: float | None
    unit: str
    goal: str = ""
    holds: bool | None = None
    remark: str = ""

    def text(self) -> str:
        """Return the line as the table shows it."""
        mark = {True: "ok", False: "MISSED", None: ""}[self.holds]
        value = "-" if self.value is None else f"{self.value:,.4g}"
        found = f"{self.section:<9} {self.name:<46} {value:>11} {self.unit:<8}"
        return f"{found} {self.goal:<12} {mark:<6} {self.remark}".rstrip()


def run_section(measure: Callable[[], Iterable[Line]]) -> None:
    """Write each line to the file named by `--out` as it is found, so that a section cut short keeps what it has."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    path: Path = parser.parse_args().out
    with path.open("w", encoding="utf-8") as stream:
        for line in measure():
            stream.write(json.dumps(asdict(line)) + "\n")
            stream.flush()
            print(line.text(), file=sys.stderr, flush=True)


def read_lines(path: Path) -> list[Line]:
    """Return the lines that a section wrote; none when it wrote no file."""
    if not path.exists():
        return []
    return [Line(**json.loads(text)) for text in path.read_text(encoding="utf-8").splitlines() if text]
