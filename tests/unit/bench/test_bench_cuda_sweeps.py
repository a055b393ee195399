"""The sweeps visit every part of their buffer, whatever its length: run thread by thread on the CPU."""

import numpy as np
import pytest
from support.cuda_on_cpu import EmulatedCuda, needs_gxx

pytestmark = needs_gxx
TELLTALE = 0x9E3779B9
BLOCKS, THREADS = 3, 32


@pytest.mark.parametrize("packs", [1, 95, 96, 97, 500])
def test_reading_sweep_sees_every_element(packs: int) -> None:
    sweep = EmulatedCuda().kernel("sweep", "sweep", defines={})
    for element in {0, 1, 2 * packs, 4 * packs - 1}:
        buffer, sink = np.zeros(4 * packs, dtype=np.uint32), np.zeros(1, dtype=np.uint32)
        buffer[element] = TELLTALE
        sweep((BLOCKS,), (THREADS,), (buffer, sink, np.uint64(packs)))
        assert sink[0] == TELLTALE


def test_reading_sweep_leaves_everything_as_it_was() -> None:
    buffer, sink = np.zeros(400, dtype=np.uint32), np.zeros(1, dtype=np.uint32)
    EmulatedCuda().kernel("sweep", "sweep", defines={})((BLOCKS,), (THREADS,), (buffer, sink, np.uint64(100)))
    assert not buffer.any()
    assert sink[0] == 0


@pytest.mark.parametrize("packs", [1, 95, 96, 97, 500])
def test_writing_sweep_writes_every_element(packs: int) -> None:
    buffer = np.full(4 * packs, 7, dtype=np.uint32)
    sweep = EmulatedCuda().kernel("sweep", "sweep_write", defines={})
    sweep((BLOCKS,), (THREADS,), (buffer, np.uint32(9), np.uint64(packs)))
    assert set(buffer.tolist()) == {9}
