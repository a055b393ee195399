"""What collectives are: sizes, factors, exact contents; and when a group of ranks has failed."""

from collections.abc import Callable

import numpy as np
import pytest
from tesserabench.bench import CaseFailure, Outcome
from tesserabench.bench.collective.operation import (
    DTYPES,
    MOST_RANKS,
    VALUES,
    Operation,
    Shape,
    bus_factor,
    count_wrong,
    fill,
    shape_of,
)
from tesserabench.bench.collective.supervision import (
    CONSEQUENCE,
    TRANSITIONS,
    Event,
    RankSeen,
    Stage,
    Supervision,
    advance,
)

Exchange = Callable[[Shape, list["np.ndarray[tuple[int], np.dtype[np.float32]]"], int], object]
EXCHANGES: dict[Operation, Exchange] = {
    Operation.ALL_REDUCE: lambda _, sent, __: sum(sent),
    Operation.ALL_GATHER: lambda _, sent, __: np.concatenate(sent),
    Operation.REDUCE_SCATTER: lambda shape, sent, rank: sum(sent)[rank * shape.part : (rank + 1) * shape.part],  # type: ignore[index]
    Operation.BROADCAST: lambda _, sent, __: sent[0],
    Operation.ALL_TO_ALL: lambda shape, sent, rank: np.concatenate(
        [item[rank * shape.part : (rank + 1) * shape.part] for item in sent]
    ),
    Operation.SEND_RECV: lambda shape, sent, rank: sent[(rank - 1) % shape.ranks],
}


@pytest.mark.parametrize("ranks", [2, 3, 8])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operation", Operation)
def test_what_numpy_exchanges_is_what_is_expected(operation: Operation, dtype: str, ranks: int) -> None:
    shape = shape_of(operation, ranks, dtype, 4096)
    sent = [np.empty(shape.send_count, dtype=dtype) for _ in range(ranks)]
    for rank, array in enumerate(sent):
        fill(np, array, 5, rank)
    for rank in range(ranks):
        received = np.asarray(EXCHANGES[operation](shape, sent, rank)).astype(dtype)
        assert received.shape == (shape.receive_count,)
        assert count_wrong(np, shape, received, 5, rank) == 0
        assert count_wrong(np, shape, received, 6, rank) > 0
        received[-1] += 1
        assert count_wrong(np, shape, received, 5, rank) == 1


@pytest.mark.parametrize("operation", Operation)
def test_poisoned_output_is_wrong_everywhere(operation: Operation) -> None:
    shape = shape_of(operation, 4, "float32", 4096)
    received = np.empty(shape.receive_count, dtype=np.float32)
    received.view("uint8").fill(0xFF)
    assert count_wrong(np, shape, received, 5, 1) == shape.receive_count


def test_sums_over_the_most_ranks_are_exact_in_half_precision() -> None:
    assert float(np.float16(MOST_RANKS * VALUES)) == MOST_RANKS * VALUES
    assert np.float16(MOST_RANKS * VALUES) - np.float16(1) == MOST_RANKS * VALUES - 1


@pytest.mark.parametrize(
    ("operation", "factor"),
    [
        ("all_reduce", 2 * 7 / 8),
        ("all_gather", 7 / 8),
        ("reduce_scatter", 7 / 8),
        ("all_to_all", 7 / 8),
        ("broadcast", 1.0),
        ("send_recv", 1.0),
    ],
)
def test_bus_factors_are_those_of_nccl_tests(operation: str, factor: float) -> None:
    assert bus_factor(Operation(operation), 8) == pytest.approx(factor)


def test_size_is_of_the_whole_and_never_nothing() -> None:
    whole = shape_of("all_gather", 8, "float32", 1 << 20)
    assert (whole.part, whole.send_count, whole.receive_count, whole.payload_bytes) == (32768, 32768, 262144, 1 << 20)
    assert shape_of("reduce_scatter", 8, "float32", 1 << 20).send_count == 262144
    assert shape_of("all_reduce", 8, "float32", 8).payload_bytes == 8
    assert shape_of("all_gather", 8, "float32", 8).payload_bytes == 32
    assert shape_of("all_reduce", 2, "float32", 8 << 30).payload_bytes == 8 << 30


@pytest.mark.parametrize(("ranks", "dtype"), [(1, "float32"), (65, "float32"), (2, "int8")])
def test_what_cannot_be_had_is_refused(ranks: int, dtype: str) -> None:
    with pytest.raises(CaseFailure, match="it must be") as refused:
        shape_of("all_reduce", ranks, dtype, 1024)
    assert refused.value.outcome is Outcome.UNSUPPORTED


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("event", Event)
def test_groups_go_only_where_the_table_says(stage: Stage, event: Event) -> None:
    if (stage, event) in TRANSITIONS:
        assert advance(stage, event) is TRANSITIONS[stage, event]
    else:
        with pytest.raises(ValueError, match=f"that is {stage} cannot be {event}"):
            advance(stage, event)


def test_a_group_can_be_closed_from_everywhere_and_a_failure_is_final() -> None:
    assert {advance(stage, Event.CLOSED) for stage in Stage} == {Stage.CLOSED}
    assert {event for stage, event in TRANSITIONS if stage is Stage.FAILED} == {Event.FAILED, Event.CLOSED}


def seen(rank: int, done: int, *, status: int | None = None, words: str = "", alive: bool = True) -> RankSeen:
    return RankSeen(rank=rank, done=done, exit_status=status, last_words=words, alive=alive)


def test_ranks_that_follow_are_well_however_long_it_takes() -> None:
    supervision = Supervision(10)
    for second in range(100):
        issued = second // 9
        assert supervision.judge(second, issued, [seen(1, issued - 1 if second % 9 == 0 else issued)]) is None


def test_a_rank_that_stops_following_fails_the_group() -> None:
    supervision = Supervision(10)
    assert supervision.judge(0, 5, [seen(1, 5), seen(2, 3)]) is None
    assert supervision.judge(10, 9, [seen(1, 9), seen(2, 3)]) is None
    assert supervision.judge(10.1, 9, [seen(1, 9), seen(2, 4)]) is None
    reason = supervision.judge(21, 9, [seen(1, 9), seen(2, 4)])
    assert reason == "rank 2 has not followed launch 5 of 9 for 11 s (limit 10 s)"


def test_an_idle_group_is_never_impatient() -> None:
    supervision = Supervision(10)
    assert supervision.judge(0, 5, [seen(1, 5)]) is None
    assert supervision.judge(1000, 6, [seen(1, 5)]) is None
    assert supervision.judge(1009, 6, [seen(1, 5)]) is None
    assert supervision.judge(1011, 6, [seen(1, 5)]) is not None


@pytest.mark.parametrize(("status", "ending"), [(3, "with status 3"), (-9, "by signal 9"), (None, "without a status")])
def test_a_rank_that_ended_is_named_with_its_last_words(status: int | None, ending: str) -> None:
    reason = Supervision(10).judge(0, 7, [seen(1, 7), seen(2, 6, status=status, words="boom", alive=False)])
    assert reason == f"rank 2 ended {ending} after 6 launches: boom"


def test_the_rank_that_died_is_named_rather_than_those_that_died_of_it() -> None:
    ranks = [seen(1, 7, status=CONSEQUENCE, alive=False), seen(2, 6, status=-9, alive=False)]
    assert (Supervision(10).judge(0, 7, ranks) or "").startswith("rank 2 ended by signal 9")
