"""One trial: a worker measures the cases of a plan; when it hangs or dies, a fresh one measures the rest."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from tesserabench.agent.completion import complete
from tesserabench.agent.errors import RunnerError
from tesserabench.agent.runner import ending, translation
from tesserabench.agent.runner.budget import PhaseClock
from tesserabench.agent.runner.ending import Ending
from tesserabench.agent.runner.memory import MemoryGuard
from tesserabench.agent.runner.process import Launch, Worker, start_worker
from tesserabench.agent.runner.recorder import Recorder
from tesserabench.agent.runner.station import CONTENDED
from tesserabench.agent.runner.trial_log import TrialLog, TrialOrder
from tesserabench.agent.runner.verdict import HEAT, Pauses
from tesserabench.agent.runner.watch import DeviceWatch
from tesserabench.bench import BenchError, Measurement, Outcome, TrialHeader
from tesserabench.bench.worker.frames import Message

# After so many workers in a row that brought no result of their own, the device is taken for broken.
_FRUITLESS_WORKERS = 3
_GUARD_PERIOD = 0.5

Report = Callable[[str, str], None]
"""Told the case and the phase that a worker is in; with empty texts, that a case has its result."""
Disturbed = Callable[[], Awaitable[bool]]
"""Whether somebody else computed on the device, asked just after the last worker has ended."""


async def _undisturbed() -> bool:
    return False


class Trial:
    """Runs the workers of one trial."""

    def __init__(
        self,
        order: TrialOrder,
        recorder: Recorder,
        watch: DeviceWatch,
        report: Report,
        disturbed: Disturbed = _undisturbed,
    ) -> None:
        self._order, self._watch, self._report, self._disturbed = order, watch, report, disturbed
        self.log = TrialLog(order, recorder, watch)

    async def run(self) -> None:
        """Measure every case, whatever becomes of the workers.

        Raises:
            DiskFull, SpoolFull: the disk log cannot take a record; the worker has been stopped.
        """
        device = self._order.device
        self.log.before = await self._watch.state(device)
        if self.log.any_sustained:
            self.log.idle_watts = await self._watch.idle_watts(device)
        with self._watch.track(device, self.log.before) as self.log.track:
            problems = await self._run_workers()
            if await self._disturbed():
                self.log.flag(CONTENDED)
            outcome = problems[0].outcome if problems else Outcome.OK
            reason = "; ".join(dict.fromkeys(problem.reason for problem in problems if problem.reason))
            await self.log.finish(translation.OUTCOMES[outcome], reason)

    async def _run_workers(self) -> list[Ending]:
        """Have workers measure until every case has a result; how those ended that did not get through."""
        problems: list[Ending] = []
        fruitless = 0
        pauses = Pauses(self._order.cooldown_seconds)
        while remaining := self.log.remaining:
            self.log.retrying.clear()
            end = await self._run_worker()
            left = self.log.remaining
            if end.ok and not left:
                break
            if self.log.retrying:
                await self._cool_down(pauses)
            if end.ok and {case.id for case in left} == self.log.retrying:
                continue
            if end.ok:
                reason = "the worker left cases out; this is a fault of the engine, please report it"
                end = Ending(outcome=Outcome.HARNESS_ERROR, reason=reason)
            end = await self._with_xids(end)
            problems.append(end)
            self.log.restarted = True
            progress = len(left) < len(remaining) or bool(self.log.retrying)
            fruitless = 0 if progress else fruitless + 1
            if end.case is not None:
                self._count(await self.log.give_up(end.case, end.outcome, end.reason))
            self._count(await self.log.give_up_orphans(end.reason))
            # Nothing is to be hoped for when the device is gone, or when a worker does not even come to a case.
            stuck = end.case is None and not progress
            if stuck or end.outcome is Outcome.DEVICE_LOST or fruitless >= _FRUITLESS_WORKERS:
                for case in self.log.remaining:
                    self._count(await self.log.give_up(case.id, end.outcome, f"not measured: {end.reason}"))
        return problems

    def _count(self, results: int) -> None:
        """Report so many results."""
        for _ in range(results):
            self._report("", "")

    async def _cool_down(self, pauses: Pauses) -> None:
        """Wait after a throttled case, at most ten seconds, until no heat holds the clocks down any more."""
        for seconds in pauses.next():
            self._report("", "cooling down")
            await asyncio.sleep(seconds)
            state = await self._watch.state(self._order.device)
            if not HEAT & set(state.throttle_reasons):
                return

    async def _with_xids(self, end: Ending) -> Ending:
        if end.outcome not in {Outcome.DEVICE_ERROR, Outcome.DEVICE_LOST}:
            return end
        outcome, reason = await self.log.with_xids(end.outcome, end.reason)
        return replace(end, outcome=outcome, reason=reason)

    async def _run_worker(self) -> Ending:
        """Have one worker measure what remains, and say how it ended."""
        order = self._order
        started_at = asyncio.get_running_loop().time()
        launch = Launch(
            order={
                **order.programme.order(self.log.left),
                "device": order.device_spec,
                "processors": order.placement.processors,
                "numa_node": order.placement.numa_node,
            },
            folder=order.folder,
            environment=order.environment,
            user=order.user,
        )
        try:
            worker = await start_worker(launch)
        except RunnerError as error:
            return Ending(outcome=Outcome.HARNESS_ERROR, reason=str(error))
        self.log.workers, self.log.pid = self.log.workers + 1, worker.pid
        try:
            return await _Attention(self, worker, started_at).listen()
        finally:
            self.log.exit_status = await complete(worker.kill(order.budgets.kill_grace))
            await complete(self.log.printed(worker.lines(), last=True))

    async def take(self, message: Message, clock: PhaseClock, started_at: float) -> PhaseClock:
        """Take one message of a worker; the clock after it."""
        now = asyncio.get_running_loop().time()
        match message["kind"]:
            case "placed":
                self.log.placed(message)
            case "opened":
                self.log.opened(message)
            case "header":
                await self.log.headed(TrialHeader.from_dict(message["header"]))
            case "phase":
                clock = clock.enter(message["phase"], message["case"], float(message["budget"]), now)
                if self.log.startup_seconds is None and clock.case is not None:
                    self.log.startup_seconds = now - started_at
                self._report(clock.case or "", clock.phase)
            case "measurement":
                if await self.log.measured(Measurement.from_dict(message["measurement"])):
                    self._report("", "")
                return clock.leave_case(now)
            case "result" | "failed":
                self.log.closing(message)
                return clock.shut_down(now)
        return clock

    @property
    def order(self) -> TrialOrder:
        """What was ordered."""
        return self._order


class _OutOfMemoryError(Exception):
    """The worker takes more memory than it may."""


class _Attention:
    """Listens to one worker until it has ended, or must be."""

    def __init__(self, trial: Trial, worker: Worker, started_at: float) -> None:
        self._trial, self._worker, self._started_at = trial, worker, started_at
        order = trial.order
        self._guard = MemoryGuard(worker.pid, order.memory_bytes)
        self._guard_at = started_at
        self._clock = PhaseClock.started(order.limits, order.case_limit, started_at)
        self._said: Ending | None = None

    async def listen(self) -> Ending:
        """How the worker ended."""
        try:
            await self._take_messages()
            status = await self._await_exit()
        except TimeoutError:
            # When every result is here, that the process did not go by itself is no fault of theirs.
            return self._said or self._overrun()
        except _OutOfMemoryError as error:
            return ending.of_memory(str(error), self._clock.case)
        except (BenchError, KeyError, TypeError, ValueError) as error:
            return ending.of_protocol_error(error, self._clock.case)
        return self._said or ending.of_exit(status, self._clock.case, ran_out=self._guard.kernel_ran_out)

    async def _take_messages(self) -> None:
        while (message := await self._next()) is not None:
            self._clock = await self._trial.take(message, self._clock, self._started_at)
            if message["kind"] in {"result", "failed"}:
                told = message["result"] if message["kind"] == "result" else message
                self._said = Ending(outcome=Outcome(told["outcome"]), reason=told["reason"])

    async def _next(self) -> Message | None:
        """The next message; meanwhile, what the worker prints is written, and its memory is watched.

        Raises:
            TimeoutError: the phase is over its budget.
            _OutOfMemoryError: the worker takes too much memory.
        """
        loop = asyncio.get_running_loop()
        while True:
            if self._trial.log.started:
                await self._trial.log.printed(self._worker.lines(), last=False)
            try:
                await self._guard_memory(loop.time())
                async with asyncio.timeout_at(min(self._clock.deadline, loop.time() + _GUARD_PERIOD)):
                    return await self._worker.message()
            except TimeoutError:
                if loop.time() >= self._clock.deadline:
                    raise

    async def _guard_memory(self, now: float) -> None:
        """Look at the worker's memory, twice a second at most."""
        if now < self._guard_at:
            return
        self._guard_at = now + _GUARD_PERIOD
        complaint = await asyncio.to_thread(self._guard.complaint)
        if complaint:
            raise _OutOfMemoryError(complaint)

    async def _await_exit(self) -> int:
        now = asyncio.get_running_loop().time()
        async with asyncio.timeout_at(self._clock.shut_down(now).deadline):
            return await self._worker.exit_status()

    def _overrun(self) -> Ending:
        overrun = self._clock.overrun(max(self._clock.deadline, asyncio.get_running_loop().time()))
        assert overrun is not None
        return ending.of_overrun(overrun)
