"""Small SVG drawings that can be read on light and on dark pages."""

from collections.abc import Sequence
from html import escape

_STYLE = """\
.paper{fill:#ffffff}.ink{fill:#24292f}.quiet{fill:#656d76}.line{stroke:#d0d7de}.axis{stroke:#8c959f}
.a{fill:#0969da;stroke:#0969da}.b{fill:#bc4c00;stroke:#bc4c00}.c{fill:#1a7f37;stroke:#1a7f37}.d{fill:#8250df;stroke:#8250df}
.bad{fill:#cf222e;stroke:#cf222e}.level{stroke:#24292f}.band{fill:#d4a72c}.limit{stroke:#bf8700}.grey{fill:#8c959f;stroke:#8c959f}
@media (prefers-color-scheme: dark){
.paper{fill:#0d1117}.ink{fill:#e6edf3}.quiet{fill:#9198a1}.line{stroke:#30363d}.axis{stroke:#6e7681}
.a{fill:#4493f8;stroke:#4493f8}.b{fill:#f0883e;stroke:#f0883e}.c{fill:#3fb950;stroke:#3fb950}.d{fill:#ab7df8;stroke:#ab7df8}
.bad{fill:#f85149;stroke:#f85149}.level{stroke:#e6edf3}.band{fill:#bb8009}.limit{stroke:#d29922}.grey{fill:#6e7681;stroke:#6e7681}}
text{font:12px system-ui,-apple-system,"Segoe UI",sans-serif}.strong{font-weight:600;font-size:13px}"""


class Drawing:
    """Elements on a sheet of paper; coordinates in pixels from its top left."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self._title = width, height, title
        self._elements: list[str] = []

    def line(
        self, start: tuple[float, float], end: tuple[float, float], look: str, *, wide: float = 1, dash: str = ""
    ) -> None:
        """A straight line."""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        ends = " ".join(
            f'{name}="{value:.1f}"' for name, value in zip(("x1", "y1", "x2", "y2"), (*start, *end), strict=True)
        )
        self._elements.append(f'<line {ends} class="{look}" stroke-width="{wide:g}"{dashed}/>')

    def dot(self, at: tuple[float, float], look: str, *, radius: float = 2.4, hollow: bool = False) -> None:
        """A point; a hollow one stands for what does not count."""
        fill = ' fill-opacity="0"' if hollow else ' stroke-width="0"'
        self._elements.append(f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{radius:g}" class="{look}"{fill}/>')

    def cross(self, at: tuple[float, float], look: str) -> None:
        """What failed."""
        x, y = at
        self.line((x - 4, y - 4), (x + 4, y + 4), look, wide=2)
        self.line((x - 4, y + 4), (x + 4, y - 4), look, wide=2)

    def box(self, at: tuple[float, float], size: tuple[float, float], look: str, *, faint: float = 0.25) -> None:
        """A shaded area."""
        (x, y), (width, height) = at, size
        self._elements.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{look}" '
            f'fill-opacity="{faint:g}" stroke-width="0"/>'
        )

    def text(self, at: tuple[float, float], said: str, look: str = "quiet", *, anchor: str = "start") -> None:
        """A line of text."""
        self._elements.append(
            f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" class="{look}" text-anchor="{anchor}">{escape(said)}</text>'
        )

    def __str__(self) -> str:
        """The file."""
        size = f'viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}"'
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>{escape(self._title)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect width="{self.width}" height="{self.height}" rx="6" class="paper"/>',
            *self._elements,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"


def wrapped(said: str, width: int) -> list[str]:
    """A text in lines of at most so many characters."""
    lines = [""]
    for word in said.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def ticks(low: float, high: float, most: int = 6) -> Sequence[float]:
    """Round numbers within a range, both ends included where they are round."""
    step = next(step for step in _steps() if (high - low) / step <= most)
    first = -(-low // step)
    count = int(high // step - first) + 1
    return [round((first + index) * step, 10) + 0.0 for index in range(count)]


def _steps() -> list[float]:
    return [digit * 10.0**power for power in range(-6, 7) for digit in (1, 2, 5)]
