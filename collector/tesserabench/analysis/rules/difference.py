"""What changes from one policy to another, rule by rule and setting by setting."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tesserabench.analysis.rules.clause import Clause
from tesserabench.analysis.rules.rule_set import RuleSet
from tesserabench.analysis.rules.writing import match_text, written


class ChangeKind(StrEnum):
    """What happened to a rule."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    MOVED = "moved"  # it stands before or after other rules than it did


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChange:
    """One line of a difference."""

    kind: ChangeKind
    rule: str
    setting: str = ""
    """The key in the file, `match`, or empty when the whole rule is meant."""
    before: str = ""
    after: str = ""


def differences_of(before: RuleSet, after: RuleSet) -> tuple[PolicyChange, ...]:
    """What a reader has to look at; nothing when the two decide alike whatever they are asked."""
    return tuple(_changes(before, after))


def _changes(before: RuleSet, after: RuleSet) -> Iterator[PolicyChange]:
    old = {clause.name: clause for clause in (*before.clauses, before.defaults)}
    new = {clause.name: clause for clause in (*after.clauses, after.defaults)}
    for name, clause in old.items():
        if name not in new:
            yield from _whole(clause, ChangeKind.REMOVED)
    moved = _moved([name for name in old if name in new], [name for name in new if name in old])
    for name, clause in new.items():
        if name not in old:
            yield from _whole(clause, ChangeKind.ADDED)
            continue
        if name in moved:
            yield PolicyChange(kind=ChangeKind.MOVED, rule=name, before=f"rule {moved[name][0]}", after=moved[name][1])
        yield from _settings(old[name], clause)


def _whole(clause: Clause, kind: ChangeKind) -> Iterator[PolicyChange]:
    facts = {"match": match_text(clause.match)} | {key: written(key, value) for key, value in clause.settings.items()}
    for key, text in facts.items():
        before, after = (text, "") if kind is ChangeKind.REMOVED else ("", text)
        yield PolicyChange(kind=kind, rule=clause.name, setting=key, before=before, after=after)


def _settings(old: Clause, new: Clause) -> Iterator[PolicyChange]:
    if old.match != new.match:
        texts = match_text(old.match), match_text(new.match)
        yield PolicyChange(kind=ChangeKind.CHANGED, rule=new.name, setting="match", before=texts[0], after=texts[1])
    for key in dict.fromkeys((*old.settings, *new.settings)):
        missing = object()
        ours, theirs = old.settings.get(key, missing), new.settings.get(key, missing)
        if ours != theirs:
            yield PolicyChange(
                kind=ChangeKind.CHANGED,
                rule=new.name,
                setting=key,
                before="" if ours is missing else written(key, ours),
                after="" if theirs is missing else written(key, theirs),
            )


def _moved(old: list[str], new: list[str]) -> dict[str, tuple[int, str]]:
    """Rules that others have overtaken: their old place, and what stands before them now."""
    kept = _longest_common(old, new)
    return {
        name: (old.index(name) + 1, f"after {new[place - 1]!r}" if place else "first")
        for place, name in enumerate(new)
        if name not in kept
    }


def _longest_common(old: list[str], new: list[str]) -> frozenset[str]:
    """The longest list of names in the same order on both sides: its names have not moved."""
    places = [old.index(name) for name in new]
    best: list[list[int]] = []
    for index, place in enumerate(places):
        before = max((best[other] for other in range(index) if places[other] < place), key=len, default=[])
        best.append([*before, index])
    return frozenset(new[index] for index in max(best, key=len, default=[]))
