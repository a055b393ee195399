"""Whether a case fits, asked before anything is allocated: an overcommitted host kills the process instead."""

from typing import TYPE_CHECKING

from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import Outcome

if TYPE_CHECKING:
    from tesserabench.bench.case import Case
    from tesserabench.bench.definition import Benchmark


def require_room(benchmark: "Benchmark", case: "Case", free_bytes: int | None, fraction: float) -> None:
    """Raise CaseFailure(out_of_memory) when the compulsory bytes exceed a fraction of the free ones.

    Nothing is refused where the formula or the free memory is unknown.
    """
    if benchmark.bytes is None or free_bytes is None:
        return
    needed, allowed = benchmark.bytes(case.params), int(free_bytes * fraction)
    if needed > allowed:
        raise CaseFailure(
            Outcome.OUT_OF_MEMORY,
            f"{case.id} needs {needed} bytes; {allowed} may be used ({fraction:.0%} of the {free_bytes} free ones): "
            "choose smaller parameters or free memory",
        )
