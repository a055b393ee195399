"""What people call a run: `run:ID`, `commit:HASH`, `branch:NAME`, `baseline:NAME`, or one of them without its prefix.

A bare word is taken, in this order, for a run's number, a baseline's name, a branch, a commit.
"""

import difflib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.errors import NotFoundError, invalid_field
from tesserabench.collector.store import baselines as baseline_store
from tesserabench.collector.store import references as store
from tesserabench.collector.store.tables import Project, Run
from tesserabench.wire.names import run_name
from tesserabench.wire.reasons import Reason

BRANCH_PREFIX = "branch:"
_NUMBER = re.compile(r"(?:runs/)?([0-9]{1,18})")
_COMMIT = re.compile(r"[0-9a-fA-F]{4,64}")
_FORMS = "run:ID, commit:HASH, branch:NAME or baseline:NAME"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where a reference is looked up. `suite` empty takes any."""

    project: Project
    suite: str = ""


async def resolve(session: AsyncSession, reference: str, scope: Scope) -> Run:
    """The run that a reference names.

    Raises:
        InvalidArgumentError: the reference has no known form, or names several commits.
        NotFoundError: nothing of this name has been measured; names the nearest that have.
    """
    kind, colon, name = reference.partition(":")
    if colon and kind in _FINDERS:
        if not name:
            raise invalid_field("reference", reference, f"give {_FORMS}")
        found = await _FINDERS[kind](session, name, scope)
    else:
        found = await _bare(session, reference, scope)
    if found is None:
        raise await _not_found(session, reference, scope)
    return found


def branch_names(branch: str, default_branch: str) -> tuple[str, ...]:
    """The branch column's values that mean this branch: a run that names none belongs to the default branch."""
    return (branch, "") if branch == default_branch else (branch,)


async def _run(session: AsyncSession, name: str, scope: Scope) -> Run | None:
    match = _NUMBER.fullmatch(name)
    return await store.by_id(session, scope.project.id, int(match[1])) if match else None


async def _commit(session: AsyncSession, name: str, scope: Scope) -> Run | None:
    if not _COMMIT.fullmatch(name):
        raise invalid_field("reference", f"commit:{name}", "a commit is 4 to 64 hexadecimal digits")
    if len(found := await store.commits(session, scope.project.id, name)) > 1:
        remedy = f"begins several commits, {found[0][:12]} and {found[1][:12]} among them; give more digits"
        raise invalid_field("reference", f"commit:{name}", remedy)
    return await store.by_commit(session, scope.project.id, name, scope.suite)


async def _branch(session: AsyncSession, name: str, scope: Scope) -> Run | None:
    head = await _baseline(session, BRANCH_PREFIX + name, scope)
    if head is not None:
        return head
    names = branch_names(name, scope.project.default_branch)
    return await store.by_branch(session, scope.project.id, names, scope.suite)


async def _baseline(session: AsyncSession, name: str, scope: Scope) -> Run | None:
    found = await baseline_store.named(session, scope.project.id, name)
    rows = [row for row in found if scope.suite in {"", row.suite}]
    if len(rows) > 1:
        suites = ", ".join(row.suite for row in rows)
        raise invalid_field("reference", name, f"is a baseline of several suites ({suites}); say which suite")
    return await store.by_id(session, scope.project.id, rows[0].run_id) if rows else None


async def _bare(session: AsyncSession, name: str, scope: Scope) -> Run | None:
    for finder in (_run, _baseline, _branch):
        found = await finder(session, name, scope)
        if found is not None:
            return found
    return await _commit(session, name, scope) if _COMMIT.fullmatch(name) else None


_Finder = Callable[[AsyncSession, str, Scope], Awaitable[Run | None]]
_FINDERS: dict[str, _Finder] = {"run": _run, "commit": _commit, "branch": _branch, "baseline": _baseline}


async def _not_found(session: AsyncSession, reference: str, scope: Scope) -> NotFoundError:
    project_id = scope.project.id
    names = [
        *await baseline_store.names(session, project_id),
        *await store.branches(session, project_id),
        *[commit[:12] for commit in await store.measured_commits(session, project_id)],
    ]
    bare = reference.partition(":")[2] or reference
    near = difflib.get_close_matches(bare, names, n=3, cutoff=0.6)
    within = f" in suite {scope.suite!r}" if scope.suite else ""
    hint = f"the nearest names are {', '.join(near)}" if near else f"give {_FORMS} of something that was measured"
    message = f"{reference!r} names nothing measured in project {scope.project.name!r}{within}; {hint}"
    return NotFoundError(message, reason=Reason.REFERENCE_NOT_FOUND)


def label(reference: str, run: Run) -> str:
    """What a comparison calls a side: the reference and the run that it means."""
    name = run_name(run.id)
    return name if reference in {name, f"run:{run.id}", str(run.id)} else f"{reference} ({name})"
