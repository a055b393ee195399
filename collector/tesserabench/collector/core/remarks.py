"""What people write down beside what they do: kept as one line that no terminal or page obeys."""

import re
import unicodedata

_BLANK = re.compile(r"\s+")


def one_line(text: str) -> str:
    """The text without control characters and marks of direction; blanks and ends of lines in a row are one blank."""
    return _BLANK.sub(" ", "".join(" " if _steers(character) else character for character in text)).strip()


def _steers(character: str) -> bool:
    # Joiners are letters of their scripts' words and stay; what turns the direction of the rest does not.
    return unicodedata.category(character) in {"Cc", "Zl", "Zp"} or unicodedata.bidirectional(character) in _TURNS


_TURNS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
