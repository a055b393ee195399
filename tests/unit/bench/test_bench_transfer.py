"""The transfer suite against a stand-in for CuPy's copies: directions, contents, devices, refusals."""

from typing import Any

import numpy as np
import pytest
from support.cuda_stand_in import CudaStandIn
from tesserabench.bench import CaseFailure, Mode, Outcome, expand, find_suite, summarise
from tesserabench.bench.verification import compare
from tesserabench.bench.workloads.transfer_peer import peer_copy, peer_of
from tesserabench.bench.workloads.transfer_work import digest, fill_words, host_copy

SIZE = 1 << 16


def passed(work: Any) -> bool:
    return compare(work.outputs(), work.reference(), 0.0, poisoned=True).passed


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize(("direction", "copies"), [("h2d", 1), ("d2h", 1), ("both", 2)])
@pytest.mark.parametrize("size", [4, 64, SIZE])
def test_contents_arrive(direction: str, copies: int, size: int, *, pinned: bool) -> None:
    cuda = CudaStandIn()
    work: Any = host_copy(cuda.device(), direction, size, pinned=pinned, seed=5)
    work.poison()
    assert not passed(work)
    cuda.calls.clear()
    work.launch()
    assert passed(work)
    assert cuda.calls.count("copy") == copies
    assert cuda.calls.count("wait_event") == 2 * (copies - 1)


def test_both_ways_begin_and_end_together() -> None:
    cuda = CudaStandIn()
    work: Any = host_copy(cuda.device(), "both", SIZE, pinned=True, seed=5)
    cuda.calls.clear()
    work.launch()
    assert cuda.calls == ["record", "wait_event", "copy", "copy", "record", "wait_event"]


def test_bandwidth_counts_the_payload_once() -> None:
    statistics = summarise((1000,) * 30)
    assert statistics is not None
    for direction, payload in (("h2d", SIZE), ("both", 2 * SIZE)):
        work: Any = host_copy(CudaStandIn().device(), direction, SIZE, pinned=True, seed=5)
        (told,) = work.metrics(statistics)
        assert (told.name, told.unit) == ("payload_bandwidth", "B/s")
        assert told.value == pytest.approx(payload / 1e-6)


@pytest.mark.parametrize("change", ["one word", "two words swapped", "the last word"])
def test_digest_notices(change: str) -> None:
    words = np.empty(40_000_000 // 4, dtype=np.uint32)
    fill_words(np, words, seed=1)
    before = digest(np, words)
    if change == "one word":
        words[4_321_987] ^= 1
    elif change == "two words swapped":
        words[[8_000_000, 8_000_001]] = words[[8_000_001, 8_000_000]]
    else:
        words[-1] += 1
    assert not np.array_equal(digest(np, words), before)


def test_contents_depend_on_the_seed_and_are_no_pattern_of_zeros() -> None:
    one, two = np.empty(1000, dtype=np.uint32), np.empty(1000, dtype=np.uint32)
    fill_words(np, one, seed=1)
    fill_words(np, two, seed=2)
    assert not np.array_equal(one, two)
    assert len(set(one.tolist())) > 990


def test_what_does_not_fit_is_refused_before_it_is_allocated() -> None:
    with pytest.raises(CaseFailure, match="need 65536 bytes of device memory; 58982 may be used") as refused:
        host_copy(CudaStandIn(free_bytes=SIZE).device(), "h2d", SIZE, pinned=True, seed=1)
    assert refused.value.outcome is Outcome.OUT_OF_MEMORY
    with pytest.raises(CaseFailure, match="bytes of host memory"):
        host_copy(CudaStandIn(free_bytes=1 << 60).device(), "both", 1 << 50, pinned=True, seed=1)
    with pytest.raises(CaseFailure, match="size is 63; it must be a multiple of 4 bytes"):
        host_copy(CudaStandIn().device(), "h2d", 63, pinned=True, seed=1)


@pytest.mark.parametrize(
    ("direction", "copies"), [("write", ["copy 0->1"]), ("read", ["copy 1->0"]), ("both", ["copy 1->0", "copy 0->1"])]
)
def test_peers_copy_in_the_direction_that_was_asked_for(direction: str, copies: list[str]) -> None:
    cuda = CudaStandIn(devices=2)
    work: Any = peer_copy(cuda.device(), direction, 1, SIZE, seed=3)
    assert [call for call in cuda.calls if call.startswith("access")] == ["access 0->1", "access 1->0"]
    work.poison()
    assert not passed(work)
    work.launch()
    assert passed(work)
    assert [call for call in cuda.calls if call.startswith("copy")] == copies
    assert cuda.current == 0


@pytest.mark.parametrize(("own", "distance", "peer"), [(0, 1, 1), (0, 3, 3), (2, 1, 3), (3, 1, 0), (3, 3, 2)])
def test_distance_goes_round(own: int, distance: int, peer: int) -> None:
    assert peer_of(own, distance, 4) == peer


def test_a_matrix_is_complete_when_every_device_measures_its_row() -> None:
    pairs = {(own, peer_of(own, distance, 8)) for own in range(8) for distance in range(1, 8)}
    assert pairs == {(a, b) for a in range(8) for b in range(8) if a != b}


def test_one_device_has_no_peer() -> None:
    with pytest.raises(CaseFailure, match=r"sees 1 device\(s\).*CUDA_VISIBLE_DEVICES") as refused:
        peer_copy(CudaStandIn().device(), "write", 1, SIZE, seed=3)
    assert refused.value.outcome is Outcome.UNSUPPORTED


def test_devices_without_a_way_to_each_other_are_unsupported() -> None:
    with pytest.raises(CaseFailure, match="device 0 cannot reach the memory of device 1") as refused:
        peer_copy(CudaStandIn(devices=2, islands=True).device(), "write", 1, SIZE, seed=3)
    assert refused.value.outcome is Outcome.UNSUPPORTED


def test_pageable_copies_are_never_timed_by_the_device() -> None:
    for item in find_suite("transfer").benchmarks:
        if "pageable" in item.domain.get("memory", ()) or item.name == "transfer/pageable":
            assert item.modes == {Mode.HOST}


def test_largest_size_is_in_the_full_tier() -> None:
    sizes = {case.params["size"] for case in expand(find_suite("transfer"), tier="full", device_kind="cuda")}
    assert {4, 64, 1 << 30} <= sizes
