"""The entry point of tbctl, and the one function that turns every ending into an exit status."""

import errno
import os
import sys
from collections.abc import Sequence

import click
from tesserabench.cli.catalogue import ENTRIES, ROOT_EXAMPLES
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import CliError
from tesserabench.cli.exit_codes import DONE, Ending, ExitCode, ExitMode, status_in_mode
from tesserabench.cli.grammar import LazyGroup, global_options
from tesserabench.cli.output.streams import tell, write_through
from tesserabench.cli.output.table import clean_lines


def _show_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's callback
    del parameter
    if value and not context.resilient_parsing:
        from tesserabench.cli.commands.version import client_version  # noqa: PLC0415 - package metadata is slow to read

        click.echo(f"tbctl {client_version()}")
        context.exit()


root = LazyGroup(
    name="tbctl",
    help=(
        "Measure GPU and CPU benchmarks across a fleet, and judge whether a change made them slower.\n\n"
        "stdout carries the result alone; progress and hints go to stderr. Exit codes: tbctl explain."
    ),
    entries=ENTRIES,
    examples=ROOT_EXAMPLES,
    params=[
        *global_options(hidden=False),
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_show_version,
            help="Show tbctl's version.",
        ),
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def main() -> None:
    """Run tbctl with the arguments of this process, and end the process with its exit status."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run tbctl with `arguments`; the exit status. Nothing is raised, and no traceback is shown without -v."""
    _open_closed()
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets a question mark, not a crash; a line that is no text is answered.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    context = CommandContext()
    ending = _settled(_ending(arguments, context))
    if ending.code is ExitCode.DONE:
        return 0
    mode = _exit_mode(arguments, context)
    status = status_in_mode(ending, mode)
    number = f"exit {status}" if status == ending.code else f"exit {status} ({mode} mode; standard {int(ending.code)})"
    tell(sys.stderr, f"{number}: {clean_lines(ending.sentence)}\n")
    return status


def _ending(arguments: Sequence[str], context: CommandContext) -> Ending:
    try:
        try:
            result = root.main(list(arguments), prog_name="tbctl", standalone_mode=False, obj=context)
        except SystemExit:
            # What click makes of a reader that went away, which changes nothing about how the command ends.
            result = DONE
        finally:
            context.close()
    except CliError as error:
        for line in error.details:
            tell(sys.stderr, f"{clean_lines(line)}\n")
        return Ending(code=error.code, sentence=error.sentence)
    except click.UsageError as error:
        return _usage(error)
    except click.ClickException as error:
        return Ending(code=ExitCode.FAILURE, sentence=error.format_message())
    except (click.Abort, KeyboardInterrupt):
        return Ending(code=ExitCode.INTERRUPTED, sentence="interrupted")
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is becomes one line and a status
        return _unexpected(error, verbose=context.verbose)
    return result if isinstance(result, Ending) else DONE


def _open_closed() -> None:
    """Let nothing come from, and go to, a stream that the caller has closed: Python has none then."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - a device, kept open


def _settled(ending: Ending) -> Ending:
    """How it ends once stdout holds everything: what is left in it, Python would lose with a status of its own."""
    try:
        write_through(sys.stdout, "")
    except CliError as error:
        if ending.code in {ExitCode.DONE, ExitCode.FAILURE}:
            return Ending(code=error.code, sentence=error.sentence)
    return ending


def _usage(error: click.UsageError) -> Ending:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        tell(sys.stderr, f"{error.format_message()}\n")
        return Ending(code=ExitCode.USAGE, sentence="no command was given")
    if error.ctx is not None:
        tell(sys.stderr, f"Help: {error.ctx.command_path} --help\n")
    return Ending(code=ExitCode.USAGE, sentence=error.format_message())


def _unexpected(error: Exception, *, verbose: bool) -> Ending:
    if verbose:
        import traceback  # noqa: PLC0415 - needed only here

        traceback.print_exception(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        # Most commands name the file; what click writes, help among it, goes to stdout.
        where = error.filename or "stdout"
        return Ending(code=ExitCode.FAILURE, sentence=f"{where}: cannot be written ({error.strerror}); free some space")
    remedy = "" if verbose else "; run it again with -v to see where"
    text = " ".join(str(error).split())
    return Ending(code=ExitCode.FAILURE, sentence=f"unexpected {type(error).__name__}: {text}{remedy}")


def _exit_mode(arguments: Sequence[str], context: CommandContext) -> ExitMode:
    """The scale of the status, as far as it can be known: what is broken may be the settings themselves."""
    words = [*arguments, ""]
    given = [word.partition("=")[2] for word in words if word.startswith("--exit-mode=")]
    given += [words[place + 1] for place, word in enumerate(arguments) if word == "--exit-mode"]
    for text in given:
        if text in list(ExitMode):
            return ExitMode(text)
    try:
        return context.settings.exit_mode
    except CliError:
        text = os.environ.get("TBCTL_EXIT_MODE", "")
        return ExitMode(text) if text in list(ExitMode) else ExitMode.STANDARD
