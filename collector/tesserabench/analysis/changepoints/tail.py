"""The analysis of a history that grows."""

import math
from collections.abc import Sequence

from tesserabench.analysis.changepoints.assembly import Assembly
from tesserabench.analysis.changepoints.model import SeriesAnalysis, Settings
from tesserabench.analysis.changepoints.state import State, pack, text_of, unpack
from tesserabench.analysis.changepoints.windows import SIZE, STRIDE, Window, append, begin, settle


class Tail:
    """A history so far; every extension answers as `analyse` would for all its points.

    It keeps the points of the newest window and what the windows before it found, however long the history is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._count = 0
        self._begin = 0
        self._places: list[int] = []
        self._window: Window | None = None
        self._frozen = Assembly()
        self._frozen_text: bytes | None = b""

    @classmethod
    def start(cls, settings: Settings | None = None) -> "Tail":
        """A history without points."""
        return cls(settings or Settings())

    @property
    def points(self) -> int:
        """How many points it has, with those that have no value."""
        return self._count

    def extend(self, values: Sequence[float], hosts: Sequence[str] | None = None) -> SeriesAnalysis:
        """Append points, newest last, and analyse; `hosts` either always or never.

        Raises:
            ValueError: hosts were given for some points only.
        """
        return extend_many([self], [(values, hosts)])[0]

    def append(self, values: Sequence[float], hosts: Sequence[str] | None) -> None:
        """Append points without an answer.

        Raises:
            ValueError: hosts were given for some points only.
        """
        if hosts is not None and len(hosts) != len(values):
            raise ValueError(f"hosts has {len(hosts)} names for {len(values)} values; give one for each")
        if self._window is None:
            self._window = begin(self._settings, [], None if hosts is None else [])
        elif len(values) and (hosts is None) != (self._window.hosts is None):
            raise ValueError("hosts must be given for all points of a series or for none")
        for number, value in enumerate(values):
            if math.isfinite(value):
                if len(self._window.raw) == SIZE:
                    self._next_window()
                append(self._window, float(value), None if hosts is None else hosts[number])
                self._places.append(self._count)
            self._count += 1

    def _next_window(self) -> None:
        """Freeze what the full window found, and go on with its second half."""
        window = self._window
        assert window is not None
        settle([window])
        self._frozen.add(window, self._begin, self._places, newest=False)
        self._frozen_text = None
        hosts = window.hosts
        self._window = begin(
            self._settings, window.raw[STRIDE:], None if hosts is None else hosts[STRIDE:], window.logs[STRIDE:]
        )
        self._places = self._places[STRIDE:]
        self._begin += STRIDE

    @property
    def window(self) -> Window:
        """The newest window."""
        if self._window is None:
            self._window = begin(self._settings, [], None)
        return self._window

    def answer(self) -> SeriesAnalysis:
        """What is known; the window must be settled."""
        assembly = self._frozen.copy()
        assembly.add(self.window, self._begin, self._places, newest=True)
        return assembly.finished(self.window, self._begin, self._places, self._count)

    def dump(self) -> bytes:
        """The state, to be kept and loaded again: at most 768 points and what was found before them."""
        window = self._window
        if self._frozen_text is None:
            self._frozen_text = text_of(self._frozen)
        return pack(
            State(
                settings=self._settings,
                count=self._count,
                begin=self._begin,
                places=self._places,
                raw=[] if window is None else window.raw,
                hosts=None if window is None else window.hosts,
                frozen=self._frozen,
                frozen_text=self._frozen_text,
            )
        )

    @classmethod
    def load(cls, state: bytes) -> "Tail":
        """What `dump` wrote.

        Raises:
            ValueError: it is of another version or damaged; analyse the whole history again.
        """
        read = unpack(state)
        tail = cls(read.settings)
        tail._count, tail._begin, tail._places = read.count, read.begin, read.places
        tail._frozen, tail._frozen_text = read.frozen, read.frozen_text
        if read.raw:
            tail._window = begin(read.settings, read.raw, read.hosts)
        return tail


def extend_many(
    tails: Sequence[Tail], additions: Sequence[tuple[Sequence[float], Sequence[str] | None]]
) -> list[SeriesAnalysis]:
    """`Tail.extend` for many histories at once, several times as fast as one by one; 64 to 256 at a time are best.

    Raises:
        ValueError: hosts were given for some points of a history only.
    """
    for tail, (values, hosts) in zip(tails, additions, strict=True):
        tail.append(values, hosts)
    settle([tail.window for tail in tails])
    return [tail.answer() for tail in tails]
