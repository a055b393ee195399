"""How long `tbctl --help` takes, beside the bare interpreter, interleaved in one run."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from support.figures import Figure, out_folder, report

ROUNDS = 15
BIN = Path(sys.executable).parent


def main() -> None:
    """Measure and report."""
    bare: list[float] = []
    helped: list[float] = []
    for _ in range(ROUNDS + 1):
        bare.append(_milliseconds([sys.executable, "-c", "pass"]))
        helped.append(_milliseconds([str(BIN / "tbctl"), "--help"]))
    # The first round warms the file cache.
    value, reference = statistics.median(helped[1:]), statistics.median(bare[1:])
    report(
        "cli",
        [Figure(name="cli_help_ms", value=value, unit="ms", reference="bare_interpreter", ratio=value / reference)],
        out_folder(),
    )


def _milliseconds(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - begin) * 1000


if __name__ == "__main__":
    main()
