"""Golden files: what a command wrote, kept beside the tests. `UPDATE_GOLDEN=1 pytest ...` writes them anew."""

import os
from pathlib import Path

_FOLDER = Path(__file__).parent.parent / "golden"


def assert_golden(name: str, text: str) -> None:
    """Compare `text` with the golden file `name`, such as `cli/run_list.txt`."""
    path = _FOLDER / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"{path} is missing; write it with UPDATE_GOLDEN=1 and read it before you commit it"
    assert text == path.read_text(encoding="utf-8")
