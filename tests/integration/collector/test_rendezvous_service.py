"""Attempts of one run meet through a collector with a real PostgreSQL."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from support import uploads
from support.embedded_collector import Running, ScriptedHost, reason_of, running_collector
from tesserabench.v1 import agent_service_pb2, rendezvous_service_pb2_grpc, run_pb2
from tesserabench.v1 import rendezvous_service_pb2 as pb

CALL_SECONDS = 20.0


class Guest:
    """A host that holds one attempt of a run, and what it says at the rendezvous."""

    def __init__(self, running: Running, name: str) -> None:
        self.host = ScriptedHost(clients=running.clients, name=name)
        self.stub = rendezvous_service_pb2_grpc.RendezvousServiceStub(running.clients.channel)
        self.held = agent_service_pb2.HeldAttempt()

    @classmethod
    async def arrive(cls, running: Running, name: str) -> "Guest":
        guest = cls(running, name)
        await guest.host.register()
        guest.held = await guest.host.take()
        return guest

    def at(self, running: Running) -> "Guest":
        """The same host, talking to another collector."""
        other = Guest(running, self.host.name)
        other.held = self.held
        return other

    @property
    def caller(self) -> pb.RendezvousCaller:
        return pb.RendezvousCaller(
            host=self.host.name, process_id=self.host.process_id, attempt=self.held.name, epoch=self.held.epoch
        )

    async def join(self, *, size: int = 2, wait: float = 0.0, timeout: float = 30.0, **fields: Any) -> pb.Rendezvous:  # noqa: ASYNC109 - how long the others are waited for
        request = pb.JoinRendezvousRequest(
            caller=self.caller,
            world_size=size,
            timeout=seconds(timeout),
            max_wait=seconds(wait),
            **{"key": "trial-0", "payload": self.host.name.encode(), **fields},
        )
        answer: pb.Rendezvous = await self.stub.JoinRendezvous(request, timeout=CALL_SECONDS)
        return answer

    async def leave(self, key: str = "trial-0") -> pb.Rendezvous:
        request = pb.LeaveRendezvousRequest(caller=self.caller, key=key)
        answer: pb.Rendezvous = await self.stub.LeaveRendezvous(request, timeout=CALL_SECONDS)
        return answer

    async def fail(self, why: str) -> pb.Rendezvous:
        request = pb.FailRendezvousRequest(caller=self.caller, key="trial-0", reason=why)
        answer: pb.Rendezvous = await self.stub.FailRendezvous(request, timeout=CALL_SECONDS)
        return answer


def seconds(value: float) -> Duration:
    message = Duration()
    message.FromNanoseconds(round(value * 1e9))
    return message


@pytest_asyncio.fixture
async def pair(running: Running) -> AsyncIterator[tuple[Guest, Guest]]:
    """Two hosts with an attempt each of one run over two hosts."""
    await running.clients.create_run(selector=run_pb2.HostSelector(count=2))
    yield await Guest.arrive(running, "alpha"), await Guest.arrive(running, "beta")


async def test_two_hosts_meet_and_know_each_other(pair: tuple[Guest, Guest]) -> None:
    alpha, beta = pair
    first = asyncio.ensure_future(alpha.join(wait=15, rank=1))
    await asyncio.sleep(0)
    second = await beta.join(wait=15)
    async with asyncio.timeout(4):
        answers = [await first, second]
    for answer in answers:
        assert answer.state == pb.RENDEZVOUS_STATE_COMPLETE
        assert [(item.rank, item.host, item.payload) for item in answer.members] == [
            (0, "beta", b"beta"),
            (1, "alpha", b"alpha"),
        ]
    assert [answer.rank for answer in answers] == [1, 0]


async def test_the_answer_is_held_while_nothing_changes_and_says_who_is_missing(pair: tuple[Guest, Guest]) -> None:
    alpha, _ = pair
    answer = await alpha.join(wait=0.2)
    assert answer.state == pb.RENDEZVOUS_STATE_GATHERING
    assert not answer.HasField("rank")
    assert answer.reason == "1 of 2 joined (alpha); missing: beta (running)"


async def test_joining_again_is_the_same_join(pair: tuple[Guest, Guest]) -> None:
    alpha, beta = pair
    for _ in range(3):
        assert len((await alpha.join()).members) == 1
    await beta.join()
    for guest in (alpha, beta, alpha):
        answer = await guest.join()
        assert answer.state == pb.RENDEZVOUS_STATE_COMPLETE
        assert len(answer.members) == 2


async def test_one_who_never_comes_is_named_when_it_expires(running: Running, pair: tuple[Guest, Guest]) -> None:
    alpha, beta = pair
    await alpha.join(timeout=30)
    running.clock.advance(29)
    assert (await alpha.join(timeout=3000)).state == pb.RENDEZVOUS_STATE_GATHERING
    running.clock.advance(2)
    await beta.host.sync(beta.held)
    answer = await alpha.join(wait=15)
    assert answer.state == pb.RENDEZVOUS_STATE_EXPIRED
    assert re.fullmatch(r"1 of 2 joined \(alpha\) in time; missing: beta \((running|unreachable)\)", answer.reason), (
        answer.reason
    )
    late = await beta.join()
    assert (late.state, late.reason) == (pb.RENDEZVOUS_STATE_EXPIRED, answer.reason)


async def test_an_attempt_that_no_host_took_is_named_too(running: Running) -> None:
    await running.clients.create_run(selector=run_pb2.HostSelector(count=2))
    alpha = await Guest.arrive(running, "alpha")
    assert (await alpha.join()).reason == ("1 of 2 joined (alpha); missing: an attempt that no host has taken (queued)")


async def test_a_short_deadline_ends_by_itself(pair: tuple[Guest, Guest]) -> None:
    alpha, _ = pair
    async with asyncio.timeout(4):
        answer = await alpha.join(wait=15, timeout=0.2)
    assert answer.state == pb.RENDEZVOUS_STATE_EXPIRED


async def test_others_are_told_when_one_fails_after_completion(pair: tuple[Guest, Guest]) -> None:
    alpha, beta = pair
    await alpha.join()
    await beta.join()
    watching = asyncio.ensure_future(alpha.join(wait=15, known_state=pb.RENDEZVOUS_STATE_COMPLETE))
    await asyncio.sleep(0)
    await beta.fail("rank 1 ended by signal 9")
    async with asyncio.timeout(4):
        answer = await watching
    assert (answer.state, answer.reason) == (pb.RENDEZVOUS_STATE_FAILED, "beta: rank 1 ended by signal 9")


async def test_others_are_told_when_an_attempt_ends_after_completion(pair: tuple[Guest, Guest]) -> None:
    alpha, beta = pair
    await alpha.join()
    await beta.join()
    watching = asyncio.ensure_future(alpha.join(wait=15, known_state=pb.RENDEZVOUS_STATE_COMPLETE))
    await asyncio.sleep(0)
    await beta.host.upload(beta.held, uploads.whole_log(1))
    async with asyncio.timeout(8):
        answer = await watching
    assert answer.state == pb.RENDEZVOUS_STATE_FAILED
    assert answer.reason == "beta: its attempt ended or was given to another host"


async def test_it_closes_when_both_have_left_and_what_ends_then_is_no_failure(pair: tuple[Guest, Guest]) -> None:
    alpha, beta = pair
    await alpha.join()
    await beta.join()
    assert (await beta.leave()).state == pb.RENDEZVOUS_STATE_COMPLETE
    await beta.host.upload(beta.held, uploads.whole_log(1))
    assert (await alpha.join()).state == pb.RENDEZVOUS_STATE_COMPLETE
    assert (await alpha.leave()).state == pb.RENDEZVOUS_STATE_CLOSED


async def test_keys_are_apart(pair: tuple[Guest, Guest]) -> None:
    alpha, beta = pair
    await alpha.join(key="trial-0")
    assert (await beta.join(key="trial-1")).state == pb.RENDEZVOUS_STATE_GATHERING
    assert (await beta.join(key="trial-0")).state == pb.RENDEZVOUS_STATE_COMPLETE


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), reason_of(caught.value)


async def test_wrong_callers_and_wishes_are_refused(running: Running, pair: tuple[Guest, Guest]) -> None:
    alpha, beta = pair
    await alpha.join()
    precondition, invalid = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT
    assert await refused(alpha.join(size=3)) == (invalid, "INVALID_FIELD")
    assert await refused(beta.join(size=1)) == (precondition, "RENDEZVOUS_MISMATCH")
    assert await refused(beta.join(payload=bytes(65537))) == (invalid, "INVALID_FIELD")
    assert await refused(beta.join(key="no such/key")) == (invalid, "INVALID_FIELD")
    assert await refused(beta.join(timeout=0)) == (invalid, "INVALID_FIELD")
    assert await refused(beta.leave("elsewhere")) == (grpc.StatusCode.NOT_FOUND, "RENDEZVOUS_NOT_FOUND")
    assert await refused(beta.fail("x")) == (grpc.StatusCode.NOT_FOUND, "RENDEZVOUS_NOT_FOUND")
    thief = alpha.at(running)
    thief.held.CopyFrom(beta.held)
    assert await refused(thief.join()) == (precondition, "SUPERSEDED")
    ghost = alpha.at(running)
    ghost.host.process_id = "process-of-before"
    assert await refused(ghost.join()) == (precondition, "SUPERSEDED")
    stranger = Guest(running, "nobody")
    stranger.held = alpha.held
    assert await refused(stranger.join()) == (grpc.StatusCode.NOT_FOUND, "HOST_NOT_REGISTERED")


async def test_a_restart_of_the_collector_loses_nobody(database_dsn: str, tmp_path: Path) -> None:
    async with running_collector(database_dsn, tmp_path / "before") as before:
        await before.clients.create_run(selector=run_pb2.HostSelector(count=2))
        alpha, beta = await Guest.arrive(before, "alpha"), await Guest.arrive(before, "beta")
        await alpha.join()
    async with running_collector(database_dsn, tmp_path / "after") as after:
        first = asyncio.ensure_future(alpha.at(after).join(wait=15))
        await asyncio.sleep(0)
        answer = await beta.at(after).join(wait=15)
        async with asyncio.timeout(4):
            assert (await first).state == answer.state == pb.RENDEZVOUS_STATE_COMPLETE


async def test_hosts_meet_across_replicas(database_dsn: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(running_collector(database_dsn, tmp_path / "a"))
        there = await stack.enter_async_context(running_collector(database_dsn, tmp_path / "b"))
        await here.clients.create_run(selector=run_pb2.HostSelector(count=2))
        alpha, beta = await Guest.arrive(here, "alpha"), await Guest.arrive(there, "beta")
        first = asyncio.ensure_future(alpha.join(wait=15))
        await asyncio.sleep(0)
        await beta.join(wait=15)
        async with asyncio.timeout(4):
            assert (await first).state == pb.RENDEZVOUS_STATE_COMPLETE


async def test_many_who_come_at_once_get_a_rank_each(running: Running) -> None:
    await running.clients.create_run(selector=run_pb2.HostSelector(count=6))
    guests = [await Guest.arrive(running, f"host-{index}") for index in range(6)]
    answers = await asyncio.gather(*(guest.join(size=6, wait=15) for guest in guests))
    assert {answer.state for answer in answers} == {pb.RENDEZVOUS_STATE_COMPLETE}
    assert sorted(answer.rank for answer in answers) == list(range(6))
