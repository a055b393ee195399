"""One trial: every case of a plan measured on one device in this process."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from tesserabench.bench.case import Case
from tesserabench.bench.ceiling import CeilingProbe, Probed, drifted
from tesserabench.bench.definition import Benchmark
from tesserabench.bench.device.protocol import Device, Fact
from tesserabench.bench.environment import engine_version, fingerprint
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.measurement import Ceilings, Measurement, TrialHeader, TrialResult
from tesserabench.bench.plan import TrialPlan
from tesserabench.bench.registry import INSTALLED, Registry
from tesserabench.bench.vocabulary import Outcome, Phase, TrialFlag
from tesserabench.bench.watch import Observer, Watch, never


def measure_trial(
    plan: TrialPlan,
    device: Device,
    *,
    observer: Observer,
    registry: Registry = INSTALLED,
    cancelled: Callable[[], bool] = never,
) -> TrialResult:
    """Measure every case of the plan and return the result, telling `observer` everything as it happens.

    A case that fails does not stop the next ones, unless the device is lost, the trial is cancelled (`cancelled` is
    asked before every launch that is timed) or the process is interrupted. Raises UnknownBenchmark or InvalidPlan
    before anything is measured when the plan does not fit what is installed.
    """
    benchmarks = {case.benchmark: registry.find_benchmark(case.benchmark) for case in plan.cases}
    watch = Watch(observer=observer, cancelled=cancelled)
    cases = [(case, benchmarks[case.benchmark]) for case in plan.order]
    for case, benchmark in cases:
        benchmark.check_case(case)
    steps = [_CaseStep(plan, case, benchmark, device, watch) for case, benchmark in cases]
    return Trial(plan, device, watch, steps, dtypes=probed_dtypes(cases), facts=registry.facts).measure()


class Step(Protocol):
    """What a trial measures at a time: a case, or cases that belong together."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of its cases."""

    def measure(self, ceilings: Ceilings, position: int) -> tuple[tuple[Measurement, ...], bool]:
        """Return a measurement for each of its cases, and whether nothing more can be measured in this trial."""


class _CaseStep:
    """One case by itself."""

    def __init__(self, plan: TrialPlan, case: Case, benchmark: Benchmark, device: Device, watch: Watch) -> None:
        self._plan, self._case, self._benchmark = plan, case, benchmark
        self._device, self._watch = device, watch
        self.ids = (case.id,)

    def measure(self, ceilings: Ceilings, position: int) -> tuple[tuple[Measurement, ...], bool]:
        """Measure it."""
        # NumPy is needed to measure, not to list suites or to read results: it is imported here.
        from tesserabench.bench.case_run import CaseRun  # noqa: PLC0415

        run = CaseRun(
            plan=self._plan,
            case=self._case,
            benchmark=self._benchmark,
            device=self._device,
            ceilings=ceilings,
            watch=self._watch,
            position=position,
        )
        measurement, fatal = run.measure()
        return (measurement,), fatal


def probed_dtypes(cases: Iterable[tuple[Case, Benchmark]]) -> set[str]:
    """Return the dtypes whose matrix product is a ceiling of one of the cases."""
    return {str(case.params["dtype"]) for case, benchmark in cases if "dtype" in case.params and benchmark.flops}


class Trial:
    """A trial of steps between two probes of the ceilings; `plan` says everything but what the steps are."""

    def __init__(
        self,
        plan: TrialPlan,
        device: Device,
        watch: Watch,
        steps: Sequence[Step],
        *,
        dtypes: set[str],
        facts: Mapping[str, Fact],
    ) -> None:
        self._plan, self._device, self._watch, self._steps = plan, device, watch, steps
        self._observer = watch.observer
        self._order = tuple(case for step in steps for case in step.ids)
        self._facts = facts
        self._done: list[Measurement] = []
        self._header: TrialHeader | None = None
        self._probe = CeilingProbe(device, dtypes, watch.keep_going)
        self._opening: Probed | None = None
        self._closing: Probed | None = None

    def measure(self) -> TrialResult:
        """Measure everything and return the result; nothing but programming errors is raised."""
        started = time.monotonic()
        try:
            outcome, reason = self._run()
        except KeyboardInterrupt:
            # Between two cases, where no step catches it: what is done must not be lost for that.
            outcome, reason = Outcome.INTERRUPTED, "the process was interrupted between two cases; run it again"
        self._probe.close()
        return TrialResult(
            outcome=outcome,
            reason=reason,
            header=self._header,
            measurements=tuple(self._done),
            not_run=self._order[len(self._done) :],
            duration_seconds=time.monotonic() - started,
            closing=None if self._closing is None else self._closing.ceilings,
            flags=self._flags(),
        )

    def _flags(self) -> tuple[str, ...]:
        if self._opening is None or self._closing is None or not drifted(self._opening, self._closing):
            return ()
        return (TrialFlag.ENVIRONMENT_DRIFT.value,)

    def _run(self) -> tuple[Outcome, str]:
        self._observer.progress(0, len(self._order))
        self._opening, failure = self._ceilings("before the first case")
        if failure is not None:
            return failure
        ceilings = Ceilings() if self._opening is None else self._opening.ceilings
        self._header = self._describe(ceilings)
        self._observer.header(self._header)
        for position, step in enumerate(self._steps):
            measurements, fatal = step.measure(ceilings, position)
            for measurement in measurements:
                self._done.append(measurement)
                self._observer.measurement(measurement)
                self._observer.progress(len(self._done), len(self._order))
            if fatal:
                failed = [item for item in measurements if item.outcome is not Outcome.OK]
                # What was interrupted may only have been so because of its other arm.
                last = next((item for item in reversed(failed) if item.outcome is not Outcome.INTERRUPTED), failed[-1])
                return last.outcome, f"{last.case_id}: {last.reason}"
        self._closing, failure = self._ceilings("after the last case")
        return failure or (Outcome.OK, "")

    def _ceilings(self, when: str) -> tuple[Probed | None, tuple[Outcome, str] | None]:
        """Return the ceilings, or how the trial ends because they could not be probed."""
        if not self._plan.options.probe_ceilings:
            return None, None
        self._observer.phase(None, Phase.CEILING, self._plan.options.budget_of(Phase.CEILING))
        try:
            return self._probe.probe(), None
        except CaseFailure as failure:
            return None, (failure.outcome, f"probing the ceilings {when} failed: {failure}")
        except Exception as error:  # noqa: BLE001 - a trial always ends with a result
            text = f"probing the ceilings {when} raised {type(error).__name__}: {error}; please report it"
            return None, (Outcome.HARNESS_ERROR, text)
        except KeyboardInterrupt:
            text = f"the process was interrupted while probing the ceilings {when}; run it again"
            return None, (Outcome.INTERRUPTED, text)

    def _describe(self, ceilings: Ceilings) -> TrialHeader:
        return TrialHeader(
            suite=self._plan.suite,
            tier=self._plan.tier,
            mode=self._plan.mode,
            seed=self._plan.seed,
            order=self._order,
            device=self._device.info,
            timer=self._device.timer,
            environment=fingerprint(self._device, work=self._facts),
            ceilings=ceilings,
            engine_version=engine_version(),
        )
