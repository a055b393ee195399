"""The two-sample gate: did one series get worse by at least the smallest change that matters?

Decided on one number a launch, with four answers. A finding is at least as large as the smallest change that matters,
and stands clear of the noise: identical code is called different at most once in a hundred comparisons. It is
*confirmed* when its whole interval lies beyond that smallest change. Why each of these is so, and how often it errs, is
in docs/decisions/ (the gate).
"""

import math
from dataclasses import replace

from tesserabench.analysis import wording
from tesserabench.analysis.effect import Effect
from tesserabench.analysis.families import Family
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.judgement import Judgement, answer
from tesserabench.analysis.launch import THROTTLED, Side
from tesserabench.analysis.modes import Modes
from tesserabench.analysis.policy import Policy, fraction
from tesserabench.analysis.sides import estimate, modes_of, moved
from tesserabench.analysis.student import exceedance, quantile
from tesserabench.analysis.words import Better, Reason, Verdict

_Refusal = tuple[Reason, str, str]

_OVERWHELMINGLY = 2.5
"""Where noise would hide even twice a critical change, a finding must be this many times what could be seen: a machine
so restless wanders by more than its last twenty launches show."""
_BY_FAR = 0.6
_BY_FAR_WITH_ONE_DEGREE = 3.5
"""Without a history the launches of both sides are all that is known: the fewer, the more it takes. On launches that a
busy machine gave, five a side, 0.0 to 0.6 % of identical pairs differ then, and of 2.75 times 84 to 91 % are found."""


def judge(
    base: Side | None,
    head: Side | None,
    policy: Policy,
    *,
    primary: bool = True,
    history: RunNoise | None = None,
    family: Family | None = None,
) -> Judgement:
    """The gate's answer for one series.

    Args:
        base: Launches to compare with; None or without launches when there are none.
        head: Launches that are judged; None or without launches when the case was not measured.
        policy: What counts as a change.
        primary: Whether the metric decides; secondary ones have wider limits.
        history: Noise between runs of this series, when its history tells.
        family: What launches of similar benchmarks differ by in this comparison.
    """
    refusal = _refusal(base, head, policy)
    if refusal is not None:
        reason, *sentences = refusal
        return refused(reason, (sentences[0], sentences[1]), policy, primary=primary)
    assert base is not None
    assert head is not None
    base, head = comparable(base, head)
    minimum = policy.minimum_effect(primary=primary)
    if _identical(base, head):
        return _identity(minimum)
    modes = modes_of(base, head, smallest=math.log1p(minimum))
    if modes is not None:
        # The noise of the history is mostly that of its modes.
        base, head, history = moved(base, modes.base_split), moved(head, modes.head_split), None
    effect = estimate(base, head, policy, history, family)
    return decide(measured(effect, policy, head.better, minimum), effect, policy, primary=primary, modes=modes)


def refused(reason: Reason, sentences: wording.Sentences, policy: Policy, *, primary: bool = True) -> Judgement:
    """The judgement of a series of which nothing can be said, with why and what to do."""
    explanation, recommendation = sentences
    return Judgement(
        verdict=Verdict.INCONCLUSIVE,
        reason=reason,
        explanation=explanation,
        recommendation=recommendation,
        minimum_effect=policy.minimum_effect(primary=primary),
    )


def comparable(base: Side, head: Side) -> tuple[Side, Side]:
    """Both sides without throttled and failed launches, and without those whose environment the other side lacks."""
    usable = [tuple(launch for launch in side.launches if launch.outcome == "ok") for side in (base, head)]
    classes = {launch.comparability for launch in usable[0]} & {launch.comparability for launch in usable[1]}
    kept = [tuple(launch for launch in side if launch.comparability in classes) for side in usable]
    return replace(base, launches=kept[0]), replace(head, launches=kept[1])


def _refusal(base: Side | None, head: Side | None, policy: Policy) -> _Refusal | None:
    """Why nothing can be said, with what to do; None when the numbers may speak."""
    if head is None or not head.launches:
        return (Reason.MISSING, *wording.missing())
    if failed := [launch for launch in head.launches if launch.failed]:
        return (Reason.CASE_FAILED, *wording.failed(failed[0], len(failed), len(head.launches), "head"))
    if base is None or not base.launches:
        return (Reason.NO_BASELINE, *wording.no_baseline())
    if all(launch.failed for launch in base.launches):
        return (Reason.CASE_FAILED, *wording.failed(base.launches[0], len(base.launches), len(base.launches), "base"))
    return _unusable(base, head, policy) or _without_numbers(*comparable(base, head), policy)


