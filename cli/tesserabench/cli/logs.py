"""Lines that a run's workers wrote, read page by page."""

from collections.abc import Iterator
from dataclasses import dataclass

from tesserabench.cli.connection import Collector
from tesserabench.cli.output.table import clean
from tesserabench.cli.output.words import iso, moment
from tesserabench.v1.run_service_pb2 import ListRunLogsRequest, LogEntry

_PAGE = 1000


@dataclass(kw_only=True)
class LogReader:
    """Reads on where it stopped the last time."""

    collector: Collector
    name: str
    token: str = ""

    def read(self) -> Iterator[LogEntry]:
        """Every line that is there and was not read yet.

        Raises:
            CallError: the collector refused or did not answer.
        """
        while True:
            request = ListRunLogsRequest(name=self.name, page_size=_PAGE, page_token=self.token)
            answer = self.collector.call(self.collector.stubs.runs.ListRunLogs, request)
            yield from answer.entries
            # An answer without lines gives the token it was asked with: the end, for now.
            if not answer.entries or answer.next_page_token in {"", self.token}:
                self.token = answer.next_page_token or self.token
                return
            self.token = answer.next_page_token


def log_line(entry: LogEntry) -> str:
    """`12:30:01.250 gpu-07 trial 0 stdout | text`, harmless to a terminal."""
    time = iso(moment(entry, "time"))
    clock = time[11:23] if time else "-"
    trial = f" trial {entry.trial}" if entry.HasField("trial") else ""
    return f"{clock} {clean(entry.host)}{trial} {clean(entry.source)} | {clean(entry.text.expandtabs(4))}"
