"""What is wrong with a policy file: every mistake at once, each with its place, its value and its remedy."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a policy file."""

    line: int
    """Counted from 1; 0 when the mistake has no place."""
    field: str
    """Such as `rules[2].minimum-effect`; empty for the file itself."""
    message: str
    """What is wrong with which value, and what to write instead."""

    def text(self, source: str) -> str:
        """The mistake in one line, with the name of the file in front."""
        place = f"{source}:{self.line}" if self.line else source
        return f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"


class PolicyError(ValueError):
    """A policy file is wrong."""

    def __init__(self, source: str, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(problem.text(source) for problem in problems))
        self.source = source
        self.problems = problems
