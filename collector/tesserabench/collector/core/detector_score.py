"""How right the detector has been: by what people said of its findings, and about identical code."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import false_alarms
from tesserabench.collector.core.false_alarms import FalseAlarmRate
from tesserabench.collector.core.proportions import wilson
from tesserabench.collector.errors import invalid_field
from tesserabench.collector.store import detector_scores as store
from tesserabench.collector.store.words import RegressionState

_LONGEST = timedelta(days=3650)
WINDOW = timedelta(days=90)

REMARK = (
    "Marks inform people and move no limit. A limit is raised by itself in one case alone: where the gate surely calls "
    "more than 1 % of identical code different, as far as it takes, and it falls back when that is no longer so."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Findings under one policy, on one class of hosts, of one kind."""

    policy: str
    host_class: str
    kind: str


@dataclass(slots=True, kw_only=True)
class GroupScore:
    """What became of the findings of a group that were confirmed, drills aside."""

    group: Group
    right: int = 0
    """Findings of which somebody said that the detector was right."""
    wrong: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """By the state that they are in now."""
    seconds_to_triage: float | None = None
    """Middle time until a person did something; none when nobody did."""

    @property
    def findings(self) -> int:
        """How many there are."""
        return self.outcomes.total()

    @property
    def untriaged(self) -> int:
        """How many of them nobody has answered."""
        return self.outcomes[RegressionState.CONFIRMED.value]

    @property
    def precision(self) -> float | None:
        """Share of right ones among those that were judged; none when none was."""
        judged = self.right + self.wrong
        return self.right / judged if judged else None

    @property
    def precision_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the precision (Wilson); none when nothing was judged."""
        judged = self.right + self.wrong
        return wilson(self.right, judged) if judged else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How right the detector has been."""

    groups: Sequence[GroupScore]
    false_alarm_rates: Sequence[FalseAlarmRate]
    remark: str = REMARK


async def read(session: AsyncSession, project: str, now: datetime, *, window: timedelta | None = None) -> Score:
    """The score of a project (empty: of all projects together) over the last time.

    Raises:
        InvalidArgumentError: the time is not above zero, or longer than ten years.
    """
    asked = window if window is not None else WINDOW
    if asked <= timedelta():
        raise invalid_field("window", f"{asked.total_seconds():g}s", "give a time above zero, such as 90d")
    if asked > _LONGEST:
        raise invalid_field("window", f"{asked.days}d", f"give at most {_LONGEST.days}d")
    since = now - asked
    groups: dict[Group, GroupScore] = {}
    for policy, host_class, kind, state, feedback, count in await store.outcomes(session, project, since=since):
        group = Group(policy=policy, host_class=host_class, kind=kind)
        score = groups.setdefault(group, GroupScore(group=group))
        score.outcomes[state] += count
        if feedback is not None:
            score.right += count if feedback else 0
            score.wrong += 0 if feedback else count
    _add_times(groups, await store.times_to_triage(session, project, since=since))
    rates = await false_alarms.rates(session, project, now, window=asked)
    ordered = sorted(groups.values(), key=lambda score: (score.group.policy, score.group.host_class, score.group.kind))
    return Score(groups=ordered, false_alarm_rates=rates)


def _add_times(groups: Mapping[Group, GroupScore], rows: Sequence[tuple[str, str, str, float]]) -> None:
    for policy, host_class, kind, seconds in rows:
        groups[Group(policy=policy, host_class=host_class, kind=kind)].seconds_to_triage = float(seconds)
