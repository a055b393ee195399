"""Values of a policy as its file writes them, for people."""

from collections.abc import Callable
from typing import Any

from tesserabench.analysis.rules.match import Match
from tesserabench.analysis.rules.rule import NEVER, Confirmation, Cordon, Ignored, Quality

_SIZES = frozenset(
    {
        "minimum-effect",
        "severities.major",
        "severities.critical",
        "confidence",
        "power",
        "expected-noise",
        "smallest-change",
    }
)
_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def written(key: str, value: Any) -> str:
    """A setting's value as the file writes it; `-` for one that is not set."""
    if key == "missing-after":
        return "by its rhythm" if value is None else duration(value)
    if key == "cordon" and value is None:
        return "never"
    if value is None:
        return "-"
    if key in _SIZES:
        return percent(value)
    return _plain(value)


def _plain(value: Any) -> str:
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value)
    return str(value) or "-"


def percent(size: float) -> str:
    """A size as a percentage: `1.5 %`."""
    return f"{round(100 * size, 6):g} %"


def duration(seconds: float) -> str:
    """Seconds as the file writes them: `3d`, `1h30m`, `never`."""
    if seconds == NEVER:
        return "never"
    parts: list[str] = []
    rest = seconds
    for size, unit in _UNITS:
        count = rest if unit == "s" else rest // size
        if count:
            parts.append(f"{count:g}{unit}")
        rest -= count * size
    return "".join(parts) or "0s"


def match_text(match: Match) -> str:
    """What a rule asks for, in one line; `everything` when it asks for nothing."""
    asked = dict(match.texts) | {f"parameters.{name}": wanted for name, wanted in match.parameters.items()}
    if match.host is not None:
        asked["host"] = match.host
    parts = [f"{key}={'|'.join(wanted.texts())}" for key, wanted in asked.items()]
    if match.primary is not None:
        parts.append(f"primary={'true' if match.primary else 'false'}")
    return " ".join(parts) or "everything"


def _quality(limits: Quality) -> str:
    unit = f" {limits.unit}" if limits.unit else ""
    ends = [
        f"{word} {end:g}{unit}"
        for word, end in (("at least", limits.minimum), ("at most", limits.maximum))
        if end is not None
    ]
    weight = "" if limits.weight == 1 else f" (weight {limits.weight:g})"
    return " and ".join(ends) + weight


def _confirmation(how: Confirmation) -> str:
    parts = [str(how.by)]
    if how.budget_seconds is not None:
        parts.append(f"within {duration(how.budget_seconds)}")
    if how.looks is not None:
        parts.append(f"at most {how.looks} times")
    return ", ".join(parts)


def _ignored(why: Ignored) -> str:
    return why.reason + (f" (until {why.until.isoformat()})" if why.until else "")


_WRITERS: tuple[tuple[type, Callable[[Any], str]], ...] = (
    (bool, lambda value: "true" if value else "false"),
    (float, lambda value: f"{value:g}"),
    (tuple, lambda value: ", ".join(value) or "any"),
    (Quality, _quality),
    (Confirmation, _confirmation),
    (Cordon, lambda value: f"{percent(value.slower_than)} slower in {value.runs} runs"),
    (Ignored, _ignored),
)
