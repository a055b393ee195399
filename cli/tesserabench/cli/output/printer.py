"""Where a command's words go: the result to stdout in the format asked for, everything else to stderr."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO, TypeVar

from google.protobuf.message import Message
from tesserabench.cli.output.streams import tell, write_through
from tesserabench.cli.output.structured import as_json, as_yaml, document, list_document, plain
from tesserabench.cli.output.table import Column, clean_lines, paint, render_csv, render_details, render_table

Row = TypeVar("Row")
MessageRow = TypeVar("MessageRow", bound=Message)

TABLE_WIDTH = 100
"""Widest table where the width of a terminal is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Printer:
    """Writes results, hints and warnings."""

    output: str
    result: TextIO
    side: TextIO
    color: bool
    side_color: bool
    width: int
    quiet: bool = False

    @property
    def for_people(self) -> bool:
        """Whether the result is a table."""
        return self.output in {"table", "wide"}

    def items(
        self,
        kind: str,
        items: Sequence[Row],
        columns: Sequence[Column[Row]],
        *,
        body: Callable[[Row], Mapping[str, Any]],
        nothing: str,
    ) -> None:
        """Write a list; an empty table says `nothing` on stderr."""
        if self.output in {"json", "yaml"}:
            self._document(list_document(kind, [body(item) for item in items]))
        elif self.output == "csv":
            self.write(render_csv(columns, items))
        elif items:
            self.write(self.table(columns, items))
        else:
            self.hint(nothing)

    def thing(
        self,
        kind: str,
        item: Row,
        columns: Sequence[Column[Row]],
        *,
        body: Callable[[Row], Mapping[str, Any]],
        text: str | None = None,
    ) -> None:
        """Write one thing; `text` is what people read instead of a table of one row."""
        if self.output in {"json", "yaml"}:
            self._document(document(kind, body(item)))
        elif self.output == "csv":
            self.write(render_csv(columns, [item]))
        else:
            self.write(self.table(columns, [item]) if text is None else text)

    def message_list(
        self, kind: str, items: Sequence[MessageRow], columns: Sequence[Column[MessageRow]], *, nothing: str
    ) -> None:
        """Write a list of messages of the contract."""
        self.items(kind, items, columns, body=plain, nothing=nothing)

    def message(
        self, kind: str, item: MessageRow, columns: Sequence[Column[MessageRow]], *, text: str | None = None
    ) -> None:
        """Write one message of the contract."""
        self.thing(kind, item, columns, body=plain, text=text)

    def table(self, columns: Sequence[Column[Row]], rows: Sequence[Row]) -> str:
        """A table as this printer would write it."""
        return render_table(columns, rows, wide=self.output == "wide", width=self.width, color=self.color)

    def details(self, pairs: Sequence[tuple[str, str]]) -> str:
        """Labels and values as this printer would write them."""
        return render_details(pairs, color=self.color)

    def painted(self, text: str, style: str) -> str:
        """A part of the result in a style."""
        return paint(text, style, color=self.color)

    def write(self, text: str) -> None:
        """Write to stdout. A reader that went away changes nothing about how the command ends.

        Raises:
            CliError: it cannot be written; the message names the file.
        """
        write_through(self.result, f"{text}\n")

    def hint(self, text: str) -> None:
        """Write to stderr what helps and may be left out."""
        if not self.quiet:
            tell(self.side, f"{clean_lines(text)}\n")

    def warn(self, text: str) -> None:
        """Write to stderr what must not be missed."""
        tell(self.side, f"{paint('warning:', 'warn', color=self.side_color)} {clean_lines(text)}\n")

    def _document(self, value: Mapping[str, Any]) -> None:
        self.write(as_json(value) if self.output == "json" else as_yaml(value))


def open_printer(*, output: str, no_color: bool, quiet: bool) -> Printer:
    """A printer on this process's streams. Colours only where a terminal is."""
    colors = not no_color and os.environ.get("TERM") != "dumb"
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size((TABLE_WIDTH, 24)).columns if terminal else TABLE_WIDTH
    return Printer(
        output=output,
        result=sys.stdout,
        side=sys.stderr,
        color=colors and terminal,
        side_color=colors and sys.stderr.isatty(),
        width=width,
        quiet=quiet,
    )
