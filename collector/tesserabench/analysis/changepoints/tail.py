"""The analysis of a history that grows."""

import json
from collections.abc import Sequence

from tesserabench.analysis.changepoints.analysis import analyse
from tesserabench.analysis.changepoints.model import SeriesAnalysis, Settings


class Tail:
    """A history so far; every extension answers as `analyse` would for all points."""

    def __init__(self, settings: Settings, values: list[float], hosts: list[str] | None) -> None:
        self._settings, self._values, self._hosts = settings, values, hosts

    @classmethod
    def start(cls, settings: Settings | None = None) -> "Tail":
        """A history without points."""
        return cls(settings or Settings(), [], None)

    def extend(self, values: Sequence[float], hosts: Sequence[str] | None = None) -> SeriesAnalysis:
        """Append points, newest last, and analyse; `hosts` either always or never.

        Raises:
            ValueError: hosts were given for some points only.
        """
        if self._values and (hosts is None) != (self._hosts is None):
            raise ValueError("hosts must be given for all points of a series or for none")
        self._values.extend(map(float, values))
        if hosts is not None:
            self._hosts = [*(self._hosts or []), *hosts]
        return analyse(self._values, self._hosts, self._settings)

    def dump(self) -> bytes:
        """The state, to be kept and loaded again."""
        state = {
            "smallest_change": self._settings.smallest_change,
            "strictness": self._settings.strictness,
            "values": self._values,
            "hosts": self._hosts,
        }
        return json.dumps(state).encode()

    @classmethod
    def load(cls, state: bytes) -> "Tail":
        """What `dump` wrote."""
        read = json.loads(state)
        settings = Settings(smallest_change=read["smallest_change"], strictness=read["strictness"])
        return cls(settings, read["values"], read["hosts"])
