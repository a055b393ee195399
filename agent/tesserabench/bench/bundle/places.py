"""Where a key stands in a TOML file, so that an error can name its line: tomllib does not tell."""

import re
from collections.abc import Mapping

Path = tuple[str | int, ...]
"""Keys and places in lists, from the outside in, such as ("benchmark", 0, "grid")."""

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]#]+?)\s*\]")
_KEY = re.compile(r"""^\s*("[^"]+"|'[^']+'|[A-Za-z0-9_-]+)\s*(?:\.[^=]+)?=""")


def lines_of(text: str) -> Mapping[Path, int]:
    """Return the line of every table and of every key that begins a line; good enough for people's files."""
    found: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    depth = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if depth == 0 and (header := _HEADER.match(line)):
            table = _table(header.group(2), repeated=header.group(1) == "[[", counts=counts)
            found.setdefault(table, number)
        elif depth == 0 and (key := _KEY.match(line)):
            found.setdefault((*table, key.group(1).strip("\"'")), number)
            depth += _opened(line.partition("=")[2])
        elif depth > 0:
            depth += _opened(line)
    return found


def line_of(lines: Mapping[Path, int], path: Path) -> int | None:
    """Return the line of `path`, or of the nearest part around it that has one."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def _table(name: str, *, repeated: bool, counts: dict[Path, int]) -> Path:
    path: Path = ()
    parts = [part.strip().strip("\"'") for part in name.split(".")]
    for place, part in enumerate(parts):
        path = (*path, part)
        if repeated and place == len(parts) - 1:
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, counts[path] - 1)
    return path


def _opened(line: str) -> int:
    """Return how many brackets a line opens more than it closes, texts and comments left out."""
    bare = re.sub(r'"(?:\\.|[^"\\])*"|' + r"'[^']*'", "", line).partition("#")[0]
    return sum(bare.count(sign) for sign in "[{") - sum(bare.count(sign) for sign in "]}")
