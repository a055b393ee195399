"""How the performance programs tell their figures: a table for people, `NAME.json` for programs."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure. `ratio` is the value over that of `reference`, measured side by side in the same run."""

    name: str
    value: float
    unit: str
    reference: str | None = None
    ratio: float | None = None


def out_folder() -> Path:
    """Return the folder named by `--out`, made when it is not there."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def report(name: str, figures: Sequence[Figure], folder: Path) -> None:
    """Print the figures and write them to `folder`/`name`.json."""
    for figure in figures:
        beside = "" if figure.ratio is None else f"   {figure.ratio:.3g} x {figure.reference}"
        print(f"{figure.name:<36} {figure.value:>14,.4g} {figure.unit:<10}{beside}")
    (folder / f"{name}.json").write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")
