"""Pictures of the gate's answers, drawn from what the gate says of generated launches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from support.svg import Drawing, ticks, wrapped
from tesserabench.analysis.duet import DuetPolicy, DuetSeries, judge_duet, null_control
from tesserabench.analysis.gate import judge
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.launch import Launch, Side
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.quality import QualityLimit, QualityLine, quality_line
from tesserabench.analysis.words import Better, Reason, Verdict

WIDTH, LEFT, RIGHT, LOST = 760, 92, 20, 64
"""Launches without a value are drawn in the last `LOST` pixels."""
_LEVEL = 1e-3
POLICY = Policy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A comparison as it was made, with the answer."""

    name: str
    base: tuple[Launch, ...]
    head: tuple[Launch, ...]
    judgement: Judgement


def launches(seed: int, count: int, *, change: float = 0.0, spread: float = 0.004) -> tuple[Launch, ...]:
    """Launches on one GPU whose medians scatter by `spread`."""
    rng = np.random.default_rng(seed)
    levels = math.log(_LEVEL * (1 + change)) + spread * rng.standard_normal(count)
    return tuple(
        Launch(value=float(value), samples=60, log_error=0.0005, place="gpu-1", comparability="same")
        for value in np.exp(levels)
    )


def looked(name: str, base: tuple[Launch, ...], head: tuple[Launch, ...]) -> Look:
    """What the gate says."""
    sides = [Side(launches=side, better=Better.LOWER, device_kind="cuda") if side else None for side in (base, head)]
    return Look(name=name, base=base, head=head, judgement=judge(sides[0], sides[1], POLICY))


def verdicts() -> dict[Verdict, Look]:
    """A comparison for every verdict."""
    base = launches(1, 5)
    return {
        Verdict.PASS: looked("the same code", base, launches(2, 5)),
        Verdict.IMPROVED: looked("a faster kernel", base, launches(3, 5, change=-0.06)),
        Verdict.REGRESSED: looked("a slower kernel", base, launches(4, 5, change=0.06)),
        Verdict.INCONCLUSIVE: looked(
            "the same code on a restless machine", launches(15, 5, spread=0.05), launches(16, 5, spread=0.05)
        ),
    }


def reasons() -> dict[Reason, tuple[Look, ...]]:
    """Comparisons for the reasons that the gate itself gives, and the looks behind those of a confirmation."""
    base, slower = launches(1, 5), launches(4, 5, change=0.06)
    return {
        Reason.TOO_NOISY: (verdicts()[Verdict.INCONCLUSIVE],),
        Reason.TOO_FEW_SAMPLES: (
            looked("one sample a side", _with(base[:1], samples=1), _with(slower[:1], samples=1)),
        ),
        Reason.NO_BASELINE: (looked("a new case", (), slower),),
        Reason.MISSING: (looked("a case that the head lacks", base, ()),),
        Reason.CASE_FAILED: (looked("wrong results", base, (*slower[:3], *_failed(slower[3:]))),),
        Reason.THROTTLED: (looked("a hot GPU", base, (slower[0], *_with(slower[1:], outcome="throttled"))),),
        Reason.ENVIRONMENT_MISMATCH: (looked("another driver", base, _with(slower, comparability="other")),),
        Reason.NOT_REPRODUCED: (looked("first look", base, slower), looked("second look", base, launches(7, 5))),
        Reason.NOT_CONFIRMED: (looked("first look", base, slower), looked("second look: no host was free", base, ())),
        Reason.NULL_CONTROL_FAILED: (duet(),),
        Reason.MODE_MIX_CHANGED: (looked("a kernel with two modes", _modes(8, slow=1), _modes(9, slow=9)),),
        Reason.BASE_MEASURED_ONCE: (looked("a first comparison", base, launches(4, 5, change=0.03)),),
    }


def duet() -> Look:
    """Two arms in the same workers, while the arm against itself differs."""
    rng = np.random.default_rng(5)
    effects = tuple(float(value) for value in 0.03 + 0.003 * rng.standard_normal(5))
    nulls = tuple(float(value) for value in 0.02 + 0.002 * rng.standard_normal(5))
    control = null_control(nulls, DuetPolicy())
    (found,) = judge_duet([DuetSeries(effects=effects)], DuetPolicy(), advisory=control.failed)
    base = tuple(Launch(value=_LEVEL * math.exp(null), samples=60, place="null") for null in nulls)
    head = tuple(Launch(value=_LEVEL * math.exp(effect), samples=60, place="arm") for effect in effects)
    return Look(name="A against itself, and B against A", base=base, head=head, judgement=found)


def _modes(seed: int, *, slow: int) -> tuple[Launch, ...]:
    """Ten launches, so many of them in a mode that takes 13 % longer."""
    return (*launches(seed, 10 - slow, spread=0.002), *launches(seed + 20, slow, change=0.13, spread=0.002))


def _with(side: tuple[Launch, ...], **changes: object) -> tuple[Launch, ...]:
    return tuple(replace(launch, **changes) for launch in side)  # type: ignore[arg-type]  # fields by name


def _failed(side: tuple[Launch, ...]) -> tuple[Launch, ...]:
    return _with(side, value=None, outcome="incorrect", reason="17 of 4096 elements differ")


