"""A comparison of two arms on this machine, worker by worker, until it is decided or was enough."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from tesserabench.bench.case import Case
from tesserabench.bench.device import device_kind
from tesserabench.bench.duet.arms import Arm, PlannedDuet, plan_duet
from tesserabench.bench.duet.plan import ArmName, DuetPlan, Pair, of_worker
from tesserabench.bench.duet.process import Limits, WorkerEnd, WorkerOrder, never, run_worker
from tesserabench.bench.duet.result import DuetResult, WorkerPair
from tesserabench.bench.errors import CaseFailure, DeviceUnavailable
from tesserabench.bench.measurement import Measurement, TrialHeader
from tesserabench.bench.plan import MeasureOptions
from tesserabench.bench.vocabulary import Mode, Outcome
from tesserabench.bench.worker.frames import Message

if TYPE_CHECKING:
    from tesserabench.bench.duet.judging import Evidence, Judged


class DuetObserver(Protocol):
    """Hears how far a comparison has come."""

    def worker(self, number: int, most: int, pairs: int) -> None:
        """Worker `number` (from 1) of at most `most` begins with so many pairs."""

    def phase(self, case: str, phase: str) -> None:
        """What the worker does now; `case` is empty outside of cases."""


class SilentDuetObserver:
    """Hears and forgets."""

    def worker(self, number: int, most: int, pairs: int) -> None:
        """Ignore it."""

    def phase(self, case: str, phase: str) -> None:
        """Ignore it."""


def compare_locally(  # noqa: PLR0913 - the options of `bench compare`, all keyword-only
    a: Arm,
    b: Arm,
    *,
    device: str = "cpu",
    workers: int | None = None,
    tier: str = "smoke",
    mode: str | None = None,
    seed: int = 0,
    smallest_effect: float = 0.01,
    null_control: bool = True,
    noise_floors: Mapping[str, float] | None = None,
    options: MeasureOptions | None = None,
    observer: DuetObserver | None = None,
    threads: int | None = None,
    limits: Limits | None = None,
    cancelled: Callable[[], bool] = never,
) -> DuetResult:
    """Measure two arms interleaved in fresh workers on this machine, and return what is concluded.

    Without `workers` there are five; pairs that they leave open go on to ten, the error of 5 % shared by both looks.
    `noise_floors` gives, by the id of arm A's case, the largest change that the case has shown against itself.

    Raises SelectionError or BundleError for a request that cannot be met, DeviceUnavailable when the device cannot be
    opened, CaseFailure when it was cancelled; everything else that goes wrong is an outcome.
    """
    from tesserabench.bench.duet.judging import (  # noqa: PLC0415 - the library measures without the statistics too
        Evidence,
        Judge,
        pair_results,
        undecided,
        worst_verdict,
    )

    started = time.monotonic()
    judge = Judge.of(smallest_effect, workers, noise_floors or {})
    planned = plan_duet(
        a,
        b,
        device_kind=device_kind(device),
        tier=tier,
        mode=mode,
        seed=seed,
        options=options,
        # Two equal arms are a null control by themselves.
        null_control=null_control and a != b,
    )
    session = _Session(
        plan=planned.plan,
        digests=planned.digests,
        device=device,
        threads=threads,
        limits=limits or Limits(),
        observer=observer or SilentDuetObserver(),
        cancelled=cancelled,
        most=judge.looks[-1].workers,
        evidence=Evidence(pairs=planned.plan.pairs),
    )
    judged: Judged = {}
    left: Sequence[Pair] = session.evidence.compared
    for look in judge.looks:
        session.run_until(look.workers, left)
        latest = judge.judge(session.evidence, left, look)
        judged |= latest
        left = undecided(session.evidence, latest)
        if not left:
            break
    pairs = pair_results(session.evidence, judged)
    control = judge.control(session.evidence)
    return DuetResult(
        verdict=worst_verdict(pairs),
        pairs=pairs,
        control=control,
        workers=session.done,
        alone=tuple(case.id for case in planned.alone),
        flags=_flags(planned.plan, failed=control is not None and control.failed),
        device=session.header.device if session.header else None,
        environment=session.header.environment if session.header else None,
        duration_seconds=time.monotonic() - started,
        troubles=tuple(session.troubles),
        facts=_facts(a, b, planned),
    )


@dataclass(slots=True, kw_only=True)
class _Session:
    """The workers of a comparison, and what they gave."""

    plan: DuetPlan
    digests: tuple[str | None, str | None]
    device: str
    threads: int | None
    limits: Limits
    observer: DuetObserver
    cancelled: Callable[[], bool]
    most: int
    evidence: "Evidence"
    done: int = 0
    header: TrialHeader | None = None
    troubles: list[str] = field(default_factory=list)

    def run_until(self, workers: int, pairs: Sequence[Pair]) -> None:
        """Have fresh workers measure these pairs, and the null control, until there were so many workers."""
        while self.done < workers:
            wanted = [pair for pair in pairs if not self.evidence.broken(pair)]
            if not wanted:
                return
            control = self.evidence.control
            if control is not None and not self.evidence.broken(control):
                wanted.append(control)
            self.observer.worker(self.done + 1, self.most, len(wanted))
            self._run_one(wanted)
            self.done += 1

    def _run_one(self, pairs: Sequence[Pair]) -> None:
        """One worker; when it dies in a pair, a fresh one measures the rest in its place."""
        left = list(pairs)
        while left:
            taker = _Taker(of_worker(_part(self.plan, left), self.done), self.observer)
            order = {
                "duet": taker.plan.to_dict(),
                "digests": self.digests,
                "device": self.device,
                "threads": self.threads,
            }
            end = run_worker(WorkerOrder(order=order, limits=self.limits), taker.take, cancelled=self.cancelled)
            self.header = self.header or taker.header
            _require_open(end, taker)
            for pair, (a, b) in taker.complete().items():
                self.evidence.add(pair, WorkerPair(worker=self.done, order=taker.plan.order, a=a, b=b))
                left.remove(pair)
            if left:
                left = self._after_trouble(end, taker, left)

    def _after_trouble(self, end: WorkerEnd, taker: "_Taker", left: Sequence[Pair]) -> list[Pair]:
        """Note what became of a worker that did not get through; the pairs that a fresh one may still measure."""
        outcome, reason = end.outcome, end.reason
        if outcome is Outcome.OK:
            outcome, reason = Outcome.HARNESS_ERROR, "the worker left pairs out; please report this fault of the engine"
        self.troubles.append(f"worker {self.done + 1}: {outcome}: {reason}")
        struck = [pair for pair in left if end.case in {pair.a.id, pair.b.id}] or list(left)
        for pair in struck:
            self.evidence.add(pair, taker.give_up(pair, self.done, outcome, reason))
        return [pair for pair in left if pair not in struck]


def _require_open(end: WorkerEnd, taker: "_Taker") -> None:
    if end.outcome is Outcome.CANCELLED:
        raise CaseFailure(Outcome.CANCELLED, "the comparison was cancelled", fatal=True)
    if not taker.opened and end.outcome is Outcome.UNSUPPORTED:
        raise DeviceUnavailable(end.reason)


class _Taker:
    """Takes the messages of one worker."""

    def __init__(self, plan: DuetPlan, observer: DuetObserver) -> None:
        self.plan, self._observer = plan, observer
        self.opened = False
        self.header: TrialHeader | None = None
        self._sides: dict[tuple[str, str], Measurement] = {}

    def take(self, message: Message) -> None:
        """Take one message."""
        match message["kind"]:
            case "opened":
                self.opened = True
            case "header":
                self.header = TrialHeader.from_dict(message["header"])
            case "phase":
                self._observer.phase(message["case"] or "", message["phase"])
            case "measurement":
                measurement = Measurement.from_dict(message["measurement"])
                self._sides[measurement.arm, measurement.case_id] = measurement

    def complete(self) -> dict[Pair, tuple[Measurement, Measurement]]:
        """The pairs of which both sides have been told."""
        sides = {pair: self._told(pair) for pair in self.plan.pairs}
        return {pair: (a, b) for pair, (a, b) in sides.items() if a is not None and b is not None}

    def give_up(self, pair: Pair, worker: int, outcome: Outcome, reason: str) -> WorkerPair:
        """A pair that gave nothing, or half of it, in this worker."""
        a, b = self._told(pair)
        return WorkerPair(
            worker=worker,
            order=self.plan.order,
            a=a or _nothing(pair.a, pair.arms[0], self.plan, outcome, reason),
            b=b or _nothing(pair.b, pair.arms[1], self.plan, outcome, reason),
        )

    def _told(self, pair: Pair) -> tuple[Measurement | None, Measurement | None]:
        return self._sides.get((pair.arms[0], pair.a.id)), self._sides.get((pair.arms[1], pair.b.id))


def _nothing(case: Case, arm: ArmName, plan: DuetPlan, outcome: Outcome, reason: str) -> Measurement:
    mode = plan.mode or Mode.HOT
    return Measurement(case=case, mode=mode, outcome=outcome, reason=reason, seed=plan.seed, arm=arm)


def _part(plan: DuetPlan, pairs: Sequence[Pair]) -> DuetPlan:
    """The plan for some of its pairs; a drill may only name what is in a plan."""
    present = {pair.b.benchmark for pair in pairs if not pair.control}
    drill = {name: factor for name, factor in plan.options.drill.items() if name in present}
    return replace(plan, pairs=tuple(pairs), options=replace(plan.options, drill=drill))


def _flags(plan: DuetPlan, *, failed: bool) -> tuple[str, ...]:
    marks = {"null_control_failed": failed, "drill": bool(plan.options.drill)}
    return tuple(name for name, holds in marks.items() if holds)


def _facts(a: Arm, b: Arm, planned: PlannedDuet) -> dict[str, str]:
    """What the two arms were, as people named them."""
    bundles = {"a": planned.plan.bundle_a, "b": planned.plan.bundle_b}
    facts: dict[str, str] = {}
    for name, arm in (("a", a), ("b", b)):
        facts[name] = arm.spec
        if arm.overrides:
            facts[f"{name}.set"] = ",".join(f"{key}={value}" for key, value in sorted(arm.overrides.items()))
        if bundle := bundles[name]:
            facts[f"{name}.bundle"] = bundle
    return facts
