"""Baselines: names for runs to compare with."""

from collections.abc import Sequence

from sqlalchemy import BigInteger, ColumnElement, Row, and_, cast, func, literal, not_, or_, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from tesserabench.collector.store.results import comparable_runs, measured_well
from tesserabench.collector.store.tables import Attempt, Baseline, Comparison, Project, Regression, Run
from tesserabench.collector.store.words import RegressionState, Verdict


async def find(session: AsyncSession, project_id: int, name: str, suite: str, *, lock: bool = False) -> Baseline | None:
    """The baseline of this name for this suite; locked until the commit when asked."""
    statement = select(Baseline).where(
        Baseline.project_id == project_id, Baseline.name == name, Baseline.suite == suite
    )
    if lock:
        statement = statement.with_for_update()
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def named(session: AsyncSession, project_id: int, name: str) -> Sequence[Baseline]:
    """The baselines of this name, one for each suite that has one."""
    statement = select(Baseline).where(Baseline.project_id == project_id, Baseline.name == name)
    return (await session.scalars(statement.order_by(Baseline.suite))).all()


async def page(
    session: AsyncSession, project: str, *, suite: str, after: tuple[str, str] | None, size: int
) -> Sequence[Row[Baseline, Run, str]]:
    """Up to `size` baselines of a project by name and suite, each with its run and its project's name."""
    statement = (
        select(Baseline, Run, Project.name)
        .join(Run, Run.id == Baseline.run_id)
        .join(Project, Project.id == Baseline.project_id)
        .where(Project.name == project)
        .order_by(Baseline.name, Baseline.suite)
        .limit(size)
    )
    if suite:
        statement = statement.where(Baseline.suite == suite)
    if after is not None:
        key = tuple_(Baseline.name, Baseline.suite)
        statement = statement.where(key > tuple_(literal(after[0]), literal(after[1])))
    return (await session.execute(statement)).all()


async def names(session: AsyncSession, project_id: int) -> Sequence[str]:
    """Every baseline's name in a project."""
    statement = select(Baseline.name).where(Baseline.project_id == project_id).distinct().order_by(Baseline.name)
    return (await session.scalars(statement)).all()


async def newest_comparable(
    session: AsyncSession, run: Run, branches: Sequence[str], host_ids: Sequence[int] | None
) -> Run | None:
    """The newest earlier run on these branches (and hosts) that may serve as a baseline."""
    conditions = comparable_runs(run, branches, host_ids)
    statement = select(Run).where(*conditions, or_(Run.verdict != Verdict.REGRESSED.value, _is_accepted()))
    return await session.scalar(statement.order_by(Run.id.desc()).limit(1))


async def newest_accepted(session: AsyncSession, project_id: int, suite: str, branches: Sequence[str]) -> Run | None:
    """The newest run on these branches that was called worse and whose level people have accepted since."""
    conditions = (*measured_well(project_id, suite, branches), Run.verdict == Verdict.REGRESSED.value, _is_accepted())
    return await session.scalar(select(Run).where(*conditions).order_by(Run.id.desc()).limit(1))


def _is_accepted() -> ColumnElement[bool]:
    """Whether everything that a run's comparison calls worse belongs to findings whose level people have accepted.

    A case that failed has no level, and an absolute limit is not accepted with a finding.
    """
    entry = func.jsonb_array_elements(Comparison.content["entries"]).table_valued("value").lateral("entry")
    content = cast(entry.c.value, JSONB)
    original = aliased(Regression)
    number = cast(func.split_part(content["regression"].astext, "/", 2), BigInteger)
    state = func.coalesce(original.state, Regression.state)
    accepted = (
        select(literal(1))
        .select_from(Regression)
        .outerjoin(original, original.id == Regression.duplicate_of)
        .where(Regression.id == number, state == RegressionState.ACCEPTED.value)
    )
    worse = and_(content["verdict"].astext == "VERDICT_REGRESSED", content["primary"].astext == "true")
    known = and_(content["regression"].is_not(None), content["reason"].is_(None), accepted.exists())
    failed = content["quality"].contains([{"answer": "QUALITY_ANSWER_FAIL"}])
    obstacle = select(literal(1)).select_from(entry).where(or_(and_(worse, not_(known)), failed))
    return select(literal(1)).where(Comparison.run_id == Run.id, not_(obstacle.exists())).exists()


async def measured_on(session: AsyncSession, run_id: int, host_ids: Sequence[int]) -> bool:
    """Whether one of these hosts measured the run."""
    statement = select(literal(1)).where(Attempt.run_id == run_id, Attempt.host_id.in_(host_ids)).limit(1)
    return await session.scalar(statement) is not None


async def set_by_hand(session: AsyncSession, run_id: int) -> bool:
    """Whether a person let a baseline point to this run."""
    statement = select(literal(1)).where(Baseline.run_id == run_id, Baseline.automatic.is_(False)).limit(1)
    return await session.scalar(statement) is not None
