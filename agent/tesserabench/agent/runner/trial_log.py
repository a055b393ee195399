"""The records of one trial: what was found out about it so far, and what of that has been written."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from tesserabench.agent.runner import translation
from tesserabench.agent.runner.capture import Lines
from tesserabench.agent.runner.programme import Key, Programme, key_of
from tesserabench.agent.runner.recorder import Recorder
from tesserabench.agent.runner.verdict import Judge, Judged, own_window
from tesserabench.agent.runner.watch import DeviceWatch, Facts, Placement, Throttling, Track
from tesserabench.agent.runner.xids import explain_xid, xid_sentence
from tesserabench.agent.settings import Budgets
from tesserabench.bench import (
    Case,
    Ceilings,
    Measurement,
    Mode,
    Outcome,
    TrialHeader,
    device_kind,
    find_benchmark,
)
from tesserabench.bench.codec import decode
from tesserabench.v1 import measurement_pb2 as pb
from tesserabench.v1.host_pb2 import Device
from tesserabench.v1.ingest_service_pb2 import TrialFinished, TrialStarted

# Share of the time from which on a device counts as throttled.
_THROTTLED = 0.01
_FREE = frozenset({pb.THROTTLE_CLASS_CLEAN, pb.THROTTLE_CLASS_POWER_LIMITED, pb.THROTTLE_CLASS_LOCKED})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOrder:
    """What a trial needs to know.

    `device_spec` is bench's name of the device. `case_limit` bounds one case in seconds. `user` is who the worker
    becomes; absent for the agent's own user.
    """

    number: int
    programme: Programme
    device: Device
    device_spec: str
    environment: Mapping[str, str]
    folder: Path
    user: str | None
    budgets: Budgets
    case_limit: float | None
    facts: Facts = field(default_factory=Facts)
    placement: Placement = field(default_factory=Placement)
    clock_policy: str = ""
    retries: int = 0
    """How often a case that was throttled is measured again."""
    cooldown_seconds: float = 0.5
    """The first pause before that; each further one is twice as long."""
    memory_bytes: int | None = None
    """Memory at which a worker is stopped; None for nine tenths of what there is."""
    flags: tuple[str, ...] = ()
    """Remarks on the trial that are known before it begins."""

    @property
    def limits(self) -> Mapping[str, float]:
        """The budget of each phase in seconds; `measure` follows the plan."""
        return self.budgets.model_dump(include={"startup", "ceiling", "prepare", "verify", "warmup", "shutdown"})


class TrialLog:
    """Writes `TrialStarted` when it is known where the trial runs, then results and lines, then `TrialFinished`."""

    def __init__(self, order: TrialOrder, recorder: Recorder, watch: DeviceWatch) -> None:
        self._order, self._recorder, self._watch = order, recorder, watch
        self._remaining: dict[Key, Case] = order.programme.wanted
        self._total = len(self._remaining)
        self._judge = Judge(order.retries)
        self._device_info: Mapping[str, Any] = {}
        self._placed = Placement()
        self._header: TrialHeader | None = None
        self._closing: Ceilings | None = None
        self._flags: dict[str, None] = dict.fromkeys(order.flags)
        self._after: pb.DeviceState | None = None
        self._measured_seconds = 0.0
        self._xids_told = 0
        self._open = False
        self.track: Track | None = None
        self.idle_watts: float | None = None
        """Power of the device just before the trial, when it was asked for."""
        self.restarted = False
        """Whether a worker of this trial has not got through."""
        self.retrying: set[str] = set()
        """Cases that the last worker measured and that must be measured again."""
        self.before: pb.DeviceState | None = None
        self.pid = 0
        self.workers = 0
        self.exit_status: int | None = None
        self.startup_seconds: float | None = None
        self.outcomes: Counter[Outcome] = Counter()
        """How many cases ended with which outcome."""

    @property
    def remaining(self) -> tuple[Case, ...]:
        """The cases without a result, once for each arm."""
        return tuple(self._remaining.values())

    @property
    def left(self) -> frozenset[Key]:
        """What has no result yet."""
        return frozenset(self._remaining)

    @property
    def any_sustained(self) -> bool:
        """Whether a case is measured at power equilibrium, so that its energy is wanted."""
        return any(self._mode_of(case) is Mode.SUSTAINED for case in self._remaining.values())

    def opened(self, message: Mapping[str, Any]) -> None:
        """A worker has opened the device."""
        self._device_info = message["device"]
        if self._order.device.kind == "simulated" and self.workers == 1:
            self.before = translation.state_to_wire(message["state"], _now())

    async def headed(self, header: TrialHeader) -> None:
        """A worker has told where it runs."""
        self._header = header
        await self.start()

    def placed(self, message: Mapping[str, Any]) -> None:
        """A worker has told where it runs."""
        self._placed = Placement(processors=tuple(message["processors"]), numa_node=message["numa_node"])

    def flag(self, word: str) -> None:
        """Remark on the whole trial."""
        self._flags[word] = None

    def closing(self, message: Mapping[str, Any]) -> None:
        """A worker has told the state of the device at its end, and its last probes."""
        result = message.get("result") or {}
        for word in result.get("flags") or ():
            self.flag(str(word))
        if result.get("closing") is not None:
            self._closing = decode(Ceilings, result["closing"], "closing")
        if self._order.device.kind == "simulated" and "state" in message:
            self._after = translation.state_to_wire(message["state"], _now())

    async def start(self) -> None:
        """Write that the trial began, unless that has been written."""
        if self._open:
            return
        order = self._order
        started = TrialStarted(
            trial=order.number,
            device=translation.device_to_wire(order.device, self._device_info),
            pid=self.pid,
            case_count=self._total,
            seed=order.programme.plan.seed,
            arm_order=order.programme.arm_order,
            state=self.before,
            clock_policy=order.clock_policy,
            processors=self._placed.processors,
            numa_node=self._placed.numa_node,
        )
        if self._header is not None:
            started.environment.CopyFrom(translation.environment_to_wire(self._header, order.facts))
        await self._recorder.trial_started(started)
        self._open = True

    async def measured(self, measurement: Measurement) -> bool:
        """Write what a case gave; False when it was throttled and is to be measured again, so that nothing was."""
        key = key_of(measurement)
        case = self._remaining[key]
        await self.start()
        judged = await self._judged(measurement)
        if judged.again:
            self.retrying.add(case.id)
            return False
        measurement = judged.measurement
        position = self._total - len(self._remaining)
        result = translation.result_to_wire(measurement, self._header, position, retried=judged.retried)
        result.flags.extend(flag for flag in (*judged.flags, *self._order.flags) if flag not in result.flags)
        if self.restarted:
            result.flags.append("worker_restarted")
        result.throttle = judged.throttling.kind
        result.throttle_fractions.update(judged.throttling.fractions)
        result.measurements.extend(translation.metric_to_wire(value) for value in judged.metrics)
        await self._recorder.case_finished(self._order.number, result)
        del self._remaining[key]
        self.outcomes[measurement.outcome] += 1
        if measurement.sampling is not None:
            self._measured_seconds += measurement.sampling.elapsed_seconds
        return True

    async def _judged(self, measurement: Measurement) -> Judged:
        """A result in the light of what the device did meanwhile."""
        begin, end = measurement.measuring_monotonic_ns, measurement.measured_monotonic_ns
        window = own_window(measurement) if self._order.device.kind == "simulated" else None
        if window is None and self.track is not None and begin is not None and end is not None:
            window = await self.track.window(begin, end)
        if measurement.outcome in {Outcome.DEVICE_ERROR, Outcome.DEVICE_LOST}:
            outcome, reason = await self.with_xids(measurement.outcome, measurement.reason)
            measurement = replace(measurement, outcome=outcome, reason=reason)
        judged = self._judge.judge(measurement, window, self.idle_watts)
        if judged.finding and not judged.again:
            self._watch.finding(self._order.device, *judged.finding)
        return judged

    async def with_xids(self, outcome: Outcome, reason: str) -> tuple[Outcome, str]:
        """A failure, with what the driver has reported of the device since the last one."""
        if self.track is None:
            return outcome, reason
        found = (await self.track.xids())[self._xids_told :]
        self._xids_told += len(found)
        for number in dict.fromkeys(found):
            sentence = xid_sentence(number)
            reason = "; ".join(text for text in (reason, sentence) if text)
            if explain_xid(number).lost:
                outcome = Outcome.DEVICE_LOST
            if explain_xid(number).hardware:
                self._watch.finding(self._order.device, "xid", sentence)
        return outcome, reason

    async def give_up(self, case: str, outcome: Outcome, reason: str) -> int:
        """Write that a case, and what belongs to it, gave nothing, unless it has a result; how many results that is."""
        programme = self._order.programme
        struck = programme.struck(case, self._remaining)
        for arm, case_id in struck:
            found = self._remaining[arm, case_id]
            mode, seed = self._mode_of(found), programme.plan.seed
            await self.measured(Measurement(case=found, mode=mode, outcome=outcome, reason=reason, seed=seed, arm=arm))
        return len(struck)

    async def give_up_orphans(self, reason: str) -> int:
        """Write that sides of pairs whose other side is lost gave nothing; how many that is."""
        return sum(
            [
                await self.give_up(case, Outcome.INTERRUPTED, f"the other arm of the pair was lost: {reason}")
                for _, case in self._order.programme.orphans(self._remaining)
            ]
        )

    def _mode_of(self, case: Case) -> Mode:
        """The mode that the plan names, else the benchmark's own."""
        kind = device_kind(self._order.device_spec)
        return self._order.programme.plan.mode or find_benchmark(case.benchmark).default_mode(kind)

    async def printed(self, lines: tuple[Lines, ...], *, last: bool) -> None:
        """Write what a worker printed. Before `TrialStarted` only the `last` lines make it be written."""
        for item in lines:
            if last:
                await self.start()
            await self._recorder.lines(item, self._order.number)

    @property
    def started(self) -> bool:
        """Whether the trial has a beginning and no end in the log."""
        return self._open

    async def finish(self, outcome: pb.Outcome.ValueType, reason: str) -> None:
        """Write how the trial ended, unless nothing of it has been written, or its end has."""
        if not self._open:
            return
        after = self._after or await self._watch.state(self._order.device)
        finished = TrialFinished(
            trial=self._order.number, outcome=outcome, reason=reason, state=after, exit_status=self.exit_status
        )
        if self.track is not None:
            await self._add_readings(finished, after, self.track)
        if self._header is not None:
            finished.ceilings.extend(translation.ceilings_to_wire(self._header, self._closing))
        finished.flags.extend(self._flags)
        if self.startup_seconds is not None:
            finished.startup.FromNanoseconds(int(self.startup_seconds * 1e9))
        await self._recorder.trial_finished(finished)
        self._open = False

    async def _add_readings(self, finished: TrialFinished, after: pb.DeviceState, track: Track) -> None:
        """What the device did during the trial."""
        throttling = self._own_throttling(after) or track.conclude(after)
        finished.throttle = throttling.kind
        finished.throttle_fractions.update(throttling.fractions)
        xids = [xid_sentence(number) for number in dict.fromkeys(await track.xids())]
        unsaid = [text for text in (throttling.remark, *xids) if text and text not in finished.reason]
        finished.reason = "; ".join(text for text in (finished.reason, *unsaid) if text)
        if throttling.void:
            finished.outcome = pb.OUTCOME_DEVICE_ERROR
            self.flag("void")
        if throttling.kind in _FREE and self._measured_seconds:
            self._watch.recovered(self._order.device, "thermal", "brake")
        telemetry = await track.telemetry()
        if telemetry is not None:
            finished.telemetry.CopyFrom(telemetry)

    def _own_throttling(self, after: pb.DeviceState) -> Throttling | None:
        """A simulated device lives in a time of its own, which only its samples know."""
        if self._order.device.kind != "simulated" or self.before is None or not self._measured_seconds:
            return None
        throttled = after.throttle_ns.get("hw_thermal", 0) - self.before.throttle_ns.get("hw_thermal", 0)
        share = min(1.0, throttled / 1e9 / self._measured_seconds)
        kind = pb.THROTTLE_CLASS_THERMAL if share >= _THROTTLED else pb.THROTTLE_CLASS_CLEAN
        return Throttling(kind=kind, fractions={"hw_thermal": share})


def _now() -> Timestamp:
    stamp = Timestamp()
    stamp.GetCurrentTime()
    return stamp
