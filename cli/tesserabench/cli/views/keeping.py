"""Baselines and schedules."""

from collections.abc import Sequence
from datetime import datetime

from tesserabench.cli.output.table import Column
from tesserabench.cli.output.words import ago, iso, moment, word
from tesserabench.cli.parsing import short_id
from tesserabench.cli.views.verdicts import short_commit
from tesserabench.report.quantity import duration
from tesserabench.v1.baseline_service_pb2 import Baseline
from tesserabench.v1.run_pb2 import Tier
from tesserabench.v1.schedule_service_pb2 import Schedule


def baseline_columns(now: datetime) -> Sequence[Column[Baseline]]:
    """The columns of a list of baselines."""
    return (
        Column[Baseline](title="BASELINE", value=lambda item: id_of(item.name), shrink=True),
        Column[Baseline](title="SUITE", value=lambda item: item.suite, shrink=True),
        Column[Baseline](title="RUN", value=lambda item: short_id(item.run)),
        Column[Baseline](
            title="COMMIT",
            value=lambda item: item.revision.commit,
            text=lambda item: short_commit(item.revision.commit),
            whole=True,
        ),
        Column[Baseline](title="PINNED", value=lambda item: item.pinned),
        Column[Baseline](title="KEPT BY", value=lambda item: "collector" if item.automatic else "people"),
        Column[Baseline](
            title="MOVED",
            field="update_time",
            value=lambda item: iso(moment(item, "update_time")),
            text=lambda item: ago(moment(item, "update_time"), now=now),
        ),
        Column[Baseline](title="BY", value=lambda item: item.updated_by.name, wide=True),
        Column[Baseline](title="COMMENT", value=lambda item: item.comment, wide=True),
    )


def schedule_columns(now: datetime) -> Sequence[Column[Schedule]]:
    """The columns of a list of schedules."""
    return (
        Column[Schedule](title="SCHEDULE", value=lambda item: id_of(item.name), shrink=True),
        Column[Schedule](title="SUITE", value=lambda item: item.spec.suite, shrink=True),
        Column[Schedule](title="TIER", value=lambda item: word(Tier, item.spec.tier)),
        Column[Schedule](
            title="EVERY",
            field="interval_seconds",
            value=lambda item: item.interval.ToNanoseconds() / 1e9,
            text=lambda item: duration(item.interval.ToNanoseconds() / 1e9),
        ),
        Column[Schedule](title="A/A", field="identical", value=lambda item: item.identical, wide=True),
        Column[Schedule](title="PAUSED", value=lambda item: item.paused),
        Column[Schedule](
            title="NEXT",
            field="next_time",
            value=lambda item: iso(moment(item, "next_time")),
            text=lambda item: "-" if item.paused else ago(moment(item, "next_time"), now=now),
        ),
        Column[Schedule](title="LAST RUN", value=lambda item: short_id(item.last_run)),
        Column[Schedule](
            title="LAST SUCCESS",
            field="last_success_time",
            value=lambda item: iso(moment(item, "last_success_time")),
            text=lambda item: ago(moment(item, "last_success_time"), now=now),
        ),
    )


def id_of(name: str) -> str:
    """The id in `projects/{project}/{collection}/{id}`; the id may hold slashes."""
    return name.split("/", 3)[3] if name.count("/") >= 3 else name
