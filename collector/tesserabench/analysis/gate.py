"""The two-sample gate: did one series get worse by at least the smallest change that matters?

Decided on one number a launch, against a minimum effect rather than against zero, with four answers. Why each of these
is so, and how often it errs, is in docs/decisions/ (the gate).
"""

import math
from dataclasses import replace

from tesserabench.analysis import wording
from tesserabench.analysis.effect import Effect, estimate
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.judgement import Judgement, answer
from tesserabench.analysis.launch import THROTTLED, Launch, Side
from tesserabench.analysis.policy import Policy, fraction
from tesserabench.analysis.student import exceedance, quantile
from tesserabench.analysis.words import Better, Reason, Verdict

_Refusal = tuple[Reason, str, str]


def judge(
    base: Side | None,
    head: Side | None,
    policy: Policy,
    *,
    primary: bool = True,
    history: RunNoise | None = None,
) -> Judgement:
    """The gate's answer for one series.

    Args:
        base: Launches to compare with; None or without launches when there are none.
        head: Launches that are judged; None or without launches when the case was not measured.
        policy: What counts as a change.
        primary: Whether the metric decides; secondary ones have wider limits.
        history: Noise between runs of this series, when its history tells.
    """
    minimum = policy.minimum_effect(primary=primary)
    refusal = _refusal(base, head, policy)
    if refusal is not None:
        reason, explanation, recommendation = refusal
        return Judgement(
            verdict=Verdict.INCONCLUSIVE,
            reason=reason,
            explanation=explanation,
            recommendation=recommendation,
            minimum_effect=minimum,
        )
    assert base is not None
    assert head is not None
    base, head = comparable(base, head)
    if _identical(base, head):
        return _identity(minimum)
    effect = estimate(base, head, policy, history)
    return _decide(_measured(effect, policy, head.better, minimum), effect, policy, primary=primary)


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
        if any(not _has_level(launch) for launch in side.launches):
            return (Reason.CASE_FAILED, *wording.no_positive_value(name))
        samples = sum(launch.samples for launch in side.launches)
        if samples < policy.minimum_samples:
            return (Reason.TOO_FEW_SAMPLES, *wording.too_few_samples(name, samples, policy.minimum_samples))
    return None


def _too_throttled(side: Side, policy: Policy) -> bool:
    throttled = sum(launch.outcome == THROTTLED for launch in side.launches)
    clean = sum(launch.outcome == "ok" for launch in side.launches)
    return throttled > 0 and clean < min(policy.minimum_launches, throttled + clean)


def _has_level(launch: Launch) -> bool:
    return launch.value is not None and math.isfinite(launch.value) and launch.value > 0


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


def _measured(effect: Effect, policy: Policy, better: Better, minimum: float) -> Judgement:
    """The numbers of a judgement, its verdict still open."""
    half_width = effect.half_width(policy.confidence)
    limit = math.log1p(minimum)
    sign = 1.0 if better is Better.LOWER else -1.0
    ends = sorted((sign * (effect.worsening - half_width), sign * (effect.worsening + half_width)))
    worse = exceedance((effect.worsening - limit) / effect.error, effect.degrees)
    improved = exceedance((-effect.worsening - limit) / effect.error, effect.degrees)
    visible = limit + effect.error * (
        quantile((1 + policy.confidence) / 2, effect.degrees) + quantile(policy.power, effect.degrees)
    )
    return Judgement(
        verdict=Verdict.INCONCLUSIVE,
        explanation="",
        minimum_effect=minimum,
        change=fraction(sign * effect.worsening),
        change_low=fraction(ends[0]),
        change_high=fraction(ends[1]),
        worsening=fraction(effect.worsening),
        p_value=min(1.0, 2 * min(worse, improved)),
        smallest_visible_change=fraction(visible),
    )


def _decide(measured: Judgement, effect: Effect, policy: Policy, *, primary: bool) -> Judgement:
    half_width = effect.half_width(policy.confidence)
    limit = math.log1p(measured.minimum_effect)
    excluded = math.log1p(policy.excluded_effect(primary=primary))
    if effect.worsening - half_width > limit:
        severity = policy.severity(fraction(effect.worsening), primary=primary)
        sentences = wording.regressed(measured)
        return answer(measured, Verdict.REGRESSED, sentences, severity=severity)
    if effect.worsening + half_width < -limit:
        return answer(measured, Verdict.IMPROVED, wording.improved(measured))
    if effect.worsening < limit and effect.worsening + half_width < excluded:
        return answer(measured, Verdict.PASS, wording.passed(measured))
    # What would settle it: an interval that ends before the limit it now crosses.
    room = effect.worsening - limit if effect.worsening >= limit else excluded - effect.worsening
    launches = effect.launches_to_reach(room, policy.confidence)
    measured = replace(measured, launches_to_settle=launches)
    sentences = wording.too_noisy(measured, elsewhere=effect.elsewhere)
    return answer(measured, Verdict.INCONCLUSIVE, sentences, reason=Reason.TOO_NOISY)


def not_significant_among(judgement: Judgement, q_value: float, compared: int) -> Judgement:
    """The judgement of a change that stands alone but not among as many comparisons."""
    return answer(
        replace(judgement, severity=None),
        Verdict.INCONCLUSIVE,
        wording.not_significant(judgement, q_value, compared),
        reason=Reason.TOO_NOISY,
    )
