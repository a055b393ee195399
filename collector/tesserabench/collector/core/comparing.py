"""Comparisons that people ask for. They decide nothing and are not kept."""

from typing import Any

from tesserabench.analysis.compare import compare
from tesserabench.analysis.rules.verdicts import Terms, applied
from tesserabench.collector.core import baselines, false_alarms, policies, references, results
from tesserabench.collector.core.comparisons import comparison_json
from tesserabench.collector.core.judging import Judging
from tesserabench.collector.core.references import Scope
from tesserabench.collector.errors import FailedPreconditionError, NotFoundError
from tesserabench.collector.store import projects
from tesserabench.collector.store.tables import Run
from tesserabench.collector.store.words import RunState
from tesserabench.wire.names import run_name
from tesserabench.wire.reasons import Reason


async def compare_references(
    judging: Judging, project_name: str, base: str, head: str, *, suite: str = ""
) -> dict[str, Any]:
    """The comparison of what two references name, as a `tesserabench.v1.Comparison` in JSON.

    Args:
        judging: What comparing takes.
        project_name: Project of both.
        base: Reference to compare with.
        head: Reference to what is judged.
        suite: Only this suite; empty takes the head's.

    Raises:
        InvalidArgumentError: a reference has no known form, or is ambiguous.
        NotFoundError: a reference names nothing measured.
        FailedPreconditionError: one of the runs has no results yet.
    """
    async with judging.database.transaction() as session:
        project = await projects.find(session, project_name)
        if project is None:
            message = f"project {project_name!r} has measured nothing yet; trigger a run in it first"
            raise NotFoundError(message, reason=Reason.REFERENCE_NOT_FOUND)
        head_run = await references.resolve(session, head, Scope(project=project, suite=suite))
        within = Scope(project=project, suite=suite or head_run.suite)
        base_run = await references.resolve(session, base, within)
        for run in (base_run, head_run):
            _check_measured(run)
        base_results = await results.result_set(session, base_run, label=references.label(base, base_run))
        head_results = await results.result_set(session, head_run, label=references.label(head, head_run))
        branches = references.branch_names(baselines.base_branch(head_run, project), project.default_branch)
        noise = await results.history(session, head_run, branches, [series.key for series in head_results.series])
        policy = await policies.in_force(session, project, judging.policy)
        classes = sorted({series.key.device for series in head_results.series})
        rates = await false_alarms.on_classes(session, project.name, classes, judging.clock())
    terms = Terms(
        rules=policy.rules,
        name=policy.name,
        suite=head_run.suite,
        branch=baselines.own_branch(head_run, project),
        today=judging.clock().date(),
    )
    rules = false_alarms.raised_rules(terms.limits, rates)
    comparison = await judging.offload(compare, base_results, head_results, terms.overall, noise, rules=rules)
    return comparison_json(false_alarms.told(applied(terms, comparison), rates), judging.clock())


def _check_measured(run: Run) -> None:
    if run.state in {RunState.QUEUED, RunState.RUNNING}:
        message = f"{run_name(run.id)} is {run.state} and has no results to compare yet; wait until it has finished"
        raise FailedPreconditionError(message, reason=Reason.RUN_PENDING)
