"""The records of one trial: what was found out about it so far, and what of that has been written."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from tesserabench.agent.runner import translation
from tesserabench.agent.runner.capture import Lines
from tesserabench.agent.runner.recorder import Recorder
from tesserabench.agent.runner.watch import DeviceWatch, Throttling, Track
from tesserabench.agent.settings import Budgets
from tesserabench.bench import (
    Case,
    Measurement,
    Mode,
    Outcome,
    TrialHeader,
    TrialPlan,
    device_kind,
    find_benchmark,
)
from tesserabench.v1 import measurement_pb2 as pb
from tesserabench.v1.host_pb2 import Device
from tesserabench.v1.ingest_service_pb2 import TrialFinished, TrialStarted

# Share of the time from which on a device counts as throttled.
_THROTTLED = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOrder:
    """What a trial needs to know.

    `device_spec` is bench's name of the device. `case_limit` bounds one case in seconds. `user` is who the worker
    becomes; absent for the agent's own user.
    """

    number: int
    plan: TrialPlan
    device: Device
    device_spec: str
    environment: Mapping[str, str]
    folder: Path
    user: str | None
    budgets: Budgets
    case_limit: float | None

    @property
    def limits(self) -> Mapping[str, float]:
        """The budget of each phase in seconds; `measure` follows the plan."""
        return self.budgets.model_dump(include={"startup", "ceiling", "prepare", "verify", "warmup", "shutdown"})


class TrialLog:
    """Writes `TrialStarted` when it is known where the trial runs, then results and lines, then `TrialFinished`."""

    def __init__(self, order: TrialOrder, recorder: Recorder, watch: DeviceWatch) -> None:
        self._order, self._recorder, self._watch = order, recorder, watch
        self._remaining: dict[str, Case] = {case.id: case for case in order.plan.cases}
        self._device_info: Mapping[str, Any] = {}
        self._header: TrialHeader | None = None
        self._after: pb.DeviceState | None = None
        self._measured_seconds = 0.0
        self._open = False
        self.before: pb.DeviceState | None = None
        self.pid = 0
        self.workers = 0
        self.exit_status: int | None = None
        self.startup_seconds: float | None = None
        self.outcomes: Counter[Outcome] = Counter()
        """How many cases ended with which outcome."""

    @property
    def remaining(self) -> tuple[Case, ...]:
        """The cases without a result."""
        return tuple(self._remaining.values())

    def opened(self, message: Mapping[str, Any]) -> None:
        """A worker has opened the device."""
        self._device_info = message["device"]
        if self._order.device.kind == "simulated" and self.workers == 1:
            self.before = translation.state_to_wire(message["state"], _now())

    async def headed(self, header: TrialHeader) -> None:
        """A worker has told where it runs."""
        self._header = header
        await self.start()

    def closing(self, message: Mapping[str, Any]) -> None:
        """A worker has told the state of the device at its end."""
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
            case_count=len(order.plan.cases),
            seed=order.plan.seed,
            state=self.before,
        )
        if self._header is not None:
            started.environment.CopyFrom(translation.environment_to_wire(self._header))
        await self._recorder.trial_started(started)
        self._open = True

    async def measured(self, measurement: Measurement) -> None:
        """Write what a case gave."""
        case = self._remaining[measurement.case.id]
        await self.start()
        position = len(self._order.plan.cases) - len(self._remaining)
        result = translation.result_to_wire(measurement, self._header, position)
        if self.workers > 1:
            result.flags.append("worker_restarted")
        await self._recorder.case_finished(self._order.number, result)
        del self._remaining[case.id]
        self.outcomes[measurement.outcome] += 1
        if measurement.sampling is not None:
            self._measured_seconds += measurement.sampling.elapsed_seconds

    async def give_up(self, case: str, outcome: Outcome, reason: str) -> None:
        """Write that a case gave nothing, unless it has a result."""
        if case in self._remaining:
            plan = self._order.plan
            await self.measured(
                Measurement(
                    case=self._remaining[case], mode=self._mode_of(case), outcome=outcome, reason=reason, seed=plan.seed
                )
            )

    def _mode_of(self, case: str) -> Mode:
        """The mode that the plan names, else the benchmark's own."""
        kind = device_kind(self._order.device_spec)
        found = find_benchmark(self._remaining[case].benchmark)
        return self._order.plan.mode or found.default_mode(kind)

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

    async def finish(self, outcome: pb.Outcome.ValueType, reason: str, track: Track | None = None) -> None:
        """Write how the trial ended, unless nothing of it has been written, or its end has."""
        if not self._open:
            return
        after = self._after or await self._watch.state(self._order.device)
        finished = TrialFinished(
            trial=self._order.number, outcome=outcome, reason=reason, state=after, exit_status=self.exit_status
        )
        if track is not None:
            throttling = self._own_throttling(after) or track.conclude(after)
            finished.throttle = throttling.kind
            finished.throttle_fractions.update(throttling.fractions)
            finished.reason = "; ".join(text for text in (reason, throttling.remark) if text)
        if self._header is not None:
            finished.ceilings.extend(translation.ceilings_to_wire(self._header))
        if self.startup_seconds is not None:
            finished.startup.FromNanoseconds(int(self.startup_seconds * 1e9))
        await self._recorder.trial_finished(finished)
        self._open = False

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
