"""Launches one case twice, the second time between the profiler's marks. Started by `profile`, never by hand."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from tesserabench.bench.case import Case
from tesserabench.bench.device import open_device
from tesserabench.bench.errors import BenchError
from tesserabench.bench.registry import INSTALLED

if TYPE_CHECKING:
    from tesserabench.bench.device.cuda.device import CudaDevice


def main(arguments: Sequence[str]) -> int:
    """Launch the case that the only argument describes as JSON; return the exit status."""
    order = json.loads(arguments[0])
    case = Case.from_dict(order["case"])
    try:
        with open_device(order["device"]) as opened:
            device = cast("CudaDevice", opened)
            work = device.prepare(INSTALLED.find_benchmark(case.benchmark), case, int(order["seed"]))
            work.launch()
            device.wait_for_all()
            device.xp.cuda.runtime.profilerStart()
            work.launch()
            device.wait_for_all()
            device.xp.cuda.runtime.profilerStop()
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
