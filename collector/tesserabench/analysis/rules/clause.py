"""One rule of a policy as it is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tesserabench.analysis.rules.match import Match

DEFAULTS = "defaults"
"""Name of what holds where no rule says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One rule as it is written."""

    name: str
    line: int = 0
    match: Match = field(default_factory=Match)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Values by key in the file, such as `severities.major`."""
