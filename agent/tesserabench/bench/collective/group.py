"""A group of ranks, seen from rank 0: formed, given cases, watched, and ended whatever happens."""

import contextlib
import importlib
import os
import select
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tesserabench.bench.collective import frames
from tesserabench.bench.collective.board import Board
from tesserabench.bench.collective.member import Member
from tesserabench.bench.collective.share import Share
from tesserabench.bench.collective.supervision import Event, Stage, Supervision, advance
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import Outcome

if TYPE_CHECKING:
    from tesserabench.bench.collective.operation import Shape
    from tesserabench.bench.collective.transport import Communicator, Transport

NCCL = "tesserabench.bench.collective.nccl"
_WATCH_MILLISECONDS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a group is waited for, in seconds."""

    answer: float = 90.0
    """The answer to an order: forming includes the start of every process and device."""
    patience: float = 20.0
    """A launch that a rank does not follow."""
    leave: float = 5.0
    """The end of a process that was told to close."""


class Group:
    """The ranks of one group; `close` must be called, and may be called again."""

    def __init__(self, devices: tuple[int, ...], *, transport: str = NCCL, limits: Limits | None = None) -> None:
        """Form a group with one rank for each device index; the first is this process's own, open already.

        Raises CaseFailure(device_error or what the rank said) when a rank cannot be had.
        """
        self.ranks = len(devices)
        self.stage = Stage.FORMING
        self._limits = limits or Limits()
        self._reason = ""
        self._lock = threading.Lock()
        self._communicator: Communicator | None = None
        self._board = Board.create(self.ranks)
        self._ended = threading.Event()
        self._wake, self._wake_writer = os.pipe()
        self._members: list[Member] = []
        self._watcher = threading.Thread(target=self._watch, name="collective-watch", daemon=True)
        chosen: Transport = importlib.import_module(transport)
        try:
            group_id = chosen.unique_id()
            for rank in range(1, self.ranks):
                self._members.append(Member(rank, self.ranks, self._board.descriptor, transport))
            self._watcher.start()
            # Before anybody waits inside the transport for all others, each says that it is able to join.
            for member in self._members:
                self._tell(member, {"do": "take_device", "device": devices[member.rank]})
            self._answers("take_device")
            for member in self._members:
                self._tell(member, {"do": "open", "id": group_id.hex()})
            with self._explained():
                self._communicator = chosen.open_rank(rank=0, ranks=self.ranks, group_id=group_id)
            self._answers("open")
            self.stage = advance(self.stage, Event.FORMED)
        except BaseException:
            self.close()
            raise

    def prepare(self, shape: "Shape", size: int, seed: int) -> Share:
        """Have every rank make its buffers for a collective of `size` bytes; return this rank's own."""
        self._require_well()
        order = {
            "do": "prepare",
            "operation": shape.operation.value,
            "dtype": shape.dtype,
            "size": size,
            "seed": seed,
        }
        for member in self._members:
            self._tell(member, order)
        assert self._communicator is not None
        refusal: CaseFailure | None = None
        share = None
        try:
            share = Share(self._communicator, shape, rank=0, seed=seed)
        except CaseFailure as failure:
            refusal = failure
        # The answers are taken in any case: the next order's must not be mistaken for them.
        self._answers("prepare")
        if share is None:
            assert refusal is not None
            raise refusal
        self.stage = advance(self.stage, Event.PREPARED)
        return share

    def launch(self, share: Share) -> None:
        """Launch on every rank: the others follow the board."""
        if self._reason:
            self._require_well()
        self._board.issue()
        try:
            share.launch()
        except Exception:
            self._explain()
            raise

    def poison(self, share: Share) -> None:
        """Poison the outputs of every rank."""
        self._ask("poison")
        with self._explained():
            share.poison()
        self._answers("poison")

    def wrong(self, share: Share) -> list[int]:
        """Return how many elements are wrong, by rank."""
        self._ask("check")
        with self._explained():
            own = share.wrong()
        return [own, *(int(answer["wrong"]) for answer in self._answers("check"))]

    def release(self) -> None:
        """Have every rank give its buffers back, if the group is well."""
        if self.stage is not Stage.WORKING:
            return
        self._ask("release")
        self._answers("release")
        self.stage = advance(self.stage, Event.RELEASED)

    def close(self) -> None:
        """End every rank: in order when the group is well, at once when it is not."""
        if self.stage is Stage.CLOSED:
            return
        well = self.stage in {Stage.READY, Stage.WORKING} and not self._reason
        self.stage = advance(self.stage, Event.CLOSED)
        if well:
            for member in self._members:
                with contextlib.suppress(frames.PeerGone):
                    member.tell({"do": "close", "launches": self._board.issued})
        else:
            self._board.end()
        self._ended.set()
        os.close(self._wake_writer)
        if self._watcher.ident is not None:
            self._watcher.join()
        os.close(self._wake)
        if self._communicator is not None:
            self._communicator.close()
        for member in self._members:
            member.leave(self._limits.leave if well else 0.0)
        self._board.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the other ranks."""
        return tuple(member.pid for member in self._members)

    def _ask(self, do: str) -> None:
        self._require_well()
        for member in self._members:
            self._tell(member, {"do": do})

    def _tell(self, member: Member, order: dict[str, Any]) -> None:
        try:
            member.tell({**order, "launches": self._board.issued})
        except frames.PeerGone:
            self._lost(member)

    def _answers(self, do: str) -> list[dict[str, Any]]:
        """Take one answer of every rank, then raise the first failure among them."""
        answers = [self._answer(member, do) for member in self._members]
        for member, answer in zip(self._members, answers, strict=True):
            if "error" in answer:
                # In the middle of forming nobody can go on without it.
                if self.stage is Stage.FORMING:
                    self._fail(f"rank {member.rank}: {answer['error']}")
                raise CaseFailure(Outcome(answer["outcome"]), f"rank {member.rank}: {answer['error']}")
        return answers

    def _answer(self, member: Member, do: str) -> dict[str, Any]:
        try:
            return member.answer(self._limits.answer)
        except frames.PeerGone:
            self._lost(member)
        except TimeoutError:
            self._fail(f"rank {member.rank} did not answer {do!r} within {self._limits.answer:g} s")
        self._require_well()
        raise AssertionError("a group that failed is not well")

    def _lost(self, member: Member) -> None:
        self._look(hung_up=self._hung_up(0) | {member.rank})
        self._require_well()

    def _require_well(self) -> None:
        if self._reason:
            raise CaseFailure(
                Outcome.DEVICE_ERROR,
                f"the group of {self.ranks} ranks failed: {self._reason}; look for Xid errors in the kernel log "
                "and at the links between the devices (nvidia-smi topo -m), or run again with NCCL_DEBUG=INFO",
            )

    @contextlib.contextmanager
    def _explained(self) -> Any:
        """Let a failure that follows from the group's be told with the group's reason."""
        try:
            yield
        except Exception:
            self._explain()
            raise
        self._require_well()

    def _explain(self) -> None:
        """Raise the group's failure if there is one: the transport may notice a lost rank before the watcher does."""
        self._look(hung_up=self._hung_up(_WATCH_MILLISECONDS))
        self._require_well()

    def _fail(self, reason: str) -> None:
        """Note the first reason, and free whoever waits for the lost rank."""
        with self._lock:
            if self._ended.is_set() or self._reason:
                return
            self._reason = reason
            self.stage = advance(self.stage, Event.FAILED)
        self._board.end()
        if self._communicator is not None:
            self._communicator.abort()

    def _watch(self) -> None:
        """Look after the ranks until the group is closed; asleep unless something happens."""
        supervision = Supervision(self._limits.patience)
        while not self._ended.is_set():
            self._look(hung_up=self._hung_up(_WATCH_MILLISECONDS), supervision=supervision)
            if self._reason:
                return

    def _hung_up(self, milliseconds: int) -> set[int]:
        """Return the ranks whose pipes are closed; wait at most so long for one, or for the group's end."""
        poller = select.poll()
        by_descriptor = {member.answers: member.rank for member in self._members}
        poller.register(self._wake, 0)
        for descriptor in by_descriptor:
            # Only a hang-up is reported: answers are read where they are waited for.
            poller.register(descriptor, 0)
        return {by_descriptor[item] for item, _ in poller.poll(milliseconds) if item in by_descriptor}

    def _look(self, *, hung_up: set[int], supervision: Supervision | None = None) -> None:
        if self._ended.is_set():
            return
        seen = [member.seen(self._board.done(member.rank), hung_up=member.rank in hung_up) for member in self._members]
        issued = self._board.issued if self.stage is Stage.WORKING else 0
        reason = (supervision or Supervision(self._limits.patience)).judge(time.monotonic(), issued, seen)
        if reason:
            self._fail(reason)
