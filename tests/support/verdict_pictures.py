"""The pictures of docs/guide/verdicts.md; `make docs` writes them."""

from collections.abc import Iterator
from pathlib import Path

from support import cause_pictures, gate_pictures, history_pictures

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "guide" / "pictures"


def pictures() -> Iterator[tuple[Path, str]]:
    """Every picture, as the program judges today."""
    for verdict, look in gate_pictures.verdicts().items():
        yield FOLDER / f"verdict-{verdict.value}.svg", str(gate_pictures.drawn([look]))
    for reason, looks in gate_pictures.reasons().items():
        yield FOLDER / f"reason-{reason.value}.svg", str(gate_pictures.drawn(looks))
    yield FOLDER / "reason-quality_limit.svg", str(gate_pictures.drawn_quality(*gate_pictures.quality()))
    for cause, told in cause_pictures.causes().items():
        yield FOLDER / f"cause-{cause.value}.svg", str(cause_pictures.drawn(told))
    for name, history in history_pictures.shapes().items():
        yield FOLDER / f"history-{name}.svg", str(history_pictures.drawn(history))
    for noise, history in history_pictures.noises().items():
        yield FOLDER / f"noise-{noise.value}.svg", str(history_pictures.drawn(history))
