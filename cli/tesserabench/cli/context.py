"""What a command is given: its settings, its printer, and the collector, each made when it is first asked for."""

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tesserabench.cli.connection import Collector
    from tesserabench.cli.output.printer import Printer
    from tesserabench.cli.settings.resolve import Settings


@dataclass
class CommandContext:
    """The object that click hands to every command. `flags` holds the typed global options, as text by key."""

    flags: dict[str, str] = field(default_factory=dict)

    @cached_property
    def settings(self) -> "Settings":
        """The settings, read from all their places at the first use.

        Raises:
            SettingsError: one of the places holds something that cannot be right.
        """
        from tesserabench.cli.settings.resolve import resolve  # noqa: PLC0415 - help and completion need no settings

        return resolve(flags=self.flags, environment=os.environ, folder=Path.cwd())

    @cached_property
    def printer(self) -> "Printer":
        """Where results and hints go, in the format of the settings."""
        from tesserabench.cli.output.printer import open_printer  # noqa: PLC0415 - help and completion need none

        settings = self.settings
        return open_printer(output=settings.output, no_color=settings.no_color, quiet=self.quiet)

    @cached_property
    def collector(self) -> "Collector":
        """The connection to the collector, opened at the first use and closed by `close`."""
        from tesserabench.cli.connection import connect  # noqa: PLC0415 - grpc takes a quarter of a second to import

        for note in self.settings.notes:
            self.printer.warn(note)
        return connect(self.settings, warn=self.printer.warn)

    @property
    def quiet(self) -> bool:
        """Whether hints and progress are to be left out."""
        return self.flags.get("quiet") == "true"

    @property
    def verbose(self) -> bool:
        """Whether to say more."""
        return self.flags.get("verbose") == "true"

    def close(self) -> None:
        """Close the connection, if one was opened."""
        if "collector" in self.__dict__:
            self.collector.close()
