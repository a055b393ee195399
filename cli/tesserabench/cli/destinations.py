"""Files that a command writes at its end: looked at before anything is measured, so that no work is lost to a typo."""

import os
from pathlib import Path

from tesserabench.cli.errors import CliError


def require_writable(path: str, *, option: str) -> None:
    """Look whether a file can be written there, without touching it.

    Raises:
        CliError: it cannot; the message names the option.
    """
    target = Path(path)
    if target.is_dir():
        raise CliError(f"{option} {path}: is a folder; give the name of a file in it")
    if not target.parent.is_dir():
        raise CliError(f"{option} {path}: there is no folder {str(target.parent)!r}; create it first")
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise CliError(f"{option} {path}: cannot be written; check its owner and permissions")
