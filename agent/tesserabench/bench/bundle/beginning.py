"""Beginning a bundle: a working example to change."""

import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from tesserabench.bench.errors import BundleError

TEMPLATES = {
    "python": "a benchmark in Python, with NumPy on a CPU and CuPy on a GPU",
    "cuda": "a plain .cu file, declared without any Python",
    "fusion": "two forms of one computation side by side, with kernels of one's own",
}
"""Examples to begin from, and what each shows."""
_MARK = "@NAME@"


def begin_bundle(folder: Path, template: str) -> tuple[Path, ...]:
    """Write an example into a new or empty folder and return its files; raise BundleError when that cannot be."""
    if template not in TEMPLATES:
        raise BundleError(f"template {template!r} is unknown; use one of: {', '.join(TEMPLATES)}")
    name = re.sub(r"[^a-z0-9._-]+", "-", folder.resolve().name.lower()).strip("-._")[:63]
    if not name:
        raise BundleError(f"folder {str(folder)!r} makes no name; use letters or digits")
    try:
        if folder.exists() and any(folder.iterdir()):
            raise BundleError(f"folder {str(folder)!r} is not empty; choose another one")
        return tuple(_write(resources.files(__package__) / "templates" / template, folder, name))
    except OSError as error:
        raise BundleError(f"folder {str(folder)!r} cannot be written ({error.strerror})") from None


def _write(source: Traversable, target: Path, name: str) -> list[Path]:
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for item in sorted(source.iterdir(), key=lambda item: item.name):
        if item.name == "__pycache__":
            continue
        if item.is_dir():
            written += _write(item, target / item.name, name)
            continue
        path = target / item.name
        path.write_text(item.read_text(encoding="utf-8").replace(_MARK, name), encoding="utf-8")
        written.append(path)
    return written
