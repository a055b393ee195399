"""A whole policy: rules in order, of which the first that matches and says something decides it.

Settings are looked up one by one, from the top of the file to its bottom, then in `defaults`, then in what is built in.
So a rule says only what it is about: one names the owner of a suite, another widens the limits of a restless device,
and a series can be subject to both. `explain` tells for every setting which rule it comes from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from tesserabench.analysis.policy import Policy
from tesserabench.analysis.results import SeriesResult
from tesserabench.analysis.rules.clause import DEFAULTS, Clause
from tesserabench.analysis.rules.index import ClauseIndex
from tesserabench.analysis.rules.match import Subject
from tesserabench.analysis.rules.parse import parse
from tesserabench.analysis.rules.rule import Origin, Rule
from tesserabench.analysis.rules.settings import FIELDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """What became of one rule for one subject."""

    clause: Clause
    obstacle: str | None
    """Why it does not match; None when it does."""
    used: tuple[str, ...]
    """Settings that it decides."""
    overruled: tuple[str, ...]
    """Settings that it says and an earlier rule decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Which rule decides what, and why."""

    rule: Rule
    considered: tuple[Considered, ...]
    """Every rule in the order of the file, the defaults last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """A policy."""

    project: str = ""
    clauses: tuple[Clause, ...] = ()
    """Rules in the order of the file."""
    defaults: Clause = field(default_factory=lambda: Clause(name=DEFAULTS))
    usual: Policy = field(default_factory=Policy)
    """What holds where the file says nothing."""
    _index: ClauseIndex = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep what is asked again and again."""
        object.__setattr__(self, "_index", ClauseIndex(self._chain()))

    @classmethod
    def parse(cls, text: str, *, source: str = "policy") -> Self:
        """The policy in a file's text.

        Args:
            text: YAML.
            source: What errors call the file.

        Raises:
            PolicyError: something is wrong; names every place, value and remedy.
        """
        project, defaults, clauses = parse(text, source=source)
        return cls(project=project, defaults=defaults, clauses=clauses)

    def for_series(  # noqa: PLR0913 - the attributes of a series, all by name
        self,
        *,
        suite: str,
        benchmark: str = "",
        case: str = "",
        mode: str = "",
        metric: str = "",
        primary: bool | None = None,
        parameters: Mapping[str, str] | None = None,
        device: str = "",
        hosts: Sequence[str] = (),
        branch: str = "",
    ) -> Rule:
        """What holds for one series; what is left out is not known, and rules that ask for it do not match."""
        return self.for_subject(
            Subject(
                suite=suite,
                benchmark=benchmark,
                case=case,
                mode=mode,
                metric=metric,
                primary=primary,
                parameters=parameters or {},
                device=device,
                hosts=tuple(hosts),
                branch=branch,
            )
        )

    def for_result(self, series: SeriesResult, *, branch: str = "") -> Rule:
        """What holds for a measured series."""
        return self.for_subject(subject_of(series, branch=branch))

    def for_run(self, *, suite: str, branch: str = "") -> Rule:
        """What holds for a whole run before anything is measured: its hosts, and how suspicions are settled."""
        return self.for_subject(Subject(suite=suite, branch=branch))

    def for_subject(self, subject: Subject) -> Rule:
        """What holds for a subject."""
        return self._resolved(self._index.matching(subject))

    def explain(self, subject: Subject) -> Explanation:
        """What holds for a subject, and what became of every rule."""
        considered: list[Considered] = []
        decided: set[str] = set()
        matching: list[Clause] = []
        for clause in self._chain():
            obstacle = clause.match.obstacle(subject)
            used = tuple(key for key in clause.settings if obstacle is None and key not in decided)
            overruled = tuple(key for key in clause.settings if obstacle is None and key in decided)
            considered.append(Considered(clause=clause, obstacle=obstacle, used=used, overruled=overruled))
            decided.update(used)
            if obstacle is None:
                matching.append(clause)
        return Explanation(rule=self._resolved(matching), considered=tuple(considered))

    @property
    def asks_for_hosts(self) -> bool:
        """Whether any rule is about hosts, which whoever asks must then find out."""
        return any(clause.match.host is not None for clause in self.clauses)

    def quality_clauses(self) -> tuple[Clause, ...]:
        """The rules that limit a metric's value, whether or not it is ever measured."""
        return tuple(clause for clause in self._chain() if clause.settings.get("quality") is not None)

    def _resolved(self, chain: Sequence[Clause]) -> Rule:
        values: dict[str, Any] = {}
        origins: list[Origin] = []
        for clause in chain:
            for key, value in clause.settings.items():
                name = FIELDS[key]
                if name not in values:
                    values[name] = value
                    origins.append(Origin(setting=key, rule=clause.name, line=clause.line))
        return Rule.of(self.usual, **values, origins=tuple(origins))

    def _chain(self) -> tuple[Clause, ...]:
        return (*self.clauses, self.defaults)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesPolicies:
    """The gate's limits for each series of a run, for a comparison in another process."""

    rules: RuleSet
    branch: str = ""

    def __call__(self, series: SeriesResult) -> Policy:
        """The limits for one series."""
        return self.rules.for_result(series, branch=self.branch).policy()


def subject_of(series: SeriesResult, *, branch: str = "") -> Subject:
    """A measured series as rules look at it."""
    return Subject(
        suite=series.suite,
        benchmark=series.benchmark,
        case=series.key.case_id,
        mode=series.key.mode,
        metric=series.key.metric,
        primary=series.primary,
        parameters=series.parameters,
        device=series.key.device,
        hosts=series.hosts,
        branch=branch,
    )
