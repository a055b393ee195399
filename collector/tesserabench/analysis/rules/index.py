"""Which rules are about a series, for thousands of series that share a few suites, devices, metrics and sizes.

Each answer about one value of one key is kept as a set of bits, one for each rule; a series asks for a handful of them.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import partial

from tesserabench.analysis.rules.clause import Clause
from tesserabench.analysis.rules.match import TEXT_KEYS, Subject, names_of

_MOST_KEPT = 100_000


class ClauseIndex:
    """The rules of a policy in order, asked by series. Gives what asking each of them would."""

    def __init__(self, clauses: Sequence[Clause]) -> None:
        self._clauses = tuple(clauses)
        self._kept: dict[Hashable, int] = {}
        self._texts = tuple(key for key in TEXT_KEYS if any(key in clause.match.texts for clause in clauses))
        self._parameters = tuple(dict.fromkeys(name for clause in clauses for name in clause.match.parameters))
        self._hosts = any(clause.match.host is not None for clause in clauses)
        self._primary = any(clause.match.primary is not None for clause in clauses)

    def __reduce__(self) -> tuple[type["ClauseIndex"], tuple[tuple[Clause, ...]]]:
        """Travels without its answers."""
        return ClauseIndex, (self._clauses,)

    def matching(self, subject: Subject) -> list[Clause]:
        """The rules that are about a subject, in order."""
        bits = (1 << len(self._clauses)) - 1
        for key in self._texts:
            names = names_of(key, subject)
            bits &= self._bits((key, names), partial(_text, key, names))
        for name in self._parameters:
            value = subject.parameters.get(name, "")
            bits &= self._bits(("parameters", name, value), partial(_parameter, name, value))
        if self._hosts:
            bits &= self._bits(("host", subject.hosts), lambda clause: clause.match.allows_hosts(subject.hosts))
        if self._primary:
            bits &= self._bits(
                ("primary", subject.primary), lambda clause: clause.match.primary in {None, subject.primary}
            )
        return [clause for place, clause in enumerate(self._clauses) if bits >> place & 1]

    def _bits(self, asked: Hashable, matches: Callable[[Clause], bool]) -> int:
        found = self._kept.get(asked)
        if found is None:
            found = sum(1 << place for place, clause in enumerate(self._clauses) if matches(clause))
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[asked] = found
        return found


def _text(key: str, names: tuple[str, ...], clause: Clause) -> bool:
    wanted = clause.match.texts.get(key)
    return wanted is None or wanted.matches(*names)


def _parameter(name: str, value: str, clause: Clause) -> bool:
    wanted = clause.match.parameters.get(name)
    return wanted is None or wanted.matches(value)
