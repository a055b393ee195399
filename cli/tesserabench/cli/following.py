"""Waiting for a run at the command line: progress, log lines, interrupts, and the report at the end."""

import contextlib
import time
from dataclasses import dataclass

from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import CallError, WaitInterrupted
from tesserabench.cli.exit_codes import Ending, ExitMode
from tesserabench.cli.interruption import terminated_like_interrupted
from tesserabench.cli.judgement import Policy
from tesserabench.cli.logs import LogReader, log_line
from tesserabench.cli.options import Texts
from tesserabench.cli.parsing import short_id
from tesserabench.cli.progress import AnyProgress, open_progress
from tesserabench.cli.run_report import gather, show, write_json
from tesserabench.cli.settings.resolve import Settings
from tesserabench.cli.waiting import RunWatch
from tesserabench.v1.run_pb2 import Run
from tesserabench.v1.run_service_pb2 import CancelRunRequest

_LOG_SECONDS = 1.0


def policy_of(typed: Texts, settings: Settings, *, default: str) -> Policy:
    """What is to stop the pipeline: what was typed, else the setting, else `default`."""
    if settings.exit_mode is ExitMode.SEVERITY and default == "none":
        default = "any"
    return Policy(
        fail_on=typed.text("fail_on") or settings.fail_on or default,
        fail_on_inconclusive=typed.flag("fail_on_inconclusive"),
        fail_on_error=typed.flag("fail_on_error"),
    )


def follow_and_report(context: CommandContext, run: Run, typed: Texts, policy: Policy) -> Ending:
    """Wait for a run, write its report, and say how the command ends.

    Raises:
        CliError: it did not come to an end; the run goes on unless it was to be cancelled.
    """
    finished = _follow(context, run, typed)
    report = gather(context.collector, finished, policy)
    if typed.text("json_file"):
        write_json(report, typed.text("json_file"))
    return show(report, context.printer, allow_empty=typed.flag("allow_empty"))


def _follow(context: CommandContext, run: Run, typed: Texts) -> Run:
    printer = context.printer
    with open_progress(printer.side, quiet=printer.quiet, color=printer.side_color) as progress:
        observer = _Watcher(progress=progress, logs=_log_reader(context, run, typed))
        watch = RunWatch(
            collector=context.collector,
            name=run.name,
            timeout_seconds=context.settings.timeout_seconds,
            observer=observer,
            run=run,
        )
        try:
            with terminated_like_interrupted():
                finished = watch.follow()
        except KeyboardInterrupt:
            interrupted = True
        else:
            interrupted = False
            observer.drain()
    if interrupted:
        raise _interruption(context, run, cancel=typed.flag("cancel_on_interrupt"))
    return finished


def _log_reader(context: CommandContext, run: Run, typed: Texts) -> LogReader | None:
    return LogReader(collector=context.collector, name=run.name) if typed.flag("follow_logs") else None


def _interruption(context: CommandContext, run: Run, *, cancel: bool) -> WaitInterrupted:
    number = short_id(run.name)
    if not cancel:
        return WaitInterrupted(
            f"interrupted; run {number} goes on: tbctl run watch {number}, or stop it: tbctl run cancel {number}"
        )
    request = CancelRunRequest(name=run.name, reason="tbctl was interrupted with --cancel-on-interrupt")
    try:
        context.collector.call(context.collector.stubs.runs.CancelRun, request)
    except CallError as error:
        return WaitInterrupted(
            f"interrupted; run {number} could not be cancelled ({error.sentence}): tbctl run cancel {number}"
        )
    return WaitInterrupted(f"interrupted; run {number} is being cancelled")


@dataclass(kw_only=True)
class _Watcher:
    """Passes on what happens to the progress, and reads log lines now and then."""

    progress: AnyProgress
    logs: LogReader | None
    connected: bool = True
    last_read: float = 0.0

    def seen(self, run: Run) -> None:
        """The run as it is now."""
        self.progress.seen(run)

    def lost(self, error: CallError) -> None:
        """The connection is lost."""
        self.connected = False
        self.progress.lost(error)

    def found(self) -> None:
        """The connection is there again."""
        self.connected = True
        self.progress.found()

    def tick(self) -> None:
        """Time passes."""
        self.progress.tick()
        if self.connected and time.monotonic() - self.last_read >= _LOG_SECONDS:
            self.drain()

    def drain(self) -> None:
        """Show the lines that are there."""
        if self.logs is None:
            return
        self.last_read = time.monotonic()
        # A line that cannot be read now is read later; losing the run for it would be the greater harm.
        with contextlib.suppress(CallError):
            for entry in self.logs.read():
                self.progress.log(log_line(entry))
