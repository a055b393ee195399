"""One trial: every case of a plan measured on one device in this process."""

import time
from collections.abc import Callable

from tesserabench.bench.ceiling import probe
from tesserabench.bench.device.protocol import Device
from tesserabench.bench.environment import engine_version, fingerprint
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.measurement import Ceilings, Measurement, TrialHeader, TrialResult
from tesserabench.bench.plan import TrialPlan
from tesserabench.bench.registry import INSTALLED, Registry
from tesserabench.bench.vocabulary import Outcome, Phase
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
    run = _Trial(plan, device, observer, registry, cancelled)
    return run.measure()


class _Trial:
    """The state of `measure_trial`."""

    def __init__(
        self, plan: TrialPlan, device: Device, observer: Observer, registry: Registry, cancelled: Callable[[], bool]
    ) -> None:
        self._plan, self._device, self._observer = plan, device, observer
        self._registry = registry
        self._cancelled = cancelled
        self._order = plan.order
        self._benchmarks = {case.benchmark: registry.find_benchmark(case.benchmark) for case in self._order}
        for case in self._order:
            self._benchmarks[case.benchmark].check_case(case)
        self._done: list[Measurement] = []
        self._header: TrialHeader | None = None

    def measure(self) -> TrialResult:
        started = time.monotonic()
        outcome, reason = self._run()
        return TrialResult(
            outcome=outcome,
            reason=reason,
            header=self._header,
            measurements=tuple(self._done),
            not_run=tuple(case.id for case in self._order[len(self._done) :]),
            duration_seconds=time.monotonic() - started,
        )

    def _run(self) -> tuple[Outcome, str]:
        # NumPy is needed to measure, not to list suites or to read results: it is imported here.
        from tesserabench.bench.case_run import CaseRun  # noqa: PLC0415

        self._observer.progress(0, len(self._order))
        try:
            ceilings = self._probe()
        except CaseFailure as failure:
            return failure.outcome, f"probing the ceilings failed: {failure}"
        except Exception as error:  # noqa: BLE001 - a trial always ends with a result
            return (
                Outcome.HARNESS_ERROR,
                f"probing the ceilings raised {type(error).__name__}: {error}; please report it",
            )
        except KeyboardInterrupt:
            return Outcome.INTERRUPTED, "the process was interrupted while probing the ceilings; run it again"
        self._header = self._describe(ceilings)
        self._observer.header(self._header)
        for position, case in enumerate(self._order):
            watch = Watch(observer=self._observer, cancelled=self._cancelled)
            run = CaseRun(
                plan=self._plan,
                case=case,
                benchmark=self._benchmarks[case.benchmark],
                device=self._device,
                ceilings=ceilings,
                watch=watch,
                position=position,
            )
            measurement, fatal = run.measure()
            self._done.append(measurement)
            self._observer.measurement(measurement)
            self._observer.progress(len(self._done), len(self._order))
            if fatal:
                return measurement.outcome, f"{case.id}: {measurement.reason}"
        return Outcome.OK, ""

    def _probe(self) -> Ceilings:
        if not self._plan.options.probe_ceilings:
            return Ceilings()
        self._observer.phase(None, Phase.CEILING, self._plan.options.budget_of(Phase.CEILING))
        dtypes = {
            str(case.params["dtype"])
            for case in self._order
            if "dtype" in case.params and self._benchmarks[case.benchmark].flops
        }
        watch = Watch(observer=self._observer, cancelled=self._cancelled)
        return probe(self._device, dtypes, watch.keep_going)

    def _describe(self, ceilings: Ceilings) -> TrialHeader:
        return TrialHeader(
            suite=self._plan.suite,
            tier=self._plan.tier,
            mode=self._plan.mode,
            seed=self._plan.seed,
            order=tuple(case.id for case in self._order),
            device=self._device.info,
            timer=self._device.timer,
            environment=fingerprint(self._device, work=self._registry.facts),
            ceilings=ceilings,
            engine_version=engine_version(),
        )
