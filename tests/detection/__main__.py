"""`make bench-detection`: our judging beside that of others, on the same data, in one run.

    python -m detection [--out FOLDER] [--scale FACTOR] [--only SECTION]... [--every N] [--alone]

Sections: change-points, gates, causes, speed, store. `--scale` multiplies how much data there is; recorded histories
are read from the folder DETECTION_DATA when it is set, one in six of them for the others (--every). Tables go to
FOLDER/detection.md, figures to FOLDER/detection.json.
"""

import argparse
import sys
import time
from pathlib import Path

from detection.sections import SECTIONS, Options, Section
from support.figures import Figure, report


def options() -> tuple[Options, Path, list[str]]:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--every", type=int, default=6, help="the others see one in so many recorded histories")
    parser.add_argument("--alone", action="store_true", help="leave the others out")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", action="append", choices=list(SECTIONS), default=[])
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    names = chosen.only or list(SECTIONS)
    return (
        Options(scale=chosen.scale, every=chosen.every, alone=chosen.alone, workers=chosen.workers),
        chosen.out,
        names,
    )


def main() -> int:
    """Run the sections, print the tables and write the figures."""
    chosen, folder, names = options()
    begun = time.perf_counter()
    figures: list[Figure] = []
    parts: list[str] = []
    for name in names:
        started = time.perf_counter()
        section: Section = SECTIONS[name](chosen)
        told = f"{section.text}\n{name}: {time.perf_counter() - started:.0f} s\n"
        print(told, flush=True)
        parts.append(told)
        figures += section.figures
    (folder / "detection.md").write_text("\n".join(parts), encoding="utf-8")
    report("detection", figures, folder)
    print(f"{time.perf_counter() - begun:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
