"""Reading a policy file: all of its mistakes are found in one go."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from tesserabench.analysis.rules.clause import DEFAULTS, Clause
from tesserabench.analysis.rules.errors import PolicyError, Problem
from tesserabench.analysis.rules.match import TEXT_KEYS, WHOLE_RUN, Match
from tesserabench.analysis.rules.nodes import Mistake, Value, near, read_document
from tesserabench.analysis.rules.patterns import Patterns
from tesserabench.analysis.rules.readers import pattern_list, text, truth
from tesserabench.analysis.rules.settings import BY_KEY

API_VERSION = "tesserabench/v1"
KIND = "Policy"
TOP_KEYS = ("apiVersion", "kind", "project", "defaults", "rules")
MATCH_KEYS = (*TEXT_KEYS, "parameters", "host", "primary")
SEVERITIES = ("minor", "major", "critical")
MOST_RULES = 500

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@/-]{0,62}")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
# Models of devices and names of hosts are spelt in every way; names of cases and branches are told apart by case.
_ANY_CASE = frozenset({"device"})
_WORDS = tuple(dict.fromkeys(key.partition(".")[0] for key in BY_KEY))


def parse(source_text: str, *, source: str) -> tuple[str, Clause, tuple[Clause, ...]]:
    """Project, defaults and rules of a policy file.

    Raises:
        PolicyError: something is wrong; names every place, value and remedy.
    """
    reading = _Reading()
    document = read_document(source_text, source=source)
    content = reading.attempt(document.mapping) or {}
    reading.check_head(document, content)
    project = reading.attempt(_project, content["project"]) if "project" in content else ""
    defaults = reading.clause(content["defaults"], DEFAULTS) if "defaults" in content else Clause(name=DEFAULTS)
    clauses = reading.clauses(content["rules"]) if "rules" in content else ()
    if reading.problems:
        raise PolicyError(source, tuple(sorted(reading.problems, key=lambda problem: problem.line)))
    return project or "", defaults, clauses


class _Reading:
    """Collects mistakes while it reads on."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def attempt(self, function: Any, *args: Any) -> Any:
        """What a reader gives; None when the value is wrong, which is noted."""
        try:
            return function(*args)
        except Mistake as mistake:
            self.problems.append(mistake.problem)
            return None

    def note(self, value: Value, remedy: str) -> None:
        """Note a mistake."""
        self.problems.append(value.mistake(remedy).problem)

    def check_head(self, document: Value, content: Mapping[str, Value]) -> None:
        """Look whether this is a policy at all."""
        for key, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
            if key not in content:
                message = f"it is missing; write '{key}: {wanted}'"
                self.problems.append(Problem(line=document.line, field=key, message=message))
            elif content[key].content != wanted:
                self.note(content[key], f"write {wanted}; this reads no other")
        self._refuse_unknown(content, TOP_KEYS)

    def clauses(self, rules: Value) -> tuple[Clause, ...]:
        """The rules in order."""
        if not isinstance(rules.content, tuple):
            self.note(rules, "write a list: each rule begins with '- name: ...'")
            return ()
        if len(rules.content) > MOST_RULES:
            self.note(rules, f"at most {MOST_RULES} rules are read")
            return ()
        read = tuple(self.clause(item, "") for item in rules.content)
        lines: dict[str, int] = {}
        for item, clause in zip(rules.content, read, strict=True):
            if clause.name in lines:
                remedy = f"the rule in line {lines[clause.name]} has this name; each needs its own"
                self.note(Value(field=f"{item.field}.name", line=item.line, content=clause.name), remedy)
            elif clause.name:
                lines[clause.name] = item.line
        return read

    def clause(self, item: Value, name: str) -> Clause:
        """One rule, or the defaults when it has a name already."""
        content = self.attempt(item.mapping) or {}
        own = () if name else ("name", "match")
        self._refuse_unknown(content, (*own, *_WORDS))
        match = Match()
        if not name:
            if "name" not in content:
                message = "it is missing; reports and `tbctl policy explain` call the rule by it"
                self.problems.append(Problem(line=item.line, field=f"{item.field}.name", message=message))
            else:
                name = self.attempt(_name, content["name"]) or ""
            match = self._match(content["match"]) if "match" in content else match
        settings = self._settings(content)
        if own and not settings and not self.problems:
            self.note(item, "it says nothing; give it a setting such as minimum-effect, or remove it")
        self._check_whole_run(content, match)
        return Clause(name=name, line=item.line, match=match, settings=settings)

    def _match(self, value: Value) -> Match:
        content = self.attempt(value.mapping) or {}
        self._refuse_unknown(content, MATCH_KEYS)
        texts: dict[str, Patterns] = {}
        for key in TEXT_KEYS:
            if key in content:
                read = self.attempt(pattern_list(exact_case=key not in _ANY_CASE), content[key])
                texts[key] = read or Patterns()
        parameters: dict[str, Patterns] = {}
        if "parameters" in content:
            for key, item in (self.attempt(content["parameters"].mapping) or {}).items():
                parameters[key] = self.attempt(pattern_list(), item) or Patterns()
        host = self.attempt(pattern_list(exact_case=False), content["host"]) if "host" in content else None
        primary = self.attempt(truth, content["primary"]) if "primary" in content else None
        return Match(texts=texts, parameters=parameters, host=host, primary=primary)

    def _settings(self, content: Mapping[str, Value]) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        before = len(self.problems)
        for key, value in self._flat(content).items():
            read = self.attempt(BY_KEY[key].read, value)
            if len(self.problems) == before:
                settings[key] = read
        self._check_order(content, settings)
        return settings

    def _flat(self, content: Mapping[str, Value]) -> dict[str, Value]:
        """Values by setting: `severities` opened, its `minor` under the other name that it has."""
        flat = {key: value for key, value in content.items() if key in BY_KEY}
        if "severities" not in content:
            return flat
        severities = self.attempt(content["severities"].mapping) or {}
        self._refuse_unknown(severities, SEVERITIES)
        if "minor" in severities and "minimum-effect" in flat:
            self.note(severities["minor"], "minor regressions begin at minimum-effect, which is given too; keep one")
        elif "minor" in severities:
            flat["minimum-effect"] = severities["minor"]
        return flat | {f"severities.{key}": severities[key] for key in SEVERITIES[1:] if key in severities}

    def _check_order(self, content: Mapping[str, Value], settings: Mapping[str, Any]) -> None:
        keys = [key for key in ("minimum-effect", "severities.major", "severities.critical") if key in settings]
        for less, more in pairwise(keys):
            if settings[less] > settings[more]:
                remedy = f"{less} is {100 * settings[less]:g} % here, which is more; let the limits rise"
                self.note(self._flat(content)[more], remedy)

    def _check_whole_run(self, content: Mapping[str, Value], match: Match) -> None:
        narrow = sorted(match.keys - WHOLE_RUN)
        for key, value in content.items():
            if key in BY_KEY and BY_KEY[key].whole_run and narrow:
                remedy = (
                    f"it is for whole runs, of which only suite and branch are known; put it into a rule of its own "
                    f"without {', '.join(narrow)}"
                )
                self.note(value, remedy)

    def _refuse_unknown(self, content: Mapping[str, Value], known: tuple[str, ...]) -> None:
        for key, value in content.items():
            if key not in known:
                message = f"no such key; {near(key, known)}"
                self.problems.append(Problem(line=value.line, field=value.field, message=message))


def _name(value: Value) -> str:
    name = text(value)
    if not _NAME.fullmatch(name) or name in {DEFAULTS, "built in"}:
        raise value.mistake("write 1 to 63 letters, digits, blanks or . _ @ / -, beginning with a letter or digit")
    return name


def _project(value: Value) -> str:
    if not isinstance(value.content, str) or not _PROJECT.fullmatch(value.content):
        raise value.mistake("write 1 to 63 of a-z 0-9 _ -, beginning with a letter or digit")
    return value.content