def _unusable(base: Side, head: Side, policy: Policy) -> _Refusal | None:
    for name, side in (("head", head), ("base", base)):
        if _too_throttled(side, policy):
            return (Reason.THROTTLED, *wording.throttled(name, side))
    if not comparable(base, head)[0].launches:
        return (Reason.ENVIRONMENT_MISMATCH, *wording.mismatch())
    return None


def _without_numbers(base: Side, head: Side, policy: Policy) -> _Refusal | None:
    if _identical(base, head):
        return None
    for name, side in (("head", head), ("base", base)):
        if any(not launch.has_level for launch in side.launches):
            return (Reason.CASE_FAILED, *wording.no_positive_value(name))
        samples = sum(launch.samples for launch in side.launches)
        if samples < policy.minimum_samples:
            return (Reason.TOO_FEW_SAMPLES, *wording.too_few_samples(name, samples, policy.minimum_samples))
    return None


def _too_throttled(side: Side, policy: Policy) -> bool:
    throttled = sum(launch.outcome == THROTTLED for launch in side.launches)
    clean = sum(launch.outcome == "ok" for launch in side.launches)
    return throttled > 0 and clean < min(policy.minimum_launches, throttled + clean)


def _identical(base: Side, head: Side) -> bool:
    """Whether every launch gave the same finite number that has no logarithm, such as a count of zero."""
    launches = (*base.launches, *head.launches)
    values = {launch.value for launch in launches}
    return len(values) == 1 and all(
        launch.value is not None and math.isfinite(launch.value) and launch.value <= 0 for launch in launches
    )


def _identity(minimum: float) -> Judgement:
    explanation, recommendation = wording.identical()
    return Judgement(
        verdict=Verdict.PASS, explanation=explanation, recommendation=recommendation, minimum_effect=minimum
    )


def measured(effect: Effect, policy: Policy, better: Better, minimum: float) -> Judgement:
    """The numbers of a judgement, its verdict still open."""
    half_width = effect.half_width(policy.confidence)
    limit = math.log1p(minimum)
    sign = 1.0 if better is Better.LOWER else -1.0
    ends = sorted((sign * (effect.worsening - half_width), sign * (effect.worsening + half_width)))
    return Judgement(
        verdict=Verdict.INCONCLUSIVE,
        explanation="",
        minimum_effect=minimum,
        change=fraction(sign * effect.worsening),
        change_low=fraction(ends[0]),
        change_high=fraction(ends[1]),
        worsening=fraction(effect.worsening),
        p_value=_p_value(effect),
        confirmed=abs(effect.worsening) - half_width > limit,
        smallest_visible_change=fraction(_visible(effect, policy, limit)),
        notes=(wording.runs_assumed(),) if effect.assumed else (),
    )


def _p_value(effect: Effect) -> float:
    found = 2 * exceedance(abs(effect.worsening) / effect.error, effect.degrees)
    if effect.doubt is not None:
        found = max(found, 2 * exceedance(abs(effect.worsening) / effect.doubt.error, effect.doubt.degrees))
    return min(1.0, found)


def _reach(effect: Effect, policy: Policy) -> float:
    """How far from zero a change must be to be none of the noise."""
    error = policy.false_alarm * effect.error_share
    return quantile(1 - error / 2, effect.degrees) * effect.error


def _visible(effect: Effect, policy: Policy, limit: float) -> float:
    needed = max(limit, _reach(effect, policy), _doubtful_reach(effect, policy), effect.least)
    return needed + effect.error * quantile(policy.power, effect.degrees)


def _doubtful_reach(effect: Effect, policy: Policy) -> float:
    """The same where nothing tells how much runs differ, and they may differ by more than is usual."""
    return effect.doubt.reach(policy) if effect.doubt else 0.0


