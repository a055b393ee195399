"""Policies: one a project, every revision kept, the newest in force.

Whatever judges asks here for the rules (`in_force`, `judged_by`) and is told the revision with them, so that a verdict
can say by which file it was reached, and be reached again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.policy import Policy as Limits
from tesserabench.analysis.rules import (
    Confirming,
    PolicyChange,
    PolicyError,
    Rule,
    RuleSet,
    differences_of,
    warnings_of,
)
from tesserabench.analysis.rules.rule import BUILT_IN as NOT_SAID
from tesserabench.collector.core import audit
from tesserabench.collector.core.spec import MOST_LOOKS, GateSpec
from tesserabench.collector.errors import (
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
    invalid_field,
)
from tesserabench.collector.store import policies as store
from tesserabench.collector.store import projects as project_store
from tesserabench.collector.store.policy_tables import PolicyRevision
from tesserabench.collector.store.tables import Project
from tesserabench.wire.names import parse_policy, policy_name
from tesserabench.wire.reasons import Reason

_log = structlog.get_logger(__name__)

BUILT_IN = 0
"""The revision of a project whose policy nobody has ever applied."""

CURRENT = "current"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A project's rules, and which revision they are."""

    project: str
    revision: int = BUILT_IN
    rules: RuleSet

    @property
    def name(self) -> str:
        """Its resource name; empty for what is built in."""
        return policy_name(self.project, self.revision) if self.revision else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPolicy:
    """A file to put into force."""

    project: str
    text: str
    source: str = "policy"
    comment: str = ""
    expected_revision: int | None = None
    """The revision that the caller has seen; None replaces whatever is in force."""
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of it."""

    row: PolicyRevision
    """What is in force now; for a dry run what would be, with the number that it would have."""
    changes: tuple[PolicyChange, ...]
    warnings: tuple[str, ...]
    unchanged: bool = False
    """The very file is in force already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What differs between two policies of a project."""

    row: PolicyRevision | None
    """What it starts from; None for what is built in."""
    changes: tuple[PolicyChange, ...]
    warnings: tuple[str, ...] = ()


async def in_force(session: AsyncSession, project: Project, usual: Limits | None = None) -> Policy:
    """The rules that a project is judged by now; `usual` is what holds where they say nothing."""
    return policy_of(project.name, await store.current(session, project.id), usual)


async def judged_by(
    session: AsyncSession, project: Project, comparison: Mapping[str, Any] | None, usual: Limits | None = None
) -> Policy:
    """The rules that a stored comparison was reached by, so that every look at a run takes the same ones.

    Args:
        session: The transaction.
        project: The run's project.
        comparison: What an earlier look stored; before the first one None, which takes the rules in force.
        usual: What holds where the rules say nothing.
    """
    if comparison is None:
        return await in_force(session, project, usual)
    name = comparison.get("policy", "")
    row = await _revision(session, project, int(parse_policy(name).id)) if name else None
    return policy_of(project.name, row, usual)


async def rule_of_run(session: AsyncSession, project_name: str, *, suite: str, branch: str) -> Rule:
    """What holds for a run before anything is measured: which hosts may take it, how suspicions are settled.

    Args:
        session: The transaction.
        project_name: The run's project, which need not be known yet.
        suite: The suite that it measures.
        branch: The branch that it is of; empty for the project's default branch.
    """
    project = await project_store.find(session, project_name)
    if project is None:
        return Rule()
    policy = await in_force(session, project)
    return policy.rules.for_run(suite=suite, branch=branch or project.default_branch)


def gate_under(gate: GateSpec, rule: Rule) -> GateSpec:
    """How a run is judged, with what the policy says about measuring again where the run says nothing."""
    if gate.says_how or rule.origin("confirmation").rule == NOT_SAID:
        return gate
    how = rule.confirmation
    if how.by is Confirming.NONE:
        return replace(gate, confirm=False)
    # In turns with the base is how whatever is undecided is measured again, where the base's code is at hand.
    looks = how.looks or (1 if how.by is Confirming.DUET and how.budget_seconds is None else 0)
    return replace(gate, confirm=True, looks=min(looks, MOST_LOOKS), budget_seconds=how.budget_seconds)


def policy_of(project: str, row: PolicyRevision | None, usual: Limits | None = None) -> Policy:
    """The rules of a revision; what is built in for None."""
    rules = RuleSet(project=project) if row is None else _stored(row.text)
    revision = BUILT_IN if row is None else row.revision
    return Policy(project=project, revision=revision, rules=with_usual(rules, usual or Limits()))


def with_usual(rules: RuleSet, usual: Limits) -> RuleSet:
    """The rules, with what holds where they say nothing."""
    return replace(rules, usual=usual)


@lru_cache(maxsize=64)
def _stored(text: str) -> RuleSet:
    """The rules in a text that was checked when it was applied."""
    return RuleSet.parse(text)


def read(text: str, *, project: str, source: str) -> RuleSet:
    """The rules in a file that somebody sends.

    Raises:
        InvalidArgumentError: something is wrong, or it is for another project; every mistake is a violation.
    """
    try:
        rules = RuleSet.parse(text, source=source or "policy")
    except PolicyError as error:
        violations = tuple(
            FieldViolation(field="text", description=problem.text(error.source)) for problem in error.problems
        )
        count = len(error.problems)
        first = violations[0].description
        more = f" (and {count - 1} more)" if count > 1 else ""
        raise InvalidArgumentError(f"{first}{more}", reason=Reason.INVALID_POLICY, violations=violations) from None
    if rules.project and rules.project != project:
        remedy = f"the file is for project {rules.project!r}; apply it there, or change its project"
        raise invalid_field("project", project, remedy, reason=Reason.INVALID_POLICY)
    return rules


async def apply(session: AsyncSession, request: NewPolicy, *, actor: str, now: datetime) -> Applied:
    """Make a file the policy of its project.

    Raises:
        InvalidArgumentError: something in the file is wrong.
        FailedPreconditionError: the caller has seen another revision than the one in force.
    """
    rules = read(request.text, project=request.project, source=request.source)
    project = await project_store.get_or_create(session, request.project)
    # The rest is decided on what is in force, by one caller at a time.
    await store.lock_project(session, project.id)
    before = await store.current(session, project.id)
    told = _warnings(rules, request.source, now)
    if before is not None and before.text == request.text:
        # Whoever repeats a call whose answer was lost gets it now.
        return Applied(row=before, changes=(), warnings=told, unchanged=True)
    _check_seen(request, before)
    changes = differences_of(policy_of(project.name, before).rules, rules)
    row = PolicyRevision(
        project_id=project.id,
        revision=(before.revision if before else BUILT_IN) + 1,
        text=request.text,
        comment=request.comment,
        rules=len(rules.clauses),
        created_at=now,
        created_by=actor,
    )
    if not request.dry_run:
        session.add(row)
        name = policy_name(project.name, row.revision)
        await audit.record(session, actor, "policy.applied", name, {"comment": request.comment, "rules": row.rules})
        _log.info("policy.applied", policy=name, rules=row.rules, changes=len(changes))
    return Applied(row=row, changes=changes, warnings=told)


def _check_seen(request: NewPolicy, before: PolicyRevision | None) -> None:
    number = before.revision if before else BUILT_IN
    if request.expected_revision is None or request.expected_revision == number:
        return
    by = f", applied by {before.created_by} at {before.created_at.isoformat(timespec='seconds')}" if before else ""
    message = (
        f"revision {number} is in force{by}, and you have seen revision {request.expected_revision}; "
        "look at the difference (tbctl policy diff) and apply again"
    )
    raise FailedPreconditionError(message, reason=Reason.POLICY_CHANGED)


async def get(session: AsyncSession, project_name: str, revision: str) -> tuple[PolicyRevision | None, int]:
    """A revision by its number or `current`, and the number of the one in force; None is what is built in.

    Raises:
        NotFoundError: the project has no such revision.
    """
    project = await project_store.find(session, project_name)
    newest = await store.current(session, project.id) if project else None
    number = newest.revision if newest else BUILT_IN
    if revision == CURRENT or int(revision) == number:
        return newest, number
    if int(revision) == BUILT_IN:
        return None, number
    if project is None:
        raise _unknown(project_name, int(revision))
    return await _revision(session, project, int(revision)), number


async def difference(
    session: AsyncSession,
    project_name: str,
    *,
    from_revision: int | None,
    to: RuleSet | int,
    source: str,
    now: datetime,
) -> Difference:
    """What changes from a revision (None: the one in force) to a file or another revision.

    Raises:
        NotFoundError: the project has no such revision.
    """
    start = CURRENT if from_revision is None else str(from_revision)
    row, _ = await get(session, project_name, start)
    before = policy_of(project_name, row).rules
    if isinstance(to, RuleSet):
        return Difference(row=row, changes=differences_of(before, to), warnings=_warnings(to, source, now))
    end, _ = await get(session, project_name, str(to))
    return Difference(row=row, changes=differences_of(before, policy_of(project_name, end).rules))


def _warnings(rules: RuleSet, source: str, now: datetime) -> tuple[str, ...]:
    return tuple(problem.text(source or "policy") for problem in warnings_of(rules, today=now.date()))


async def _revision(session: AsyncSession, project: Project, number: int) -> PolicyRevision:
    row = await store.find(session, project.id, number)
    if row is None:
        raise _unknown(project.name, number)
    return row


def _unknown(project: str, number: int) -> NotFoundError:
    message = f"{policy_name(project, number)} does not exist; list the revisions to find its number"
    return NotFoundError(message, reason=Reason.POLICY_NOT_FOUND)