def quality() -> tuple[Look, QualityLine]:
    """A comparison that passes, of a case that is slower than its policy allows."""
    look = looked("as slow as before, and slower than allowed", launches(1, 5), launches(2, 5))
    middle = float(np.median([launch.value or math.nan for launch in look.head]))
    return look, quality_line(middle, QualityLimit(maximum=0.97 * _LEVEL))


# --- drawing ---------------------------------------------------------------------------------------------------------


def drawn(looks: Sequence[Look]) -> Drawing:
    """Launches of both sides, the interval of the change and the limits, one panel a look."""
    told = [wrapped(_told(look), 112) for look in looks]
    heights = [118 + 16 * len(lines) for lines in told]
    sheet = Drawing(WIDTH, 4 + sum(heights), "; ".join(look.name for look in looks))
    reach = max(0.07, *(_reach(look) for look in looks))
    top = 10.0
    for look, lines, height in zip(looks, told, heights, strict=True):
        _panel(sheet, look, top, reach)
        for number, line in enumerate(lines):
            sheet.text((16, top + 112 + 16 * number), line, "ink")
        top += height
    return sheet


def drawn_quality(look: Look, line: QualityLine) -> Drawing:
    """Launches of both sides, and the most that is allowed."""
    assert line.limit.maximum is not None
    assert line.value is not None
    sheet = Drawing(WIDTH, 140, look.name)
    reach = max(0.07, _reach(look))
    _panel(sheet, look, 10, reach)
    at = _across(math.log(line.limit.maximum) - _middle(look), reach)
    sheet.line((at, 24), (at, 96), "bad", wide=2, dash="5 3")
    sheet.text((at - 6, 36), "most allowed", anchor="end")
    found, allowed = (f"{1e3 * value:.3f} ms" for value in (line.value, line.limit.maximum))
    said = f"Against its limit: {line.answer.value}. It takes {found}; {allowed} are allowed."
    sheet.text((16, 130), said, "ink")
    return sheet


def _told(look: Look) -> str:
    return f"{look.judgement.explanation} {look.judgement.recommendation}".strip()


def _changes(side: Sequence[Launch], base: float) -> list[tuple[Launch, float]]:
    return [(launch, launch.level - base) for launch in side if launch.value]


def _middle(look: Look) -> float:
    if look.base and look.base[0].place == "null":
        return math.log(_LEVEL)
    levels = [launch.level for launch in (look.base or look.head) if launch.value]
    return sum(levels) / len(levels) if levels else math.log(_LEVEL)


def _reach(look: Look) -> float:
    ends = [abs(end) for end in (look.judgement.change_low, look.judgement.change_high) if end is not None]
    dots = [abs(change) for _, change in _changes((*look.base, *look.head), _middle(look))]
    return 1.08 * max([0.0, *ends, *dots])


def _across(change: float, reach: float) -> float:
    """Pixels from the left for a change in logarithms, when so much fits to either side."""
    return LEFT + (change + reach) / (2 * reach) * (WIDTH - LEFT - LOST)


def _panel(sheet: Drawing, look: Look, top: float, reach: float) -> None:
    def across(change: float) -> float:
        return _across(change, reach)

    judgement, middle = look.judgement, _middle(look)
    reason = f", {judgement.reason.value}" if judgement.reason else ""
    severity = f", {judgement.severity.value}" if judgement.severity else ""
    sheet.text((16, top + 10), f"{judgement.verdict.value}{severity}{reason}", "ink strong")
    sheet.text((WIDTH - RIGHT, top + 10), look.name, anchor="end")
    limit = judgement.minimum_effect or POLICY.minor
    sheet.box((across(-limit), top + 20), (across(limit) - across(-limit), 62), "grey", faint=0.18)
    for tick in ticks(-reach, reach, 8):
        sheet.line((across(tick), top + 20), (across(tick), top + 82), "line")
        sheet.text((across(tick), top + 95), f"{100 * tick:+g} %" if tick else "0", anchor="middle")
    sheet.line((across(0), top + 20), (across(0), top + 82), "axis")
    null = bool(look.base) and look.base[0].place == "null"
    names = ("A/A", "B/A") if null else ("base", "head")
    other = {launch.comparability for launch in look.base} or {launch.comparability for launch in look.head}
    for row, (name, side, colour) in enumerate(zip(names, (look.base, look.head), ("a", "b"), strict=True)):
        height = top + 31 + 18 * row
        sheet.text((LEFT - 10, height + 4), name, anchor="end")
        for launch, change in _changes(side, middle):
            counts = launch.outcome == "ok" and launch.comparability in other
            sheet.dot((across(change), height), colour, radius=4, hollow=not counts)
        for number in range(sum(launch.value is None for launch in side)):
            sheet.cross((WIDTH - RIGHT - 12 - 16 * number, height), "bad")
        if not side:
            sheet.text((across(0), height + 4), "not measured", anchor="middle")
    if judgement.change is not None and judgement.change_low is not None and judgement.change_high is not None:
        sheet.text((LEFT - 10, top + 75), "change", anchor="end")
        low, high = (across(math.log1p(end)) for end in (judgement.change_low, judgement.change_high))
        sheet.line((low, top + 71), (high, top + 71), "level", wide=3)
        sheet.dot((across(math.log1p(judgement.change)), top + 71), "bad", radius=4.5)
