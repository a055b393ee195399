"""One case from preparation to result: prepare, verify, warm up, measure, check again, derive."""

import time
from collections.abc import Callable
from dataclasses import replace

from tesserabench.bench.case import Case
from tesserabench.bench.case_work import CaseWork
from tesserabench.bench.definition import Benchmark
from tesserabench.bench.derive import Work, derive_cycles, derive_facts, derive_metrics, implausible
from tesserabench.bench.device.protocol import CacheUse, Device, DeviceState, TellingWork
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.measurement import Ceilings, Measurement
from tesserabench.bench.metric import MetricValue
from tesserabench.bench.plan import TrialPlan
from tesserabench.bench.timing.sample_flags import flag_samples, is_low_clock
from tesserabench.bench.timing.sampling import Taken, collector_paused, sustain, take_samples
from tesserabench.bench.timing.statistics import Statistics, summarise
from tesserabench.bench.timing.throttling import Throttling, cool_down, judge
from tesserabench.bench.vocabulary import CacheKind, Flag, Mode, Outcome, Phase, StopReason
from tesserabench.bench.watch import Watch

FLOORS = 5
"""A sample shorter than this many times what an empty timed region reads is flagged."""


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
        self._throttling = Throttling()
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
        self._work = self._new_work()

    def measure(self) -> tuple[Measurement, bool]:
        """Return the measurement, and whether nothing more can be measured in this trial."""
        fatal = self.attempt(self._run)
        found, fatal_end = self.finish()
        return found, fatal or fatal_end

    def finish(self) -> tuple[Measurement, bool]:
        """Give everything back; return the measurement, and whether that ended the trial."""
        self._found = replace(self._found, correctness=self._work.correctness)
        fatal = self.attempt(self._work.close)
        return replace(self._found, ended_monotonic_ns=time.monotonic_ns()), fatal

    @property
    def work(self) -> CaseWork:
        """The work that is measured."""
        return self._work

    @property
    def failed(self) -> bool:
        """Whether a step has ended the case."""
        return self._found.failed_phase is not None

    def attempt(self, step: Callable[[], None]) -> bool:
        """Run a step; what it raises becomes the outcome. Return whether the trial is over."""
        try:
            step()
        except KeyboardInterrupt:
            self._fail(Outcome.INTERRUPTED, "the process was interrupted; run it again")
            return True
        except SystemExit:
            self._fail(Outcome.HARNESS_ERROR, f"{self._benchmark.name} asked to end the process; let it raise an error")
        except Exception as error:  # noqa: BLE001 - whatever a benchmark raises is its case's outcome, not the trial's end
            failure = self._device.failure(error)
            if isinstance(failure, CaseFailure):
                self._fail(failure.outcome, str(failure))
                return failure.fatal
            self._fail(Outcome.HARNESS_ERROR, self._describe(error))
        return False

    def _run(self) -> None:
        self.get_ready()
        with collector_paused():
            self.enter(Phase.MEASURE)
            taken = self._sample()
        self.conclude(taken)

    def _new_work(self) -> CaseWork:
        return CaseWork(
            device=self._device,
            benchmark=self._benchmark,
            case=self._case,
            mode=self._found.mode,
            seed=self._plan.seed,
            options=self._plan.options,
            keep_going=self._watch.keep_going,
        )

    def rehearse(self) -> None:
        """Prepare, launch once, and give everything back: what allocators and libraries do only once is done then."""
        self.enter(Phase.PREPARE)
        rehearsal = self._new_work()
        try:
            rehearsal.prepare()
            for workload in rehearsal.sets.workloads:
                workload.launch()
            self._device.synchronize()
        finally:
            rehearsal.close()

    def get_ready(self) -> None:
        """Prepare, verify and warm up; what is wrong is raised, for `attempt` to make an outcome of it."""
        self.enter(Phase.PREPARE)
        self._work.prepare()
        self.enter(Phase.VERIFY)
        self._work.verify()
        with collector_paused():
            self.enter(Phase.WARMUP)
            warmup = self._work.warm_up()
        self._found = replace(self._found, warmup=warmup, kernels=self._device.kernels())

    def conclude(self, taken: Taken) -> None:
        """Check what the last launches left behind, and derive the result."""
        self._work.verifier.require("after measuring")
        self._work.verifier.require_intact_inputs()
        self._conclude(taken)

    def enter(self, phase: Phase) -> None:
        """Begin a phase."""
        self._watch.keep_going()
        self._phase = phase
        self._watch.observer.phase(self._case, phase, self._plan.options.budget_of(phase, self._found.mode))
        self._device.begin(self._case, phase)

    def _sample(self) -> Taken:
        """Take samples, a second time after a pause where the device was too hot at the first."""
        taken = self._try()
        if self._throttling.thermal:
            cool_down(self._work.setup, self._found.state_before)
            self._throttling = replace(self._throttling, retried=True)
            taken = self._try()
        self.require_unthrottled()
        return taken

    def require_unthrottled(self) -> None:
        """Raise CaseFailure(throttled) when the device was slowed down while the samples were taken."""
        if self._throttling.reason:
            raise CaseFailure(Outcome.THROTTLED, self._throttling.reason)

    def _try(self) -> Taken:
        before = self._device.state()
        take = sustain if self._found.mode is Mode.SUSTAINED else take_samples
        taken = take(self._work.setup, self._work.armed, self._work.verifier)
        self.accept(taken, before, self._device.state())
        return taken

    def accept(self, taken: Taken, before: DeviceState, after: DeviceState) -> None:
        """Keep the samples, and the states of the device around them."""
        statistics = summarise(taken.samples, taken.block)
        retried = self._throttling.retried
        self._found = replace(
            self._found,
            state_before=before,
            state_after=after,
            samples=taken.samples,
            clock_mhz=taken.clock_mhz,
            offset_us=taken.offset_us,
            block=taken.block,
            sample_flags=flag_samples(taken.samples, statistics, taken.clock_mhz, retried=retried),
            sampling=taken.sampling,
            statistics=statistics,
            measuring_monotonic_ns=taken.measuring_monotonic_ns,
            measured_monotonic_ns=taken.measured_monotonic_ns,
        )
        found = judge(before, after, taken.sampling.elapsed_seconds, self._plan.options.throttle_limit)
        self._throttling = replace(found, retried=retried)

    def _conclude(self, taken: Taken) -> None:
        statistics = self._found.statistics
        assert statistics is not None, "samples are summarised where they are taken"
        benchmark, params = self._benchmark, self._case.params
        work = Work(
            dtype=self._found.dtype,
            flops=benchmark.flops(params) if benchmark.flops else None,
            bytes=benchmark.bytes(params) if benchmark.bytes else None,
            items=benchmark.items(params) if benchmark.items else None,
        )
        flags = self._flags(taken, statistics)
        reason = implausible(statistics.median, work, self._ceilings, self._device.info)
        if taken.escaped:
            reason = (
                "the host waited far longer than the timed regions lasted: work went on where the timer did not look, "
                "on another stream or after the launch; let `launch` enqueue everything on the current stream"
            )
        self._found = replace(
            self._found,
            outcome=Outcome.IMPLAUSIBLE if reason else Outcome.OK,
            reason=reason or "",
            failed_phase=Phase.MEASURE if reason else None,
            sampling=replace(taken.sampling, cache=self._cache(taken.sampling.cache, flags)),
            flops=work.flops,
            bytes=work.bytes,
            items=work.items,
            flags=flags,
        )
        self._found = replace(self._found, metrics=self._metrics(statistics, work))

    def _cache(self, used: CacheUse, flags: tuple[str, ...]) -> CacheUse:
        """Return how the cache was treated, with what only the checks know of a rotation."""
        if self._found.mode is not Mode.ROTATING:
            return used
        sets = self._work.sets
        kind = CacheKind.UNKNOWN if Flag.CACHE_UNKNOWN in flags else used.kind
        return CacheUse(kind=kind, bytes=sets.bytes, copies=len(sets.workloads))

    def _metrics(self, statistics: Statistics, work: Work) -> tuple[MetricValue, ...]:
        """Return all metrics, one of a name: what the formulas give comes before what the work tells of itself."""
        found, armed = self._found, self._work.armed
        workload = self._work.sets.workloads[0]
        values = (
            *derive_metrics(statistics, work, self._ceilings),
            *derive_cycles(statistics, found.samples, found.clock_mhz),
            *(workload.metrics(statistics) if isinstance(workload, TellingWork) else ()),
            *derive_facts(
                self._work.correctness, self._work.determinism, found.kernels, armed.first_ns / statistics.median
            ),
        )
        return tuple({value.name: value for value in reversed(values)}.values())[::-1]

    def _flags(self, taken: Taken, statistics: Statistics) -> tuple[str, ...]:
        work, sampling = self._work, taken.sampling
        rotating = self._found.mode is Mode.ROTATING
        marks = {
            Flag.DRILL: self._benchmark.name in self._plan.options.drill,
            Flag.WARMUP_INCOMPLETE: self._found.warmup is not None and not self._found.warmup.complete,
            Flag.DRIFTING: sampling.stop_reason is StopReason.DRIFTING,
            Flag.BIMODAL: (statistics.mode_count or 1) > 1,
            Flag.LOW_CLOCK: is_low_clock(self._found.sample_flags),
            Flag.BELOW_FLOOR: statistics.median * sampling.iterations < FLOORS * sampling.timer.floor_ns,
            Flag.ESCAPED_WORK: taken.escaped,
            # Where outputs cannot tell whether a set was visited, nobody knows: only a count of zero clears it.
            Flag.CACHE_UNKNOWN: rotating and (work.sets.cached or work.verifier.unvisited() != 0),
            Flag.ROTATION_SHORT: rotating and work.sets.short,
            Flag.UNCHECKED: not work.verifier.checked,
            Flag.RETRIED: self._throttling.retried,
            Flag.POWER_LIMITED: self._throttling.power_limited and self._found.mode is not Mode.SUSTAINED,
            Flag.NONDETERMINISTIC: work.determinism is not None and work.determinism < 1,
        }
        raised = [flag.value for flag, holds in marks.items() if holds]
        return tuple(dict.fromkeys([*raised, *work.armed.timing.remarks]))

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
