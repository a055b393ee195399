"""What is asked of NCCL: addresses, counts, peers, groups. NCCL itself runs in tests/gpu, where two devices are."""

import sys
import types
from typing import Any

import pytest
from tesserabench.bench import CaseFailure, Outcome
from tesserabench.bench.collective import nccl as transport
from tesserabench.bench.collective.operation import Operation, shape_of
from tesserabench.bench.collective.share import Share

RANKS, RANK, SEND, RECEIVE, STREAM = 4, 1, 1 << 20, 1 << 24, 77
FLOAT, SUM = 7, 0


class Nccl(types.ModuleType):
    """Writes down what it is asked for."""

    available = True
    NCCL_FLOAT16, NCCL_FLOAT32, NCCL_FLOAT64, NCCL_INT32, NCCL_SUM = 6, FLOAT, 8, 2, SUM

    def __init__(self) -> None:
        super().__init__("cupy.cuda.nccl")
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *arguments: self.calls.append((name, *arguments))

    def get_unique_id(self) -> bytes:
        return bytes(128)

    def NcclCommunicator(self, *arguments: Any) -> "Nccl":  # noqa: N802 - NCCL's name
        self.calls.append(("init", *arguments))
        return self


@pytest.fixture
def nccl(monkeypatch: pytest.MonkeyPatch) -> Nccl:
    found = Nccl()
    stream = types.SimpleNamespace(ptr=STREAM, synchronize=lambda: found.calls.append(("wait",)))
    stream.use = lambda: stream
    cuda = types.SimpleNamespace(
        get_current_stream=lambda: stream,
        Stream=lambda non_blocking: stream if non_blocking else None,
        Device=lambda index: types.SimpleNamespace(use=lambda: found.calls.append(("device", index))),
        runtime=types.SimpleNamespace(memGetInfo=lambda: (1000, 2000)),
    )
    cupy: Any = types.ModuleType("cupy")
    cupy.cuda = cuda
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupy.cuda", cuda)
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", found)
    return found


def array(address: int) -> Any:
    return types.SimpleNamespace(data=types.SimpleNamespace(ptr=address), itemsize=4)


def asked(nccl: Nccl, operation: Operation, size: int = 4096) -> list[tuple[Any, ...]]:
    communicator = transport.open_rank(rank=RANK, ranks=RANKS, group_id=bytes(128))
    nccl.calls.clear()
    communicator.enqueue(shape_of(operation, RANKS, "float32", size), array(SEND), array(RECEIVE))
    return nccl.calls


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        (Operation.ALL_REDUCE, ("allReduce", SEND, RECEIVE, 1024, FLOAT, SUM, STREAM)),
        (Operation.ALL_GATHER, ("allGather", SEND, RECEIVE, 256, FLOAT, STREAM)),
        (Operation.REDUCE_SCATTER, ("reduceScatter", SEND, RECEIVE, 256, FLOAT, SUM, STREAM)),
        (Operation.BROADCAST, ("broadcast", SEND, RECEIVE, 1024, FLOAT, 0, STREAM)),
    ],
)
def test_counts_are_those_that_nccl_wants(nccl: Nccl, operation: Operation, call: tuple[Any, ...]) -> None:
    assert asked(nccl, operation) == [call]


def test_neighbours_send_and_receive_in_one_group(nccl: Nccl) -> None:
    assert asked(nccl, Operation.SEND_RECV) == [
        ("groupStart",),
        ("send", SEND, 1024, FLOAT, 2, STREAM),
        ("recv", RECEIVE, 1024, FLOAT, 0, STREAM),
        ("groupEnd",),
    ]


def test_everybody_gets_another_part_in_one_group(nccl: Nccl) -> None:
    calls = asked(nccl, Operation.ALL_TO_ALL)
    assert (calls[0], calls[-1]) == (("groupStart",), ("groupEnd",))
    for peer in range(RANKS):
        assert ("send", SEND + peer * 1024, 256, FLOAT, peer, STREAM) in calls
        assert ("recv", RECEIVE + peer * 1024, 256, FLOAT, peer, STREAM) in calls
    assert len(calls) == 2 + 2 * RANKS


def test_a_rank_of_its_own_process_takes_its_device_first(nccl: Nccl) -> None:
    transport.take_device(3)
    transport.open_rank(rank=RANK, ranks=RANKS, group_id=b"id")
    assert nccl.calls == [("device", 3), ("init", RANKS, b"id", RANK)]
    assert transport.unique_id() == bytes(128)


def test_an_aborted_group_is_neither_asked_nor_destroyed(nccl: Nccl) -> None:
    communicator = transport.open_rank(rank=0, ranks=2, group_id=b"id")
    communicator.synchronize()
    assert nccl.calls[-2:] == [("wait",), ("check_async_error",)]
    communicator.abort()
    nccl.calls.clear()
    communicator.synchronize()
    communicator.close()
    assert nccl.calls == [("wait",)]


def test_a_sound_group_is_waited_for_and_destroyed(nccl: Nccl) -> None:
    transport.open_rank(rank=0, ranks=2, group_id=b"id").close()
    assert nccl.calls[-2:] == [("wait",), ("destroy",)]


def test_what_does_not_fit_is_refused_with_the_rank(nccl: Nccl) -> None:
    communicator = transport.open_rank(rank=0, ranks=2, group_id=b"id")
    shape = shape_of("all_reduce", 2, "float32", 1 << 20)
    with pytest.raises(CaseFailure, match="rank 0 needs 2097152 bytes of the 1000 free ones") as refused:
        Share(communicator, shape, rank=0, seed=1)
    assert refused.value.outcome is Outcome.OUT_OF_MEMORY
    assert nccl.calls


@pytest.mark.parametrize("absent", ["binding", "library"])
def test_without_nccl_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch, absent: str) -> None:
    module = types.ModuleType("cupy.cuda.nccl")
    module.available = False  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", None if absent == "binding" else module)
    with pytest.raises(CaseFailure, match=r"install tesserabench\[collectives\]") as refused:
        transport.unique_id()
    assert refused.value.outcome is Outcome.UNSUPPORTED
