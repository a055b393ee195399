"""Progress of a run on stderr: a live bar on a terminal, a plain line now and then elsewhere, or nothing."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from tesserabench.cli.errors import CallError
from tesserabench.cli.output.streams import tell
from tesserabench.cli.output.table import clean
from tesserabench.cli.output.words import word
from tesserabench.cli.parsing import short_id
from tesserabench.report.quantity import duration
from tesserabench.v1.run_pb2 import Run, RunState

if TYPE_CHECKING:
    from rich.progress import TaskID

_LINE_SECONDS = 10.0


def describe(run: Run) -> str:
    """One line about where a run is: state, cases done, the case and phase of now, and why it waits."""
    progress = run.progress
    parts = [word(RunState, run.state) or "unknown"]
    if progress.cases_total:
        parts.append(f"{progress.cases_done}/{progress.cases_total} cases")
    if run.state == RunState.RUN_STATE_RUNNING and progress.current_case:
        parts.append(clean(progress.current_case) + (f" ({clean(progress.phase)})" if progress.phase else ""))
    if run.state != RunState.RUN_STATE_RUNNING and run.reason:
        parts.append(clean(run.reason))
    return ", ".join(parts)


@dataclass(kw_only=True)
class PlainProgress(AbstractContextManager["PlainProgress"]):
    """A line when the state changes, and otherwise one every ten seconds."""

    stream: TextIO
    clock: Callable[[], float] = time.monotonic
    run: Run | None = None
    _start: float = field(init=False)
    _last: float = field(init=False)
    _lost: float | None = field(init=False)

    def __post_init__(self) -> None:
        self._start = self._last = self.clock()
        self._lost: float | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to tidy up."""

    def seen(self, run: Run) -> None:
        """Tell a new state at once."""
        changed = self.run is None or self.run.state != run.state
        self.run = run
        if changed:
            self._tell(describe(run))

    def lost(self, error: CallError) -> None:
        """Tell that the connection is lost."""
        self._lost = self.clock()
        self._tell(f"connection lost, trying again: {error.sentence}")

    def found(self) -> None:
        """Tell that it is there again."""
        self._lost = None
        self._tell("connected again")

    def tick(self) -> None:
        """Tell the progress when it is time to; without a connection it is not known."""
        if self.run is None or self.clock() - self._last < _LINE_SECONDS:
            return
        if self._lost is not None:
            self._tell(f"no connection for {duration(float(round(self.clock() - self._lost)))}, trying again")
        else:
            self._tell(describe(self.run))

    def log(self, line: str) -> None:
        """A line of the run's log."""
        tell(self.stream, f"{line}\n")

    def _tell(self, text: str) -> None:
        self._last = self.clock()
        number = f"run {short_id(self.run.name)}: " if self.run is not None else ""
        tell(self.stream, f"[{duration(float(round(self._last - self._start)))}] {number}{clean(text)}\n")


class SilentProgress(AbstractContextManager["SilentProgress"]):
    """Says nothing but what must not be missed: log lines that were asked for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to tidy up."""

    def seen(self, run: Run) -> None:
        """Say nothing."""

    def lost(self, error: CallError) -> None:
        """Say nothing."""

    def found(self) -> None:
        """Say nothing."""

    def tick(self) -> None:
        """Say nothing."""

    def log(self, line: str) -> None:
        """A line of the run's log."""
        tell(self._stream, f"{line}\n")


class LiveProgress(AbstractContextManager["LiveProgress"]):
    """A bar with the cases done, the current case and phase, and the time since the start."""

    def __init__(self, stream: TextIO, *, color: bool) -> None:
        # rich takes a tenth of a second to import; only a terminal pays for it.
        from rich.console import Console  # noqa: PLC0415 - see above
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - see above
        from rich.table import Column  # noqa: PLC0415 - see above

        console = Console(file=stream, no_color=not color, highlight=False)
        self._progress: Progress = Progress(
            TextColumn("{task.fields[number]}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
            console=console,
            transient=True,
            expand=True,
        )
        self._task: TaskID = self._progress.add_task("", number="run", total=None)

    def __enter__(self) -> Self:
        """Show the bar."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the bar."""
        self._progress.stop()

    def seen(self, run: Run) -> None:
        """Move the bar."""
        total = run.progress.cases_total or None
        self._progress.update(
            self._task,
            number=f"run {short_id(run.name)}",
            description=describe(run).partition(" cases, ")[2] or describe(run),
            completed=run.progress.cases_done,
            total=total,
        )

    def lost(self, error: CallError) -> None:
        """Say that the connection is lost."""
        self._progress.update(self._task, description="connection lost, trying again")
        self._progress.console.print(f"connection lost, trying again: {error.sentence}", markup=False)

    def found(self) -> None:
        """Say that it is there again."""
        self._progress.console.print("connected again")

    def tick(self) -> None:
        """The bar moves by itself."""

    def log(self, line: str) -> None:
        """A line of the run's log, above the bar."""
        self._progress.console.print(line, markup=False, soft_wrap=True)


AnyProgress = PlainProgress | SilentProgress | LiveProgress


def open_progress(stream: TextIO, *, quiet: bool, color: bool) -> AnyProgress:
    """The progress that suits a stream."""
    if quiet:
        return SilentProgress(stream)
    if stream.isatty():
        return LiveProgress(stream, color=color)
    return PlainProgress(stream=stream)
