"""What a project's policy says about series, for those who watch them."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.rules import Rule, RuleSet
from tesserabench.collector.core import policies
from tesserabench.collector.core.series_detection import smallest_change
from tesserabench.collector.store import history as store
from tesserabench.collector.store.history import SeriesLine
from tesserabench.collector.store.history_watches import WatchedSeries
from tesserabench.collector.store.tables import Project, Series

AnySeries = Series | WatchedSeries
"""A row of the table, or what is read of it for the watch."""


async def rules_of(
    session: AsyncSession, series: Iterable[tuple[AnySeries, str]], usual: Policy
) -> dict[tuple[int, str], Rule]:
    """What holds for each of some series on a line, by id and line; `usual` where no policy says otherwise."""
    by_project: dict[int, list[tuple[AnySeries, str]]] = {}
    for row, line in series:
        by_project.setdefault(row.project_id, []).append((row, line))
    found: dict[tuple[int, str], Rule] = {}
    for project_id, rows in by_project.items():
        project = await session.get_one(Project, project_id)
        policy = await policies.in_force(session, project, usual)
        if policy.revision == policies.BUILT_IN:
            # Nothing to look up: one rule for all of a hundred thousand series.
            found |= dict.fromkeys(((row.id, line) for row, line in rows), Rule.of(usual))
        else:
            keys = [(row.id, line) for row, line in rows]
            hosts = await _hosts(session, keys) if policy.rules.asks_for_hosts else {}
            found |= {
                (row.id, line): rule_of(
                    policy.rules, row, line or project.default_branch, hosts=hosts.get((row.id, line), ())
                )
                for row, line in rows
            }
    return found


async def rule_in_force(session: AsyncSession, series: Series, line: str) -> tuple[str, Rule]:
    """The name of the policy in force, empty for what is built in, and what it says of a series on a line."""
    project = await session.get_one(Project, series.project_id)
    policy = await policies.in_force(session, project)
    hosts = (await _hosts(session, [(series.id, line)]))[series.id, line]
    return policy.name, rule_of(policy.rules, series, line or project.default_branch, hosts=hosts)


async def _hosts(session: AsyncSession, keys: Collection[SeriesLine]) -> dict[SeriesLine, tuple[str, ...]]:
    """The hosts that measured each series last; none where nothing did."""
    newest = await store.newest_points(session, keys, 1)
    return {key: points[-1].hosts if points else () for key, points in newest.items()}


def rule_of(rules: RuleSet, series: AnySeries, branch: str, *, hosts: Sequence[str] = ()) -> Rule:
    """What holds for one series on a branch; rules about hosts need to be told which measured it."""
    return rules.for_series(
        suite=series.suite,
        benchmark=series.benchmark,
        case=series.case_id,
        mode=series.mode,
        metric=series.metric,
        primary=series.primary,
        parameters={str(name): str(value) for name, value in series.parameters.items()},
        device=series.device_key,
        hosts=hosts,
        branch=branch,
    )


def smallest_steps(
    rules: Mapping[tuple[int, str], Rule], series: Iterable[tuple[AnySeries, str]]
) -> dict[tuple[int, str], float]:
    """`smallest_step` for many series on lines, most of which share a rule: making its limits is not free."""
    known: dict[tuple[int, bool], float] = {}
    found: dict[tuple[int, str], float] = {}
    for row, line in series:
        rule = rules[row.id, line]
        which = (id(rule), row.primary)
        if which not in known:
            known[which] = smallest_step(rule, row)
        found[row.id, line] = known[which]
    return found


def smallest_step(rule: Rule, series: AnySeries) -> float:
    """The smallest step to look for in a series, as a fraction."""
    if rule.smallest_change is not None:
        return round(rule.smallest_change, 6)
    return smallest_change(rule.policy().minimum_effect(primary=series.primary))
