"""Two arms measured interleaved in the same processes: is B slower than A, by at least what matters?

The unit of replication is the worker process. Each gives one number, d = log(median of B) - log(median of A): what the
process, the hour and the neighbours add to both arms is not in it. The interval is Student's over the workers. Error
rates beside other designs, and why Student's rather than a bootstrap: `tests/bench/bench_duet.py`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev

from tesserabench.analysis import duet_wording as wording
from tesserabench.analysis.false_discovery import benjamini_hochberg
from tesserabench.analysis.judgement import Judgement, answer
from tesserabench.analysis.policy import Policy, fraction
from tesserabench.analysis.small_t import half_width, two_sided_p
from tesserabench.analysis.words import Better, Reason, Verdict

RESOLUTION = 0.0002
"""Workers are never taken to agree better than this, a fiftieth of a per cent: a coarse timer can make five of them
agree exactly, and that proves nothing."""

MOST_WORKERS = 100
"""More workers than this are never recommended."""

POWER = 0.80
"""With which probability the smallest visible change is seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A moment at which a verdict may be given, and the error rate that is spent on it."""

    workers: int
    error: float


LOOKS = (Look(workers=5, error=0.02), Look(workers=10, error=0.035))
"""Two looks whose errors together are 5 %: the second one sees the first one's workers again, so that the two err
together more often than chance would have it (4.95 % in a million simulated comparisons without any difference)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DuetPolicy:
    """What counts as a change. Sizes are fractions: 0.01 is 1 %.

    A true change of just `smallest_effect` is found half of the time: give half of what must not be missed.
    """

    smallest_effect: float = 0.01
    error: float = 0.05
    severities: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        if not 0 < self.smallest_effect < 1:
            raise ValueError(f"smallest_effect is {self.smallest_effect}; it must be between 0 and 1, such as 0.01")
        if not 0 < self.error < 1:
            raise ValueError(f"error is {self.error}; it must be between 0 and 1, such as 0.05")

    def limit(self, noise_floor: float, *, primary: bool) -> float:
        """The least change that is called one: the smallest that matters, or what this case shows of itself."""
        factor = 1.0 if primary else self.severities.secondary_factor
        return max(factor * self.smallest_effect, noise_floor)


@dataclass(frozen=True, slots=True, kw_only=True)
class DuetSeries:
    """One metric of one pair of cases."""

    effects: tuple[float, ...]
    """log(B) - log(A), one for each worker."""
    better: Better = Better.LOWER
    primary: bool = True
    noise_floor: float = 0.0
    """Largest change that comparisons of this case with itself have shown."""

    def __post_init__(self) -> None:
        if any(not math.isfinite(effect) for effect in self.effects):
            raise ValueError(f"effects are {self.effects}; each must be a finite logarithm of a ratio")


@dataclass(frozen=True, slots=True, kw_only=True)
class NullControl:
    """What A against A gave. When the two differ, so might any other two: verdicts beside it are advice."""

    failed: bool
    change: float | None
    change_low: float | None
    change_high: float | None
    workers: int
    explanation: str


def log_ratio(a: float, b: float) -> float:
    """One worker's effect, from its medians of both arms.

    Raises:
        ValueError: one of them is not positive and finite.
    """
    for name, value in (("A", a), ("B", b)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"the median of {name} is {value}; it must be positive and finite to be compared")
    return math.log(b) - math.log(a)


def judge_duet(
    series: Sequence[DuetSeries], policy: DuetPolicy, *, error: float | None = None, advisory: bool = False
) -> list[Judgement]:
    """The judgement of each series, in order, corrected for how many there are (Benjamini and Hochberg).

    Args:
        series: What was measured.
        policy: What counts as a change.
        error: The error rate to spend on this look; the policy's whole one when left out.
        advisory: A null control failed: nothing but equality is concluded, and what else was found is told.
    """
    spent = policy.error if error is None else error
    judged = [_judge(item, policy, spent) for item in series]
    corrected = _corrected(series, judged, policy.error)
    return [_advice(judgement) for judgement in corrected] if advisory else corrected


def undecided(judgements: Sequence[Judgement]) -> list[int]:
    """Positions of the judgements that more workers may settle."""
    return [
        index
        for index, judgement in enumerate(judgements)
        if judgement.verdict is Verdict.INCONCLUSIVE and judgement.reason is not Reason.CASE_FAILED
    ]


def null_control(effects: Sequence[float], policy: DuetPolicy) -> NullControl:
    """Whether A differs from A: surely, and by half of the smallest change that matters.

    Half, because such a bias makes a whole change out of half a one.
    """
    found = _judge(DuetSeries(effects=tuple(effects)), policy, policy.error)
    if found.change is None or found.change_low is None or found.change_high is None:
        return NullControl(
            failed=False,
            change=None,
            change_low=None,
            change_high=None,
            workers=len(effects),
            explanation=found.explanation,
        )
    apart = found.change_low > 0 or found.change_high < 0
    failed = apart and abs(math.log1p(found.change)) >= math.log1p(policy.smallest_effect / 2)
    return NullControl(
        failed=failed,
        change=found.change,
        change_low=found.change_low,
        change_high=found.change_high,
        workers=len(effects),
        explanation=wording.control(found, failed=failed),
    )


