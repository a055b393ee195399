"""The grammar of tbctl: commands that are imported when they are called, and options that may stand anywhere.

Nothing here imports more than click, so that `tbctl --help` stays fast.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
from tesserabench.cli.context import CommandContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A command line that helps, and what it does."""

    line: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A command that is not imported yet: `module:attribute`, and its line in the list of commands."""

    target: str
    help: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Noun:
    """A group of commands that share a noun."""

    help: str
    verbs: Mapping[str, Entry]
    examples: Sequence[Example]


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> object:
    name = parameter.name or ""
    if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
        keeper = context.find_object(CommandContext)
        if keeper is not None:
            keeper.flags[name.replace("_", "-")] = str(value).lower() if isinstance(value, bool) else str(value)
    return value


class _GlobalOption(click.Option):
    """An option that every command takes; its text is kept for the settings, which read and check it."""

    def __init__(self, declarations: Sequence[str], *, help: str, metavar: str = "", hidden: bool) -> None:  # noqa: A002 - click's word
        # The name is the settings key, so that flag, file and origin say the same.
        flag: dict[str, Any] = {} if metavar else {"is_flag": True}
        if metavar:
            flag["metavar"] = metavar
        super().__init__(declarations, help=help, hidden=hidden, expose_value=False, callback=_remember, **flag)


_GLOBAL: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("context", "--context"), "NAME", "Context of the user file."),
    (("server", "--server"), "ADDRESS", "Collector: HOST:PORT, http://HOST:PORT or https://HOST:PORT."),
    (("project", "--project"), "NAME", "Project."),
    (("config", "--config"), "PATH", "User file to read instead of the usual one."),
    (("output", "-o", "--output"), "FORMAT", "table, wide, json, yaml or csv."),
    (("quiet", "-q", "--quiet"), "", "No hints and no progress on stderr."),
    (("verbose", "-v", "--verbose"), "", "Say more; show where an unexpected error came from."),
    (("no-color", "--no-color"), "", "No colours (also: NO_COLOR)."),
    (("timeout", "--timeout"), "DURATION", "Longest wait for a run, 0 for ever. Default 30m."),
    (("request-timeout", "--request-timeout"), "DURATION", "Longest time for one call. Default 15s."),
    (("retries", "--retries"), "N", "Repeats of a call that did not get through. Default 3."),
    (("ca-file", "--ca-file"), "PATH", "Certificate authorities for TLS (PEM)."),
    (("cert", "--cert"), "PATH", "Client certificate (PEM)."),
    (("key", "--key"), "PATH", "Key of the client certificate (PEM)."),
    (("insecure", "--insecure"), "", "Plaintext, even to another machine."),
    (("insecure-skip-verify", "--insecure-skip-verify"), "", "TLS with whatever certificate the server shows."),
    (("exit-mode", "--exit-mode"), "MODE", "standard, severity (0-4) or simple (0/1)."),
)


def global_options(*, hidden: bool) -> list[click.Parameter]:
    """Fresh copies of the options that every command takes, for one command."""
    return [
        _GlobalOption((name.replace("-", "_"), *flags), metavar=metavar, help=text, hidden=hidden)
        for (name, *flags), metavar, text in _GLOBAL
    ]


class TesseraCommand(click.Command):
    """A command whose help ends with examples, and which takes the global options too."""

    def __init__(self, *arguments: Any, examples: Sequence[Example] = (), **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.examples = examples
        self.params = [*self.params, *global_options(hidden=True)]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write where the global options are explained, and the examples."""
        del ctx
        write_examples(formatter, self.examples)


class LazyGroup(click.Group):
    """A group that lists its commands without importing them, and knows what a mistyped one may have meant."""

    def __init__(
        self, *arguments: Any, entries: Mapping[str, Entry | Noun], examples: Sequence[Example] = (), **keywords: Any
    ) -> None:
        super().__init__(*arguments, **keywords)
        self.entries = entries
        self.examples = examples

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order in which help shows them."""
        del ctx
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        del ctx
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        if isinstance(entry, Noun):
            return group_of(cmd_name, entry)
        module, _, attribute = entry.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the next word names.

        Raises:
            click.UsageError: there is none; the sentence names the nearest.
        """
        word = args[0]
        if word not in self.entries and not word.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"no command {word!r}{self._near(word)}", ctx=ctx)
        return super().resolve_command(ctx, args)

    def _near(self, word: str) -> str:
        from tesserabench.cli.settings.schema import near  # noqa: PLC0415 - needed only for an error

        return near(word, list(self.entries)) or f"; there are: {', '.join(self.entries)}"

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from its static lines."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(formatter, self.examples, root=ctx.parent is None)


def group_of(name: str, noun: Noun) -> LazyGroup:
    """The group of a noun's commands."""
    return LazyGroup(
        name=name, help=noun.help, entries=noun.verbs, examples=noun.examples, params=global_options(hidden=True)
    )


def write_examples(formatter: click.HelpFormatter, examples: Sequence[Example], *, root: bool = False) -> None:
    """The end of a help page."""
    formatter.write_paragraph()
    if not root:
        formatter.write_text(
            "Global options (-o, --server, --context, --timeout, ...) may stand here too: see tbctl --help."
        )
        formatter.write_paragraph()
    formatter.write("Examples:\n")
    for example in examples:
        formatter.write(f"  {example.line}\n      {example.text}\n")


def command(name: str, *, examples: Sequence[tuple[str, str]]) -> Callable[[Callable[..., Any]], TesseraCommand]:
    """Turn a function into a command of tbctl; `examples` are pairs of a command line and what it does."""
    shown = [Example(line=line, text=text) for line, text in examples]

    def decorate(function: Callable[..., Any]) -> TesseraCommand:
        return click.command(name, cls=TesseraCommand, examples=shown)(click.pass_obj(function))

    return decorate
