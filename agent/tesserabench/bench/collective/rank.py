"""The process of one rank beyond the first. Started by rank 0, never by hand.

`python -P -m tesserabench.bench.collective.rank RANK RANKS COMMANDS ANSWERS BOARD PARENT TRANSPORT`: orders come as
messages on COMMANDS and are answered on ANSWERS; launches are followed on the board, without an order, as soon as
rank 0 has counted them. The process ends with its commands, with its parent, or with the group.
"""

import ctypes
import importlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tesserabench.bench.collective import frames
from tesserabench.bench.collective.board import Board
from tesserabench.bench.collective.operation import shape_of
from tesserabench.bench.collective.share import Share
from tesserabench.bench.collective.supervision import CONSEQUENCE
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import Outcome

if TYPE_CHECKING:
    from tesserabench.bench.collective.transport import Communicator, Transport

_PR_SET_PDEATHSIG = 1
SPINS_BETWEEN_LOOKS = 256
"""Looks at the board between two looks at the pipe, which cost a system call."""
SPIN_SECONDS = 0.5
"""Without a launch for so long, the pipe is waited for a millisecond at a time instead of spinning."""
_NAP_SECONDS = 0.001
_NEVER = 3600.0
_DEVICE_ERRORS = {"CUDARuntimeError", "CUDADriverError", "NcclError"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a rank stands."""

    rank: int
    ranks: int
    commands: int
    answers: int
    transport: str


class Follower:
    """Follows launches and orders until it is told to close."""

    def __init__(self, place: Place, board: Board) -> None:
        self._place, self._board = place, board
        self._transport: Transport = importlib.import_module(place.transport)
        self._communicator: Communicator | None = None
        self._share: Share | None = None
        self._done = 0

    def run(self) -> None:
        """Follow until the end; an order that fails is answered with why, and does not end the process.

        Raises whatever a launch raised: then the process has to end.
        """
        while (order := self._next_order()) is not None:
            if order["do"] == "close":
                self._close()
                return
            try:
                answer = self._obey(order)
            except Exception as error:  # noqa: BLE001 - whatever went wrong here is told by rank 0, which reports
                answer = _told(error)
            frames.send(self._place.answers, answer)
        self._abort()

    def _next_order(self) -> dict[str, Any] | None:
        """Follow launches until there is an order; None when the group was given up or rank 0 is gone."""
        spins, idle_since = 0, time.monotonic()
        try:
            while not self._board.ended:
                if self._share is not None and self._board.issued > self._done:
                    self._follow()
                    spins, idle_since = 0, time.monotonic()
                    continue
                spins += 1
                if self._share is not None and spins % SPINS_BETWEEN_LOOKS:
                    continue
                if frames.waiting(self._place.commands, self._patience(idle_since)):
                    order = frames.receive(self._place.commands, None)
                    self._catch_up(int(order["launches"]))
                    return order
        except frames.PeerGone:
            return None
        return None

    def _patience(self, idle_since: float) -> float:
        if self._share is None:
            return _NEVER
        return _NAP_SECONDS if time.monotonic() - idle_since > SPIN_SECONDS else 0.0

    def _follow(self) -> None:
        assert self._share is not None
        self._share.launch()
        self._done += 1
        self._board.follow(self._place.rank, self._done)

    def _catch_up(self, launches: int) -> None:
        """Do the launches that were counted before an order was given."""
        while self._share is not None and self._done < launches:
            self._follow()

    def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        match order["do"]:
            case "take_device":
                self._transport.take_device(int(order["device"]))
            case "open":
                self._communicator = self._transport.open_rank(
                    rank=self._place.rank, ranks=self._place.ranks, group_id=bytes.fromhex(order["id"])
                )
            case "prepare":
                assert self._communicator is not None
                self._share = None
                shape = shape_of(order["operation"], self._place.ranks, order["dtype"], int(order["size"]))
                share = Share(self._communicator, shape, rank=self._place.rank, seed=int(order["seed"]))
                # What was counted before belongs to the case before.
                self._done = int(order["launches"])
                self._board.follow(self._place.rank, self._done)
                self._share = share
            case "poison":
                assert self._share is not None
                self._share.poison()
            case "check":
                assert self._share is not None
                return {"wrong": self._share.wrong()}
            case "release":
                self._share = None
        return {}

    def _close(self) -> None:
        self._share = None
        if self._communicator is not None:
            self._communicator.close()

    def _abort(self) -> None:
        self._share = None
        if self._communicator is not None:
            self._communicator.abort()


def _told(error: Exception) -> dict[str, Any]:
    """Return an answer with what went wrong; the libraries' errors are known by name, for they may be absent here."""
    if isinstance(error, CaseFailure):
        return {"error": str(error), "outcome": error.outcome.value}
    kind = type(error).__name__
    outcome = Outcome.DEVICE_ERROR if kind in _DEVICE_ERRORS else Outcome.HARNESS_ERROR
    if isinstance(error, MemoryError):
        outcome = Outcome.OUT_OF_MEMORY
    return {"error": f"{kind}: {error}", "outcome": outcome.value}


def main(arguments: list[str]) -> int:
    """Be the rank that the arguments say."""
    rank, ranks, commands, answers, board, parent = map(int, arguments[:6])
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # Rank 0 died before the request above took hold.
        return 1
    # An interrupt from the terminal is rank 0's to handle: it closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    place = Place(rank=rank, ranks=ranks, commands=commands, answers=answers, transport=arguments[6])
    try:
        Follower(place, Board(board, ranks)).run()
    except Exception as error:  # noqa: BLE001 - its last words are what rank 0 tells of it
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return CONSEQUENCE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
