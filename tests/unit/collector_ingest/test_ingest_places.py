"""Where a batch stands to a log, what a series calls a device, and how samples are packed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.collector.core.ingest_work import Place, device_key, place
from tesserabench.collector.store.records import TrialStarted
from tesserabench.collector.store.samples import decode_columns, decode_samples, encode_columns


@pytest.mark.parametrize(
    ("committed", "first", "last", "expected"),
    [
        (0, 1, 1, Place.NEXT),
        (0, 2, 3, Place.GAP),
        (5, 6, 9, Place.NEXT),
        (5, 3, 9, Place.NEXT),
        (5, 3, 5, Place.DUPLICATE),
        (5, 1, 2, Place.DUPLICATE),
        (5, 7, 7, Place.GAP),
    ],
)
def test_place_of_a_batch(committed: int, first: int, last: int, expected: Place) -> None:
    assert place(committed, first, last) is expected


@given(st.integers(0, 20), st.lists(st.tuples(st.integers(1, 20), st.integers(0, 6)), max_size=40))
def test_any_order_of_batches_applies_each_record_once_and_in_order(start: int, batches: list[tuple[int, int]]) -> None:
    committed, applied = start, list[int]()
    for first, extra in batches:
        last = first + extra
        if place(committed, first, last) is Place.NEXT:
            applied += range(committed + 1, last + 1)
            committed = last
    assert applied == list(range(start + 1, committed + 1))


@pytest.mark.parametrize(
    ("kind", "model", "expected"),
    [("cuda", "NVIDIA H100", "NVIDIA H100"), ("cpu", "EPYC", "host-1"), ("simulated", "Model X", "Model X"),
     ("cuda", "", "host-1")],
)  # fmt: skip
def test_a_gpu_is_compared_by_model_and_a_cpu_by_host(kind: str, model: str, expected: str) -> None:
    trial = TrialStarted(
        sequence=1, time_us=0, trial=0, device={}, device_kind=kind, device_model=model, comparability="",
        fingerprint="", facts={}, state=None, seed=0, context={},
    )  # fmt: skip
    assert device_key(trial, "host-1") == expected


def test_samples_of_a_newer_codec_are_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="codec 9 were written by a newer collector"):
        decode_samples(9, b"")


@given(st.integers(0, 50), st.sets(st.sampled_from(["sm_clock_mhz", "offset_us", "block", "flags"])))
def test_columns_come_back_and_empty_ones_leave_nothing(count: int, names: set[str]) -> None:
    columns = {name: np.arange(count) for name in names}
    content = encode_columns(columns)
    decoded = decode_columns(content, count)
    assert {name: values.tolist() for name, values in decoded.items()} == (
        {name: list(range(count)) for name in names} if count else {}
    )


def test_columns_cut_short_are_noticed() -> None:
    content = encode_columns({"flags": [1, 2, 3]})
    assert content is not None
    with pytest.raises(ValueError, match="buffer"):
        decode_columns(content[:-1], 3)
