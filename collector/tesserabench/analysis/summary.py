"""One verdict and one sentence for a whole comparison."""

from collections import Counter
from collections.abc import Sequence

from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.results import SeriesResult
from tesserabench.analysis.wording import percent
from tesserabench.analysis.words import Reason, Severity, Verdict, worst

Judged = tuple[SeriesResult, Judgement]

_NOT_MEASURED_BOTH = frozenset({Reason.NO_BASELINE, Reason.MISSING})


def overall(judged: Sequence[Judged]) -> tuple[Verdict, Reason | None, Severity | None, str]:
    """Verdict, its reason, worst severity and the sentence over all primary metrics; `judged` is worst first.

    Cases that only one side has are named and decide nothing, unless there is no other.
    """
    primary = [pair for pair in judged if pair[0].primary]
    both = [pair for pair in primary if pair[1].reason not in _NOT_MEASURED_BOTH]
    verdict, reason = _verdict(primary, both)
    severity = worst([judgement.severity for _, judgement in primary if judgement.severity is not None])
    return verdict, reason, severity, _sentence(verdict, reason, primary, both)


def _verdict(primary: Sequence[Judged], both: Sequence[Judged]) -> tuple[Verdict, Reason | None]:
    verdicts = {judgement.verdict for _, judgement in both}
    if not both:
        reasons = Counter(judgement.reason for _, judgement in primary)
        return Verdict.INCONCLUSIVE, reasons.most_common(1)[0][0] if reasons else Reason.NO_BASELINE
    if Verdict.REGRESSED in verdicts:
        return Verdict.REGRESSED, None
    if Verdict.INCONCLUSIVE in verdicts:
        reasons = Counter(judgement.reason for _, judgement in both if judgement.verdict is Verdict.INCONCLUSIVE)
        return Verdict.INCONCLUSIVE, reasons.most_common(1)[0][0]
    return (Verdict.IMPROVED if Verdict.IMPROVED in verdicts else Verdict.PASS), None


def _sentence(verdict: Verdict, reason: Reason | None, primary: Sequence[Judged], both: Sequence[Judged]) -> str:
    if not both:
        return _nothing_in_common(reason, len(primary))
    counts = Counter(judgement.verdict for _, judgement in both)
    parts = [f"{counts[word]} {word.value}" for word in Verdict if word is not Verdict.PASS and counts[word]]
    parts.append(f"{counts[Verdict.PASS]} unchanged")
    sentence = f"Of {len(both)} compared: {', '.join(parts)}."
    if verdict in {Verdict.REGRESSED, Verdict.INCONCLUSIVE}:
        sentence += " " + _worst(next(pair for pair in both if pair[1].verdict is verdict))
    return sentence + _one_sided(primary)


def _worst(pair: Judged) -> str:
    series, judgement = pair
    name = f"{series.key.case_id} {series.key.metric}"
    if judgement.verdict is Verdict.REGRESSED and judgement.change is not None and judgement.severity is not None:
        return f"Worst: {name} {percent(judgement.change)} ({judgement.severity.value})."
    return f"First: {name}: {judgement.explanation}"


def _one_sided(primary: Sequence[Judged]) -> str:
    reasons = Counter(judgement.reason for _, judgement in primary)
    sentence = ""
    if new := reasons[Reason.NO_BASELINE]:
        sentence += f" {new} new, with nothing to compare with."
    if gone := reasons[Reason.MISSING]:
        sentence += f" {gone} of the base {'was' if gone == 1 else 'were'} not measured."
    return sentence


def _nothing_in_common(reason: Reason | None, count: int) -> str:
    if count == 0:
        return "Nothing was measured that could be compared."
    if reason is Reason.NO_BASELINE:
        return f"There is nothing to compare with yet: {count} result{'' if count == 1 else 's'} without a baseline."
    return f"The two sides have no case in common: {count} of the base {'was' if count == 1 else 'were'} not measured."
