"""Writing to a stream whose reader may go away and whose disk may be full."""

import contextlib
import os
from pathlib import Path
from typing import TextIO

from tesserabench.cli.errors import CliError


def write_through(stream: TextIO, text: str) -> bool:
    """Write text at once; false when nobody reads it any more, which changes nothing about how the command ends.

    Raises:
        CliError: it cannot be written; the message names the file.
    """
    try:
        if text:
            stream.write(text)
        stream.flush()
    except BrokenPipeError:
        _forget(stream)
        return False
    except OSError as error:
        name = _name(stream)
        _forget(stream)
        raise CliError(f"{name}: cannot be written ({error.strerror}); free some space, or write elsewhere") from error
    return True


def tell(stream: TextIO, text: str) -> None:
    """Write at once what helps, and whose loss changes nothing: a full disk behind stderr must not decide a gate."""
    with contextlib.suppress(CliError):
        write_through(stream, text)


def _name(stream: TextIO) -> str:
    """What stands behind the stream, where the system tells it: a shell's redirection has no name of its own."""
    try:
        return str(Path(f"/proc/self/fd/{stream.fileno()}").readlink())
    except (OSError, ValueError):
        return "stdout"


def _forget(stream: TextIO) -> None:
    """Let what is left in the stream, and whatever follows, go nowhere: Python writes it once more at its end."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - a device, not a file
        os.dup2(nowhere.fileno(), stream.fileno())
