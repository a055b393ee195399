"""What a reviewer of a policy should be told: rules that can never say anything, and things that have run out."""

from datetime import date

from tesserabench.analysis.rules.clause import Clause
from tesserabench.analysis.rules.errors import Problem
from tesserabench.analysis.rules.rule import Ignored
from tesserabench.analysis.rules.rule_set import RuleSet


def warnings_of(rules: RuleSet, *, today: date) -> tuple[Problem, ...]:
    """What is allowed and probably not meant, in the order of the file."""
    found: list[Problem] = []
    for index, clause in enumerate(rules.clauses):
        found += _hidden(clause, rules.clauses[:index])
    for clause in (*rules.clauses, rules.defaults):
        ignored = clause.settings.get("ignore")
        if isinstance(ignored, Ignored) and not ignored.holds(today):
            assert ignored.until is not None
            message = f"it ran out on {ignored.until.isoformat()}; remove it, or give it a later day"
            found.append(Problem(line=clause.line, field=f"{clause.name}.ignore", message=message))
    return tuple(sorted(found, key=lambda problem: problem.line))


def _hidden(clause: Clause, before: tuple[Clause, ...]) -> list[Problem]:
    """Settings that an earlier rule, which matches whatever this one matches, always decides."""
    hidden: list[Problem] = []
    for key in clause.settings:
        over = next((one for one in before if key in one.settings and _covers(one, clause)), None)
        if over is not None:
            message = f"rule {over.name!r} in line {over.line} always decides it; move this rule before that one"
            hidden.append(Problem(line=clause.line, field=f"{clause.name}.{key}", message=message))
    return hidden


def _covers(wider: Clause, narrower: Clause) -> bool:
    """Whether everything that the second rule matches is matched by the first: it asks for nothing else."""
    asked, also = wider.match, narrower.match
    return (
        all(also.texts.get(key) == wanted for key, wanted in asked.texts.items())
        and all(also.parameters.get(name) == wanted for name, wanted in asked.parameters.items())
        and asked.host in {None, also.host}
        and asked.primary in {None, also.primary}
    )
