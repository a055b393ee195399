"""One attempt: policy, device, plan, then its trials one after the other."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tesserabench.agent.locks import device_locks, lock_path
from tesserabench.agent.policy import check_policy, choose_device
from tesserabench.agent.roster import Progress
from tesserabench.agent.runner import translation
from tesserabench.agent.runner.companions import companions
from tesserabench.agent.runner.planning import AttemptPlan, plan_attempt
from tesserabench.agent.runner.recorder import Recorder
from tesserabench.agent.runner.station import Station
from tesserabench.agent.runner.trial import Disturbed, Trial
from tesserabench.agent.runner.trial_log import TrialOrder
from tesserabench.bench import Outcome
from tesserabench.v1 import measurement_pb2 as pb
from tesserabench.v1.agent_service_pb2 import Assignment
from tesserabench.v1.host_pb2 import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnd:
    """How an attempt ended."""

    outcome: pb.Outcome.ValueType
    reason: str = ""


class Attempt:
    """Carries out one assignment. `run` may be cancelled; `wind_up` then writes the end of the trial that was open."""

    def __init__(
        self, station: Station, assignment: Assignment, recorder: Recorder, report: Callable[[Progress], None]
    ) -> None:
        self._station, self._assignment, self._recorder = station, assignment, recorder
        self._report = report
        self._trial: Trial | None = None
        self._outcomes: Counter[Outcome] = Counter()
        self._done = 0
        self._total = 0

    async def run(self) -> AttemptEnd:
        """Measure everything that was asked for.

        Raises:
            AttemptRefused: this host may not, or cannot, run it.
            DeviceBusy: the device stayed in use by others.
            DiskFull, SpoolFull: the disk log cannot take a record; the worker has been stopped.
        """
        spec, settings = self._assignment.spec, self._station.settings
        check_policy(settings.policy, spec)
        device, scenario = choose_device(spec.device, self._station.devices)
        require_idle = settings.policy.on_foreign_process == "wait"
        # The look-up of a suite imports NumPy, which takes a while the first time.
        plan = await asyncio.to_thread(
            plan_attempt, self._assignment.name, spec, device.kind, require_idle=require_idle
        )
        self._total = plan.case_count
        self._report(Progress(cases_total=self._total, phase="waiting for the device"))
        benchmarks = {case.benchmark for trial in plan.trials for case in trial.cases}
        devices = (device, *companions(benchmarks, device, self._station.devices))
        async with device_locks(map(self._lock_path, devices), settings.device_wait_seconds):
            await self._run_trials(plan, devices, self._station.device_spec(device, scenario))
        return self._end()

    async def wind_up(self, outcome: pb.Outcome.ValueType, reason: str) -> None:
        """Write the end of a trial that was stopped."""
        if self._trial is not None:
            await self._trial.log.finish(outcome, reason)

    async def _run_trials(self, plan: AttemptPlan, devices: tuple[Device, ...], device_spec: str) -> None:
        """Run every trial on the first of these devices; the others are used by its work."""
        device, *beside = devices
        folder = await asyncio.to_thread(self._station.make_folder)
        spec, settings, watch = self._assignment.spec, self._station.settings, self._station.watch
        placement, facts = await watch.placement(device), await watch.facts(device)
        case_limit = spec.case_timeout.ToNanoseconds() / 1e9 if spec.HasField("case_timeout") else None
        for number, programme in enumerate(plan.programmes):
            ready = [await self._station.await_ready(item, self._report_wait) for item in devices]
            flags = tuple(dict.fromkeys(flag for found in ready for flag in found))
            async with contextlib.AsyncExitStack() as stack:
                policies = [await stack.enter_async_context(watch.clocks(item)) for item in devices]
                order = TrialOrder(
                    number=number,
                    programme=programme,
                    device=device,
                    device_spec=device_spec,
                    environment=self._station.environment(folder, device, beside),
                    folder=folder,
                    user=self._station.user,
                    budgets=settings.budgets,
                    case_limit=case_limit or None,
                    facts=facts,
                    placement=placement,
                    clock_policy=policies[0],
                    # A pair that was throttled is one worker less: half of it cannot be measured again by itself.
                    retries=0 if programme.duet else settings.cooling.retries,
                    cooldown_seconds=settings.cooling.pause_seconds,
                    memory_bytes=settings.worker_memory_bytes,
                    flags=flags,
                )
                await self._run_trial(order, partial(self._station.disturbed, devices))
            if self._outcomes[Outcome.DEVICE_LOST]:
                # Further trials would only repeat it.
                return

    async def _run_trial(self, order: TrialOrder, disturbed: Disturbed) -> None:
        self._trial = Trial(order, self._recorder, self._station.watch, self._progress, disturbed)
        await self._trial.run()
        self._outcomes += self._trial.log.outcomes

    def _report_wait(self, why: str) -> None:
        self._report(Progress(cases_done=self._done, cases_total=self._total, phase=why))

    def _progress(self, case: str, phase: str) -> None:
        if not phase:
            self._done += 1
        self._report(
            Progress(cases_done=self._done, cases_total=self._total, current_case=case, phase=phase or "between cases")
        )

    def _lock_path(self, device: Device) -> Path:
        settings = self._station.settings
        # A simulated device is this agent's own; nobody else can disturb it.
        shared = settings.state_dir / "locks" if device.kind == "simulated" else settings.lock_dir
        return lock_path(device.uuid, shared, settings.state_dir)

    def _end(self) -> AttemptEnd:
        """An attempt is ok when it was carried out and gave a result: each case has an outcome of its own."""
        failed = self._outcomes.total() - self._outcomes[Outcome.OK]
        if not failed:
            return AttemptEnd(outcome=pb.OUTCOME_OK)
        counts = ", ".join(
            f"{count} {outcome.value}" for outcome, count in self._outcomes.most_common() if outcome is not Outcome.OK
        )
        reason = f"{failed} of {self._outcomes.total()} case results are not ok: {counts}"
        worst = next(outcome for outcome, _ in self._outcomes.most_common() if outcome is not Outcome.OK)
        return AttemptEnd(
            outcome=pb.OUTCOME_OK if self._outcomes[Outcome.OK] else translation.OUTCOMES[worst], reason=reason
        )
