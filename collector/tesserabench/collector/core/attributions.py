"""Causes as they are stored and shown: `tesserabench.v1.Attribution` in JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.attribution import Attribution
from tesserabench.collector.store.tables import Run
from tesserabench.wire.names import parse_run, run_name

_MOST_COMMITS = 200
_MOST_CANDIDATES = 4


def attribution_json(
    attribution: Attribution, *, last_good_run: int | None, first_bad_run: int | None, runs_between: int = 0
) -> dict[str, Any]:
    """A cause with its evidence.

    Args:
        attribution: What was found.
        last_good_run: The last run at the level of before.
        first_bad_run: The first run at the new level.
        runs_between: Runs that cannot tell on which side of the change they lie.
    """
    commits: dict[str, Any] = {"runs_between": runs_between}
    if last_good_run is not None:
        commits["last_good_run"] = run_name(last_good_run)
    if first_bad_run is not None:
        commits["first_bad_run"] = run_name(first_bad_run)
    if attribution.commit_range is not None:
        commits["last_good_commit"] = attribution.commit_range.last_good
        commits["first_bad_commit"] = attribution.commit_range.first_new
        commits["commits"] = list(attribution.commit_range.commits[:_MOST_COMMITS])
    return _without_empty(
        {
            "cause": f"CAUSE_KIND_{attribution.cause.upper()}",
            "confidence": round(attribution.confidence, 4),
            "evidence": list(attribution.sentences),
            "commits": _without_empty(commits),
            "environment": [
                _without_empty(
                    {"fact": item.fact, "before": item.before, "after": item.after, "hosts": list(item.hosts)}
                )
                for item in attribution.fields
            ],
            "missing": attribution.would_tell,
            "hosts": list(attribution.hosts),
            "devices": list(attribution.devices),
            "candidates": _candidates(attribution),
        }
    )


async def named_by_runs(session: AsyncSession, told: Mapping[str, Any]) -> dict[str, Any]:
    """A cause in JSON whose last good commit, where its branch has none, is that of the last good run.

    What is under review is compared with a run of another branch.
    """
    commits = told.get("commits", {})
    if "last_good_commit" in commits or "last_good_run" not in commits:
        return dict(told)
    run = await session.get(Run, parse_run(commits["last_good_run"]))
    if run is None or not run.commit:
        return dict(told)
    return {**told, "commits": {**commits, "last_good_commit": run.commit}}


def _candidates(attribution: Attribution) -> Sequence[str]:
    return [
        f"{item.cause} {100 * item.probability:.0f} %: {item.what}"
        for item in attribution.candidates[:_MOST_CANDIDATES]
    ]


def _without_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in ("", [], {}, 0)}
