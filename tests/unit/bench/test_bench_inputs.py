import numpy as np
import pytest
from tesserabench.bench.inputs import CHUNK, checksum, normal, uniform


def test_numbers_never_change_between_releases() -> None:
    assert uniform(np, 3, "float64", seed=1).tolist() == pytest.approx(
        [0.6770604418448546, 0.28623591497386636, 0.4268167992983085], abs=1e-15
    )


def test_streams_and_seeds_are_independent() -> None:
    base = normal(np, 100_000, "float64", seed=1, stream=0)
    for other in (normal(np, 100_000, "float64", seed=1, stream=1), normal(np, 100_000, "float64", seed=2, stream=0)):
        assert abs(float(np.corrcoef(base, other)[0, 1])) < 0.02


def test_values_are_distributed_as_promised() -> None:
    flat, bell = uniform(np, 200_000, "float64", seed=3), normal(np, 200_000, "float64", seed=3)
    assert 0 <= flat.min() < 0.001
    assert 0.999 < flat.max() < 1
    assert float(flat.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(bell.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(bell.std()) == pytest.approx(1.0, abs=0.02)
    assert np.isfinite(bell).all()


def test_chunks_join_without_a_seam() -> None:
    whole = uniform(np, CHUNK + 10, "float32", seed=5)
    assert len(np.unique(whole[-20:])) == 20
    assert whole.dtype == np.float32
    assert np.array_equal(whole[:10], uniform(np, 10, "float32", seed=5))


@pytest.mark.parametrize("dtype", ["float64", "float32", "int8", "complex64"])
def test_checksum_notices_any_change(dtype: str) -> None:
    values = (100 * uniform(np, 1001, "float64", seed=3)).astype(dtype).reshape(7, 143)
    before = checksum(np, values)
    assert before == checksum(np, values.copy())
    changed = values.copy()
    changed[6, 142] += 1
    swapped = values.copy()
    swapped[0], swapped[1] = values[1].copy(), values[0].copy()
    assert len({before, checksum(np, changed), checksum(np, swapped), checksum(np, values[:6])}) == 4


def test_checksum_goes_over_all_arrays_and_beyond_a_chunk() -> None:
    large = np.zeros(CHUNK + 3, dtype="uint32")
    other = large.copy()
    other[-1] = 1
    assert checksum(np, large) != checksum(np, other)
    small = np.arange(3.0)
    assert len({checksum(np, small, large), checksum(np, large, small), checksum(np, small), checksum(np)}) == 4
    assert checksum(np, np.zeros(0)) != checksum(np, np.zeros(4))