def decide(
    measured: Judgement, effect: Effect, policy: Policy, *, primary: bool, modes: Modes | None = None
) -> Judgement:
    """The judgement with its verdict.

    A finding is at least as large as matters and stands clear of zero; where noise would hide even a critical change,
    it must also stand clear of the smallest change that matters, and where it would hide twice that, by far.
    """
    limit, reach = math.log1p(measured.minimum_effect), _reach(effect, policy)
    excluded = math.log1p(policy.excluded_effect(primary=primary))
    hidden = math.log1p(policy.hidden_effect(primary=primary))
    needed = max(limit, reach, effect.least)
    visible = reach + effect.error * quantile(policy.power, effect.degrees)
    if visible > hidden:
        needed = max(needed, reach + limit, 0 if visible <= 2 * hidden else _by_far(effect) * visible)
    if modes is not None:
        measured = replace(measured, notes=(*measured.notes, wording.two_modes(modes)))
        if modes.mix_changed and abs(effect.worsening) < needed:
            open_question = replace(measured, confirmed=False)
            return answer(
                open_question, Verdict.INCONCLUSIVE, wording.mix_changed(modes), reason=Reason.MODE_MIX_CHANGED
            )
    if _seen(effect, needed):
        return _found(measured, effect, policy, primary=primary)
    measured = replace(measured, confirmed=False)
    if effect.against_level is not None and _seen(replace(effect, against_level=None), needed):
        sentences = wording.base_off_its_level(measured, effect.worsening, effect.against_level)
        return answer(measured, Verdict.INCONCLUSIVE, sentences, reason=Reason.TOO_NOISY)
    half_width = effect.half_width(policy.confidence)
    unclear = modes is not None and modes.mix_unclear
    if abs(effect.worsening) < limit and effect.worsening + half_width < excluded and not unclear:
        return answer(measured, Verdict.PASS, wording.passed(measured))
    launches = None if unclear else _launches_to_settle(effect, policy, limit, excluded)
    measured = replace(measured, launches_to_settle=launches)
    sentences = wording.too_noisy(measured, elsewhere=effect.elsewhere)
    return answer(measured, Verdict.INCONCLUSIVE, sentences, reason=Reason.TOO_NOISY)


def _found(measured: Judgement, effect: Effect, policy: Policy, *, primary: bool) -> Judgement:
    """The judgement of a change that stands out of the usual noise."""
    bound = _doubtful_reach(effect, policy)
    if abs(effect.worsening) < bound:
        sentences = wording.base_measured_once(measured, fraction(bound))
        measured = replace(measured, confirmed=False)
        return answer(measured, Verdict.INCONCLUSIVE, sentences, reason=Reason.BASE_MEASURED_ONCE)
    if effect.worsening > 0:
        severity = policy.severity(fraction(effect.worsening), primary=primary)
        return answer(measured, Verdict.REGRESSED, wording.regressed(measured), severity=severity)
    return answer(measured, Verdict.IMPROVED, wording.improved(measured))


def _by_far(effect: Effect) -> float:
    return _BY_FAR + _BY_FAR_WITH_ONE_DEGREE / effect.degrees if effect.without_history else _OVERWHELMINGLY


def _launches_to_settle(effect: Effect, policy: Policy, limit: float, excluded: float) -> int | None:
    """Launches a side that make a finding of what is large enough, or rule a major change out for what is not."""
    if abs(effect.worsening) >= limit:
        doubt = effect.doubt.variance if effect.doubt else 0.0
        wanted = replace(effect, fixed_variance=effect.fixed_variance + doubt)
        return wanted.launches_to_reach(abs(effect.worsening), 1 - policy.false_alarm * effect.error_share)
    return effect.launches_to_reach(excluded - effect.worsening, policy.confidence)


def _seen(effect: Effect, needed: float) -> bool:
    """Whether the change is that large, and also against the level of the history when the base was off it."""
    seen = [effect.worsening] if effect.against_level is None else [effect.worsening, effect.against_level]
    return min(seen) >= needed or max(seen) <= -needed


def finding_p_value(judgement: Judgement) -> float:
    """The p value that a judgement brings to a correction for many comparisons.

    Changes smaller than matters are no findings however sure they are, and must not make room for others: they count
    as 1, which keeps the rate of false findings among those that are reported.
    """
    large = judgement.worsening is not None and (
        abs(math.log1p(judgement.worsening)) >= math.log1p(judgement.minimum_effect) * (1 - 1e-9)
    )
    return judgement.p_value if large and judgement.p_value is not None else 1.0


def not_significant_among(judgement: Judgement, q_value: float, compared: int) -> Judgement:
    """The judgement of a change that stands alone but not among as many comparisons."""
    return answer(
        replace(judgement, severity=None, confirmed=False),
        Verdict.INCONCLUSIVE,
        wording.not_significant(judgement, q_value, compared),
        reason=Reason.TOO_NOISY,
    )
