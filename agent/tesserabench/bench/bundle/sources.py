"""The files of a bundle: CUDA sources with their own includes written out, and the digest over all that counts."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from tesserabench.bench.errors import BundleError

COUNTED = (
    *(".toml", ".py", ".cu", ".cuh", ".h", ".hpp", ".inc", ".inl", ".ptx", ".cubin"),
    *(".npy", ".npz", ".bin"),
)
"""Endings of the files that the digest covers: code, and data that a reference may read."""
MOST_FILES = 2000
MOST_BYTES = 256 << 20
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"', re.MULTILINE)
_TOOLKIT = re.compile(r"(cuda|cooperative_groups|mma|nv|cub/|thrust/|cute/|cutlass/|device_|vector_|math_|std)")
"""Beginnings of headers that come with a toolkit: in quotes too, the compiler knows better where they are."""
_ONCE = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+once\b", re.MULTILINE)


def digest_of(folder: Path) -> str:
    """Return the SHA-256 over names and contents of a bundle's files (or of one file), as 64 hexadecimal digits.

    Hidden files, caches and files with other endings, such as results, do not count.
    """
    total = hashlib.sha256()
    size = 0
    for place, path in enumerate(_counted(folder)):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BundleError(f"cannot be read ({error.strerror}); check its permissions", place=str(path)) from None
        size += len(content)
        if place >= MOST_FILES or size > MOST_BYTES:
            raise BundleError(
                f"bundle {folder} has more than {MOST_FILES} files or {MOST_BYTES >> 20} MiB; "
                "keep what is not part of it elsewhere"
            )
        name = path.relative_to(folder if folder.is_dir() else folder.parent).as_posix()
        total.update(f"{name}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


def _counted(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if not hidden and path.suffix in COUNTED and path.is_file():
            yield path


def cuda_source(path: Path, *, root: Path | None = None) -> str:
    """Return a CUDA source with every `#include "..."` written out, so that it compiles without its folder.

    Includes are searched beside the including file, then in the folder of `path`; they may not leave `root`, by default
    that folder. `#line` directives keep the compiler's messages true. Raises BundleError for a file that is missing or
    outside, and for files that include each other without `#pragma once`.
    """
    top = (root or path.parent).resolve()
    return _expand(path.resolve(), top, (path.parent.resolve(),), (), set())


def _expand(path: Path, root: Path, folders: tuple[Path, ...], above: tuple[Path, ...], seen: set[Path]) -> str:
    text = _read(path, root)
    if path in seen and _ONCE.search(text):
        return ""
    if path in above:
        cycle = " includes ".join(item.name for item in (*above[above.index(path) :], path))
        raise BundleError(
            f"files include each other without end ({cycle}); write #pragma once into the headers",
            place=_shown(path, root),
        )
    seen.add(path)
    # The main file's own first lines stay first: they may say how it is compiled.
    written: list[str] = [f'#line 1 "{_shown(path, root)}"\n'] if above else []
    end = 0
    for found in _INCLUDE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        target = _find(found.group(1), path, root, folders, line)
        if target is None:
            continue
        written.append(text[end : found.start()])
        written.append(_expand(target, root, folders, (*above, path), seen))
        written.append(f'\n#line {line} "{_shown(path, root)}"\n')
        end = found.end()
    written.append(text[end:])
    # Written out, a header stands in the main file, where compilers warn of the pragma.
    return _ONCE.sub("", "".join(written))


def _find(name: str, path: Path, root: Path, folders: tuple[Path, ...], line: int) -> Path | None:
    place = f"{_shown(path, root)}:{line}"
    for folder in (path.parent, *folders, root):
        target = (folder / name).resolve()
        if target.is_file():
            if not target.is_relative_to(root):
                raise BundleError(f"includes {name!r}, which lies outside {root}; copy it into the bundle", place=place)
            return target
    if _TOOLKIT.match(name):
        return None
    raise BundleError(f"includes {name!r}, which is not there; looked in {path.parent} and {root}", place=place)


def _read(path: Path, root: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BundleError(f"file {_shown(path, root)!r} is not there") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"cannot be read: {error}", place=_shown(path, root)) from None


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
