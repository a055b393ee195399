"""Whether PostgreSQL takes results, told to logs, probes and metrics: it may answer and have no room to write."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from tesserabench.collector.core import metrics
from tesserabench.collector.errors import UnavailableError

_TOLD_EVERY = timedelta(minutes=1)
_PATIENCE = timedelta(seconds=10)
"""A restart of the server is no delay that anybody needs to hear of."""
_FORGOTTEN_AFTER = timedelta(minutes=3)
"""Longer than agents wait between two tries: where nobody has tried for so long nothing is known any more."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class IngestDelay:
    """Commits that fail, since when, and why."""

    clock: Callable[[], datetime]
    _since: datetime | None = None
    _last: datetime | None = None
    _told: datetime | None = None
    _error: UnavailableError | None = None

    def __post_init__(self) -> None:
        metrics.INGEST_DELAYED.set_function(lambda: float(self._lasts()))

    def failed(self, error: UnavailableError) -> None:
        """Note a commit that failed; logged when it begins, and once a minute while it lasts."""
        now = self.clock()
        self._since = self._since or now
        self._last, self._error = now, error
        if self._told is None or now - self._told >= _TOLD_EVERY:
            self._told = now
            seconds = round((now - self._since).total_seconds())
            _log.warning("ingest.commit_delayed", error=error.message, seconds=seconds)

    def succeeded(self) -> None:
        """Note a commit that went well."""
        if self._since is not None:
            seconds = round((self.clock() - self._since).total_seconds())
            _log.info("ingest.commits_again", seconds=seconds)
            self._since = self._last = self._told = self._error = None

    async def check(self) -> None:
        """Return while results are taken, as far as is known.

        Raises:
            UnavailableError: they have not been for a while; the message says why.
        """
        if self._lasts() and self._error is not None:
            raise self._error

    def _lasts(self) -> bool:
        if self._since is None or self._last is None:
            return False
        now = self.clock()
        return now - self._since >= _PATIENCE and now - self._last < _FORGOTTEN_AFTER
