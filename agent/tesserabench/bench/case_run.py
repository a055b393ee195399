"""One case from preparation to result: prepare, verify, warm up, measure, check again, derive."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from tesserabench.bench.case import Case
from tesserabench.bench.definition import Benchmark
from tesserabench.bench.derive import derive_metrics, implausible
from tesserabench.bench.device.protocol import Device, DeviceState, Workload
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.measurement import Ceilings, Correctness, Measurement, Warmup
from tesserabench.bench.plan import TrialPlan
from tesserabench.bench.timing.sampling import Taken, collector_paused, take_samples, warm_up
from tesserabench.bench.timing.statistics import summarise
from tesserabench.bench.verification import compare, limit_of, require, verify
from tesserabench.bench.vocabulary import Outcome, Phase, StopReason
from tesserabench.bench.watch import Watch

if TYPE_CHECKING:
    from tesserabench.bench.device.protocol import HostArrays


class CaseRun:
    """The run of one case; what the case itself does wrong becomes its outcome and is never raised."""

    def __init__(  # noqa: PLR0913 - what a case needs, all keyword-only
        self,
        *,
        plan: TrialPlan,
        case: Case,
        benchmark: Benchmark,
        device: Device,
        ceilings: Ceilings,
        watch: Watch,
        position: int,
    ) -> None:
        self._plan, self._case, self._benchmark = plan, case, benchmark
        self._device, self._ceilings, self._watch = device, ceilings, watch
        self._phase = Phase.PREPARE
        dtype = case.params.get("dtype")
        self._found = Measurement(
            case=case,
            mode=plan.mode or benchmark.default_mode(device.info.kind),
            inputs=benchmark.inputs,
            outcome=Outcome.HARNESS_ERROR,
            dtype=None if dtype is None else str(dtype),
            seed=plan.seed,
            position=position,
            started_monotonic_ns=time.monotonic_ns(),
        )

    def measure(self) -> tuple[Measurement, bool]:
        """Return the measurement, and whether nothing more can be measured in this trial."""
        fatal = False
        try:
            self._run()
        except KeyboardInterrupt:
            self._fail(Outcome.INTERRUPTED, "the process was interrupted; run it again")
            fatal = True
        except Exception as error:  # noqa: BLE001 - whatever a benchmark raises is its case's outcome, not the trial's end
            failure = self._device.failure(error)
            if isinstance(failure, CaseFailure):
                self._fail(failure.outcome, str(failure))
                fatal = failure.fatal
            else:
                self._fail(Outcome.HARNESS_ERROR, self._describe(error))
        return replace(self._found, ended_monotonic_ns=time.monotonic_ns()), fatal

    def _run(self) -> None:
        workload = self._prepare()
        limit = limit_of(self._benchmark, self._case)
        self._enter(Phase.VERIFY)
        reference = workload.reference()
        checked = verify(self._device, workload, reference, limit)
        self._found = replace(self._found, correctness=checked)
        require(checked, "before measuring")
        with collector_paused():
            warmup, launch_ns = self._warm_up(workload)
            taken = self._sample(workload, launch_ns)
        self._recheck(workload, reference, checked)
        self._conclude(taken, warmup)

    def _enter(self, phase: Phase) -> None:
        self._watch.keep_going()
        self._phase = phase
        self._watch.observer.phase(self._case, phase, self._plan.options.budget_of(phase))
        self._device.begin(self._case, phase)

    def _prepare(self) -> Workload:
        self._enter(Phase.PREPARE)
        kind = self._device.info.kind
        if kind not in self._benchmark.devices:
            supported = ", ".join(self._benchmark.devices)
            raise CaseFailure(
                Outcome.UNSUPPORTED, f"{self._benchmark.name} does not run on {kind}; it runs on: {supported}"
            )
        state = self._device.state()
        if self._plan.options.require_idle and state.foreign_processes:
            raise CaseFailure(
                Outcome.BUSY,
                f"{state.foreign_processes} other process(es) compute on the device; wait until it is idle, "
                "or set require_idle to false and accept disturbed times",
            )
        return self._device.prepare(self._benchmark, self._case, self._plan.seed)

    def _warm_up(self, workload: Workload) -> tuple[Warmup, int]:
        self._enter(Phase.WARMUP)
        return warm_up(self._device, workload, self._found.mode, self._plan.options, self._watch.keep_going)

    def _sample(self, workload: Workload, launch_ns: int) -> Taken:
        self._enter(Phase.MEASURE)
        before = self._device.state()
        self._found = replace(self._found, state_before=before, measuring_monotonic_ns=time.monotonic_ns())
        taken = take_samples(
            device=self._device,
            workload=workload,
            mode=self._found.mode,
            options=self._plan.options,
            launch_ns=launch_ns,
            drill_factor=self._plan.options.drill.get(self._benchmark.name),
            keep_going=self._watch.keep_going,
        )
        after = self._device.state()
        self._found = replace(
            self._found,
            state_after=after,
            samples=taken.samples,
            sampling=taken.sampling,
            statistics=summarise(taken.samples),
        )
        self._require_unthrottled(before, after, taken)
        return taken

    def _require_unthrottled(self, before: DeviceState, after: DeviceState, taken: Taken) -> None:
        if before.throttled_ns is None or after.throttled_ns is None or taken.sampling.elapsed_seconds <= 0:
            return
        fraction = (after.throttled_ns - before.throttled_ns) / 1e9 / taken.sampling.elapsed_seconds
        if fraction > self._plan.options.throttle_limit:
            raise CaseFailure(
                Outcome.THROTTLED,
                f"the device was throttled for {fraction:.1%} of the measured time "
                f"(limit {self._plan.options.throttle_limit:.1%}, reason: {after.throttle_reason or 'unknown'}); "
                "let it cool down or check its power and cooling",
            )

    def _recheck(self, workload: Workload, reference: "HostArrays", opening: Correctness) -> None:
        """Check what the last timed launch left behind: a race may spare the first launch."""
        self._device.synchronize()
        last = compare(workload.outputs(), reference, opening.limit, poisoned=False)
        if not last.passed:
            self._found = replace(self._found, correctness=last)
        require(last, "after measuring")

    def _conclude(self, taken: Taken, warmup: Warmup) -> None:
        statistics = self._found.statistics
        assert statistics is not None, "samples are summarised where they are taken"
        flops = self._benchmark.flops(self._case.params) if self._benchmark.flops else None
        size = self._benchmark.bytes(self._case.params) if self._benchmark.bytes else None
        reason = implausible(statistics.median, self._found.dtype, flops, self._ceilings)
        marks = {
            "drill": self._benchmark.name in self._plan.options.drill,
            "warmup_incomplete": not warmup.complete,
            "drifting": taken.sampling.stop_reason is StopReason.DRIFTING,
        }
        self._found = replace(
            self._found,
            outcome=Outcome.IMPLAUSIBLE if reason else Outcome.OK,
            reason=reason or "",
            failed_phase=Phase.MEASURE if reason else None,
            warmup=warmup,
            metrics=derive_metrics(statistics, self._found.dtype, flops, size, self._ceilings),
            flops=flops,
            bytes=size,
            flags=tuple(name for name, holds in marks.items() if holds),
        )

    def _fail(self, outcome: Outcome, reason: str) -> None:
        self._found = replace(self._found, outcome=outcome, reason=reason, failed_phase=self._phase)

    def _describe(self, error: Exception) -> str:
        place = ""
        if (trace := error.__traceback__) is not None:
            while trace.tb_next is not None:
                trace = trace.tb_next
            place = f" at {trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
        return (
            f"{self._benchmark.name} raised {type(error).__name__} in phase {self._phase}{place}: {error}; "
            "this is a fault of the benchmark or the engine, not of the device: please report it"
        )
