"""Which processors and which memory are next to a GPU."""

import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

from tesserabench.agent.host.nvml import Nvml
from tesserabench.agent.runner.watch import Placement

_WORD_BITS = 64
_MOST_NODES = 64
_SCOPE_NODE = 0


def placement_of(nvml: Nvml, handle: Any, allowed: Iterable[int] | None = None) -> Placement:
    """The processors that NVML reports for a GPU, as far as this process may use them, and its NUMA node.

    Empty when NVML does not tell, or when none of them is allowed here: then nothing is to be pinned.
    """
    usable = set(os.sched_getaffinity(0) if allowed is None else allowed)
    words = max(1, math.ceil((os.cpu_count() or 1) / _WORD_BITS))
    near = members(nvml.ask("nvmlDeviceGetCpuAffinity", handle, words) or ())
    scope = nvml.constant("NVML_AFFINITY_SCOPE_NODE")
    nodes = members(
        nvml.ask(
            "nvmlDeviceGetMemoryAffinity", handle, _MOST_NODES // _WORD_BITS, _SCOPE_NODE if scope is None else scope
        )
        or ()
    )
    return Placement(processors=tuple(sorted(near & usable)), numa_node=min(nodes) if len(nodes) == 1 else None)


def members(words: Sequence[int]) -> set[int]:
    """The numbers whose bits are set in words of 64 bits."""
    return {
        position * _WORD_BITS + bit
        for position, word in enumerate(words)
        for bit in range(_WORD_BITS)
        if int(word) >> bit & 1
    }
