"""From what the workers of a comparison gave to what is concluded of it.

The one place where measuring meets judging: `tesserabench.analysis` knows nothing of this library, and nothing else of
this library knows it.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tesserabench.analysis.duet import (
    LOOKS,
    DuetPolicy,
    DuetSeries,
    Look,
    failed_pair,
    judge_duet,
    null_control,
)
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.words import Verdict
from tesserabench.bench.duet.plan import Pair
from tesserabench.bench.duet.result import ControlResult, PairResult, PairVerdict, WorkerPair
from tesserabench.bench.errors import InvalidPlan
from tesserabench.bench.vocabulary import Outcome

Judged = dict[Pair, Judgement]
PASSING = frozenset({Outcome.OK, Outcome.THROTTLED, Outcome.BUSY})
"""Outcomes after which the next worker may do better: the others are the case's own fault."""
WORST_FIRST = (Verdict.REGRESSED, Verdict.INCONCLUSIVE, Verdict.IMPROVED, Verdict.PASS)


@dataclass(slots=True, kw_only=True)
class Evidence:
    """What every pair gave, by worker."""

    pairs: tuple[Pair, ...]
    found: dict[Pair, list[WorkerPair]] = field(default_factory=dict)

    @property
    def compared(self) -> tuple[Pair, ...]:
        """The pairs that are judged."""
        return tuple(pair for pair in self.pairs if not pair.control)

    @property
    def control(self) -> Pair | None:
        """Arm A against itself, when that is measured."""
        return next((pair for pair in self.pairs if pair.control), None)

    def add(self, pair: Pair, worker: WorkerPair) -> None:
        """Keep what a worker gave."""
        self.found.setdefault(pair, []).append(worker)

    def workers(self, pair: Pair) -> tuple[WorkerPair, ...]:
        """What the workers gave of a pair, in order."""
        return tuple(self.found.get(pair, ()))

    def broken(self, pair: Pair) -> bool:
        """Whether the pair failed in a way that no other worker would spare it."""
        failures = (worker.failure for worker in self.workers(pair))
        return any(failure is not None and failure.outcome not in PASSING for failure in failures)

    def medians(self, pair: Pair) -> tuple[tuple[float, float], ...]:
        """Nanoseconds of one launch of A and of B, for each worker that measured both."""
        known = (worker.medians for worker in self.workers(pair))
        return tuple(medians for medians in known if medians is not None)

    def effects(self, pair: Pair) -> tuple[float, ...]:
        """log(B) - log(A) for each worker that measured both."""
        return tuple(math.log(b) - math.log(a) for a, b in self.medians(pair))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """What counts as a change, and when that is looked at."""

    policy: DuetPolicy
    looks: tuple[Look, ...]
    noise_floors: Mapping[str, float]
    """Largest change that a case has shown against itself, by the id of arm A's case."""

    @classmethod
    def of(cls, smallest_effect: float, workers: int | None, noise_floors: Mapping[str, float]) -> "Judge":
        """The judge for so many workers, or, without a number, for five and then ten; raise InvalidPlan."""
        if workers is not None and workers < 2:
            raise InvalidPlan(f"workers is {workers}; an interval needs 2 or more, and 5 are sensible")
        try:
            policy = DuetPolicy(smallest_effect=smallest_effect)
        except ValueError as error:
            raise InvalidPlan(str(error)) from None
        looks = LOOKS if workers is None else (Look(workers=workers, error=policy.error),)
        return cls(policy=policy, looks=looks, noise_floors=noise_floors)

    def judge(self, evidence: Evidence, pairs: Sequence[Pair], look: Look) -> dict[Pair, Judgement]:
        """What is concluded of these pairs at this look."""
        usable = [pair for pair in pairs if not evidence.broken(pair)]
        series = [
            DuetSeries(effects=evidence.effects(pair), noise_floor=self.noise_floors.get(pair.a.id, 0.0))
            for pair in usable
        ]
        control = self.control(evidence)
        judged = judge_duet(series, self.policy, error=look.error, advisory=control is not None and control.failed)
        found = dict(zip(usable, judged, strict=True))
        for pair in pairs:
            failures = [failure for worker in evidence.workers(pair) if (failure := worker.failure) is not None]
            if failures and (pair not in found or len(evidence.effects(pair)) < 2):
                side = failures[-1]
                found[pair] = failed_pair(side.arm.removeprefix("null_"), side.outcome, side.reason, self.policy)
        return found

    def control(self, evidence: Evidence) -> ControlResult | None:
        """What arm A against itself gave; None when it was not measured."""
        pair = evidence.control
        if pair is None:
            return None
        found = null_control(evidence.effects(pair), self.policy)
        return ControlResult(
            case=pair.a.id,
            failed=found.failed,
            change=found.change,
            change_low=found.change_low,
            change_high=found.change_high,
            workers=found.workers,
            explanation=found.explanation,
        )


def undecided(evidence: Evidence, judged: Mapping[Pair, Judgement]) -> list[Pair]:
    """The pairs that more workers may settle."""
    return [
        pair
        for pair, judgement in judged.items()
        if judgement.verdict is Verdict.INCONCLUSIVE and not evidence.broken(pair)
    ]


def pair_results(evidence: Evidence, judged: Mapping[Pair, Judgement]) -> tuple[PairResult, ...]:
    """The results of pairs, worst first."""
    found = [_pair_result(evidence, pair, judgement) for pair, judgement in judged.items()]
    return tuple(sorted(found, key=_badness))


def worst_verdict(pairs: Sequence[PairResult]) -> str:
    """The verdict of a whole comparison."""
    return next(word.value for word in WORST_FIRST if any(pair.found.verdict == word for pair in pairs))


def _pair_result(evidence: Evidence, pair: Pair, judgement: Judgement) -> PairResult:
    workers, medians = evidence.workers(pair), evidence.medians(pair)
    return PairResult(
        a=pair.a.id,
        b=pair.b.id,
        mode=workers[0].a.mode.value if workers else "",
        workers=workers,
        median_a=statistics.median(a for a, _ in medians) if medians else None,
        median_b=statistics.median(b for _, b in medians) if medians else None,
        found=PairVerdict(
            verdict=judgement.verdict.value,
            reason=judgement.reason.value if judgement.reason else None,
            severity=judgement.severity.value if judgement.severity else None,
            explanation=judgement.explanation,
            recommendation=judgement.recommendation,
            change=judgement.change,
            change_low=judgement.change_low,
            change_high=judgement.change_high,
            p_value=judgement.p_value,
            minimum_effect=judgement.minimum_effect,
            smallest_visible_change=judgement.smallest_visible_change,
            more_workers=judgement.launches_to_settle,
        ),
    )


def _badness(pair: PairResult) -> tuple[int, float, str]:
    return WORST_FIRST.index(Verdict(pair.found.verdict)), -abs(pair.found.change or 0.0), pair.a