def failed_pair(arm: str, outcome: str, reason: str, policy: DuetPolicy) -> Judgement:
    """The judgement of a pair of which an arm gave nothing."""
    explanation, recommendation = wording.failed(arm, outcome, reason)
    return Judgement(
        verdict=Verdict.INCONCLUSIVE,
        reason=Reason.THROTTLED if outcome == "throttled" else Reason.CASE_FAILED,
        explanation=explanation,
        recommendation=recommendation,
        minimum_effect=policy.smallest_effect,
    )


def _judge(series: DuetSeries, policy: DuetPolicy, error: float) -> Judgement:
    limit = policy.limit(series.noise_floor, primary=series.primary)
    count = len(series.effects)
    if count < 2:
        explanation, recommendation = wording.too_few(count)
        return Judgement(
            verdict=Verdict.INCONCLUSIVE,
            reason=Reason.TOO_FEW_SAMPLES,
            explanation=explanation,
            recommendation=recommendation,
            minimum_effect=limit,
        )
    level = fmean(series.effects)
    spread = max(stdev(series.effects), RESOLUTION)
    reach = half_width(1 - error, count - 1) * spread / math.sqrt(count)
    sign = 1.0 if series.better is Better.LOWER else -1.0
    raw = two_sided_p(level * math.sqrt(count) / spread, count - 1)
    measured = Judgement(
        verdict=Verdict.INCONCLUSIVE,
        explanation="",
        minimum_effect=limit,
        change=fraction(level),
        change_low=fraction(level - reach),
        change_high=fraction(level + reach),
        worsening=fraction(sign * level),
        # Of a look that may spend only part of the error: below the whole error where the interval excludes zero.
        p_value=min(1.0, raw * policy.error / error),
        smallest_visible_change=fraction(_visible(spread, count, error, limit)),
    )
    return _decided(
        measured, _Evidence(level=level, spread=spread, reach=reach, count=count, error=error), series, policy
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """What a decision rests on, in log units."""

    level: float
    spread: float
    reach: float
    count: int
    error: float


def _decided(measured: Judgement, seen: _Evidence, series: DuetSeries, policy: DuetPolicy) -> Judgement:
    limit = math.log1p(measured.minimum_effect)
    size = abs(seen.level)
    if size > seen.reach and size >= limit:
        assert measured.worsening is not None
        if measured.worsening > 0:
            severity = policy.severities.severity(measured.worsening, primary=series.primary)
            return answer(measured, Verdict.REGRESSED, wording.regressed(measured), severity=severity)
        return answer(measured, Verdict.IMPROVED, wording.improved(measured))
    if size + seen.reach <= limit:
        return answer(measured, Verdict.PASS, wording.same(measured))
    room = size if size >= limit else limit - size
    extra = _extra_workers(seen, room)
    measured = replace(measured, launches_to_settle=extra)
    return answer(measured, Verdict.INCONCLUSIVE, wording.undecided(measured), reason=Reason.TOO_NOISY)


def _visible(spread: float, count: int, error: float, limit: float) -> float:
    """The change that is found four times in five: beyond both the limit and the interval by what chance takes away."""
    scale = spread / math.sqrt(count)
    # Its one-sided quantile is half of a two-sided interval of 2 * power - 1.
    chance = half_width(2 * POWER - 1, count - 1)
    return max(math.log1p(limit), half_width(1 - error, count - 1) * scale) + chance * scale


def _extra_workers(seen: _Evidence, room: float) -> int | None:
    """How many more workers bring the interval within `room`; None when no sensible number does."""
    if room <= 0:
        return None
    for count in range(seen.count + 1, MOST_WORKERS + 1):
        if half_width(1 - seen.error, count - 1) * seen.spread / math.sqrt(count) <= room:
            return count - seen.count
    return None


def _corrected(series: Sequence[DuetSeries], judged: Sequence[Judgement], rate: float) -> list[Judgement]:
    """The judgements without the findings that as many comparisons bring by chance; primary metrics by themselves."""
    corrected = list(judged)
    for primary in (True, False):
        places = [
            (index, judgement.p_value)
            for index, judgement in enumerate(judged)
            if series[index].primary is primary and judgement.p_value is not None
        ]
        q_values = benjamini_hochberg([p_value for _, p_value in places])
        for (index, _), q_value in zip(places, q_values, strict=True):
            judgement = judged[index]
            if judgement.verdict in {Verdict.REGRESSED, Verdict.IMPROVED} and q_value > rate:
                corrected[index] = answer(
                    judgement,
                    Verdict.INCONCLUSIVE,
                    wording.among_many(judgement, q_value, len(places)),
                    reason=Reason.TOO_NOISY,
                )
    return corrected


def _advice(judgement: Judgement) -> Judgement:
    """A finding beside a failed null control: told, and not concluded."""
    if judgement.verdict not in {Verdict.REGRESSED, Verdict.IMPROVED}:
        return judgement
    return answer(
        judgement,
        Verdict.INCONCLUSIVE,
        wording.advisory(judgement),
        reason=Reason.NULL_CONTROL_FAILED,
    )
