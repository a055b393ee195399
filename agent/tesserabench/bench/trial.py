"""One trial: every case of a plan measured on one device in this process."""

import time
from collections.abc import Callable

from tesserabench.bench.case import Case
from tesserabench.bench.ceiling import CeilingProbe, Probed, drifted
from tesserabench.bench.device.protocol import Device
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
        self._probe = CeilingProbe(device, self._dtypes(), self._watch().keep_going)
        self._opening: Probed | None = None
        self._closing: Probed | None = None

    def measure(self) -> TrialResult:
        started = time.monotonic()
        outcome, reason = self._run()
        self._probe.close()
        return TrialResult(
            outcome=outcome,
            reason=reason,
            header=self._header,
            measurements=tuple(self._done),
            not_run=tuple(case.id for case in self._order[len(self._done) :]),
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
        for position, case in enumerate(self._order):
            measurement, fatal = self._case(position, case, ceilings)
            self._done.append(measurement)
            self._observer.measurement(measurement)
            self._observer.progress(len(self._done), len(self._order))
            if fatal:
                return measurement.outcome, f"{case.id}: {measurement.reason}"
        self._closing, failure = self._ceilings("after the last case")
        return failure or (Outcome.OK, "")

    def _case(self, position: int, case: Case, ceilings: Ceilings) -> tuple[Measurement, bool]:
        # NumPy is needed to measure, not to list suites or to read results: it is imported here.
        from tesserabench.bench.case_run import CaseRun  # noqa: PLC0415

        run = CaseRun(
            plan=self._plan,
            case=case,
            benchmark=self._benchmarks[case.benchmark],
            device=self._device,
            ceilings=ceilings,
            watch=self._watch(),
            position=position,
        )
        return run.measure()

    def _watch(self) -> Watch:
        return Watch(observer=self._observer, cancelled=self._cancelled)

    def _dtypes(self) -> set[str]:
        return {
            str(case.params["dtype"])
            for case in self._order
            if "dtype" in case.params and self._benchmarks[case.benchmark].flops
        }

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
            order=tuple(case.id for case in self._order),
            device=self._device.info,
            timer=self._device.timer,
            environment=fingerprint(self._device, work=self._registry.facts),
            ceilings=ceilings,
            engine_version=engine_version(),
        )
