"""A scripted device for tests: prices work by a roofline on a virtual clock, and fails on cue.

A trial takes milliseconds of real time. Everything but the faults that end the process is deterministic: the same
scenario, seed and case give the same times.
"""

import itertools
import math
import random
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tesserabench.bench.device.memory import require_room
from tesserabench.bench.device.protocol import (
    Block,
    CacheUse,
    DeviceInfo,
    DeviceState,
    Fact,
    KernelFacts,
    Timer,
    TimingOrder,
    Workload,
)
from tesserabench.bench.device.scenario import Rule, Scenario, load_scenario
from tesserabench.bench.device.script import Script, SimulatedWorkload
from tesserabench.bench.dtypes import real_dtype
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import CacheKind, DeviceKind, Mode, Outcome, Phase

if TYPE_CHECKING:
    from tesserabench.bench.case import Case
    from tesserabench.bench.definition import Benchmark

IDLE_CELSIUS = 40.0
HOST_OVERHEAD_NS = 1000
"""Virtual host time around each batch."""
NOMINAL_NS = 100_000.0
"""Price of a launch that has no formulas."""


class SimulatedTiming:
    """Times launches on the virtual clock."""

    def __init__(self, device: "SimulatedDevice", workloads: "Sequence[SimulatedWorkload]", order: TimingOrder) -> None:
        scenario, script = device.scenario, workloads[0].script
        if order.backend not in {None, scenario.backend}:
            raise CaseFailure(
                Outcome.UNSUPPORTED,
                f"the simulated device times by {scenario.backend} alone, not by {order.backend}; name no back end",
            )
        self.backend = scenario.backend
        self.remarks = scenario.remarks
        self.timer = device.timer
        self.cache = CacheUse(kind=CacheKind.WARM)
        if order.mode is Mode.COLD:
            kind = CacheKind.READ_SWEEP if order.flush == "read" else CacheKind.WRITE_SWEEP
            self.cache = CacheUse(kind=kind, bytes=2 * (device.info.cache_bytes or 0))
        elif order.mode is Mode.ROTATING:
            self.cache = CacheUse(kind=CacheKind.ROTATION, copies=len(workloads))
        self._device, self._order, self._script = device, order, script
        visited = max(1, len(workloads) - (script.rule.unvisited_sets or 0))
        self._in_sample = min(order.iterations, visited)
        self._launches = itertools.cycle([workload.launch for workload in workloads[:visited]])

    def take(self, samples: int) -> Block:
        """Take samples one after the other."""
        assert not self.closed, "a closed timing takes nothing"
        device, clock = self._device, self._device.scenario.clock_hz
        totals: list[int] = []
        begins: list[int] = []
        clocks: list[float] = []
        started = device.now_ns()
        for _ in range(samples):
            begins.append(device.now_ns())
            # Launches of a sample beyond one turn of the rotation would only repeat it.
            for launch in itertools.islice(self._launches, self._in_sample):
                launch()
            scale = self._script.clock_scale()
            totals.append(device.price(self._script, self._order, 1 / scale))
            if clock is not None:
                clocks.append(clock * scale)
        return Block(
            total_ns=tuple(totals),
            clock_hz=tuple(clocks),
            begin_ns=tuple(begins),
            host_ns=device.now_ns() - started,
        )

    closed = False

    def close(self) -> None:
        """Take nothing any more."""
        self.closed = True


class SimulatedDevice:
    """An accelerator made of a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.info = DeviceInfo(
            kind=DeviceKind.SIMULATED,
            model=scenario.model,
            uuid="SIM-" + scenario.model.upper().replace(" ", "-"),
            index=0,
            memory_bytes=scenario.memory_bytes,
            driver=scenario.driver,
            processors=128,
            cache_bytes=50 << 20,
            peak_bandwidth=scenario.peak_bandwidth,
            peak_flops=scenario.peak_flops,
        )
        self.timer = Timer(
            name="virtual",
            quantum_ns=scenario.timer_quantum_ns,
            floor_ns=scenario.timer_floor_ns,
        )
        self._now_ns = 0.0
        self._throttled_ns = 0.0
        self._celsius = IDLE_CELSIUS
        self._phase = Phase.PREPARE
        self._script: Script | None = None
        self._scripts: dict[str, Script] = {}

    def close(self) -> None:
        """Forget every case."""
        self._script = None
        self._scripts.clear()

    def begin(self, case: "Case | None", phase: Phase) -> None:
        """Tell the script which phase begins."""
        self._phase = phase
        if case is None:
            return
        if phase is Phase.PREPARE:
            self._scripts.pop(case.id, None)
        self._script = self._scripts.get(case.id)
        if self._script is not None and phase is not Phase.CEILING:
            self._script.enter(phase)

    def prepare(self, benchmark: "Benchmark", case: "Case", seed: int) -> SimulatedWorkload:
        """Price the case by the roofline and follow its rule; the ceiling probe follows none.

        All sets of a case follow one script.
        """
        if self._phase is Phase.PREPARE and case.id in self._scripts:
            return SimulatedWorkload(self._scripts[case.id])
        self._script = None
        nominal = self._price(benchmark, case)
        if self._phase is Phase.CEILING:
            self._script = Script(Rule(), self._random(0, case.id), nominal)
            self._script.enter(Phase.CEILING)
            return SimulatedWorkload(self._script)
        offset = 1 + self.scenario.process_spread * self._random(seed, "process").gauss(0.0, 1.0)
        rule = self.scenario.rule_for(case.benchmark, case.id)
        self._script = self._scripts[case.id] = Script(rule, self._random(seed, case.id), nominal * max(0.05, offset))
        self._script.strike()
        return SimulatedWorkload(self._script)

    def _random(self, seed: int, purpose: str) -> random.Random:
        return random.Random(f"{self.scenario.seed}:{seed}:{purpose}")  # noqa: S311 - a simulation, no secret

    def _price(self, benchmark: "Benchmark", case: "Case") -> float:
        """Return the roofline time of one launch in nanoseconds: the slower of arithmetic and memory."""
        flops = benchmark.flops(case.params) if benchmark.flops else 0
        size = benchmark.bytes(case.params) if benchmark.bytes else 0
        if not flops and not size:
            return NOMINAL_NS
        require_room(benchmark, case, self.scenario.memory_bytes, 1.0)
        dtype = real_dtype(str(case.params.get("dtype", "float32")))
        if flops and dtype not in self.scenario.flops:
            raise CaseFailure(
                Outcome.UNSUPPORTED,
                f"the simulated device has no rate for dtype {dtype!r}; it has: {', '.join(self.scenario.flops)}",
            )
        arithmetic = flops / self.scenario.flops[dtype] if flops else 0.0
        return self.scenario.launch_ns + 1e9 * max(arithmetic, size / self.scenario.bandwidth)

    def arm(self, workloads: Sequence[Workload], order: TimingOrder) -> "SimulatedTiming":
        """Return the timing of work on the virtual clock."""
        return SimulatedTiming(self, [_own(workload) for workload in workloads], order)

    def price(self, script: Script, order: TimingOrder, clock_factor: float) -> int:
        """Price a whole sample and advance the virtual clock."""
        total = script.launch_ns() * order.iterations * clock_factor
        script.launches += 1
        if order.drill is not None:
            total *= order.drill.factor
        if script.throttled:
            self._throttled_ns += total * (script.rule.throttled_fraction or 0.0)
        self._advance(total * (1 + (script.rule.escaped_factor or 0.0)) + HOST_OVERHEAD_NS, loaded=True)
        if total <= 0:
            return 0
        steps = max(1, round(total / self.timer.quantum_ns))
        return round(steps * self.timer.quantum_ns)

    def pause(self, seconds: float) -> None:
        """Let virtual time pass without work."""
        if self._script is not None:
            self._script.paused_seconds += seconds
        self._advance(seconds * 1e9, loaded=False)

    def kernels(self) -> tuple[KernelFacts, ...]:
        """Return the kernels that the scenario tells of."""
        return self.scenario.kernels

    def _advance(self, duration_ns: float, *, loaded: bool) -> None:
        self._now_ns += duration_ns
        if self.scenario.heats_to_celsius is not None:
            wanted = self.scenario.heats_to_celsius if loaded else IDLE_CELSIUS
            rest = math.exp(-duration_ns * 1e-9 / self.scenario.heating_seconds)
            self._celsius = wanted + (self._celsius - wanted) * rest
        if self.scenario.real_time_factor > 0:
            time.sleep(duration_ns * 1e-9 * self.scenario.real_time_factor)

    def synchronize(self) -> None:
        """Return at once: nothing is ever pending."""

    def state(self) -> DeviceState:
        """Return the script's counters."""
        rule = self._script.rule if self._script is not None else Rule()
        return DeviceState(
            clock_hz=self.scenario.clock_hz,
            temperature_celsius=None if self.scenario.heats_to_celsius is None else self._celsius,
            memory_free_bytes=self.scenario.memory_bytes,
            throttled_ns=round(self._throttled_ns),
            throttle_reason=(rule.throttle_reason or "thermal") if rule.throttled_fraction else None,
            foreign_processes=self.scenario.foreign_processes,
        )

    def now_ns(self) -> int:
        """Return the virtual time."""
        return round(self._now_ns)

    def environment(self) -> Mapping[str, Fact]:
        """Return the name of the scenario, and the driver that it claims to have."""
        facts: dict[str, Fact] = {"device.model": self.info.model, "simulated.scenario": self.scenario.name}
        if self.scenario.driver is not None:
            facts["driver.version"] = self.scenario.driver
        return facts

    def comparable(self) -> Mapping[str, Fact]:
        """Return kind and model."""
        return {"kind": self.info.kind.value, "model": self.info.model}

    def failure(self, error: Exception) -> Exception:
        """Return the error as it is: simulated faults already carry their outcome."""
        return error


def _own(workload: Workload) -> SimulatedWorkload:
    assert isinstance(workload, SimulatedWorkload), "a simulated device times what it prepared"
    return workload


def open(argument: str | None, *, threads: int | None) -> SimulatedDevice:  # noqa: A001, ARG001 - read as simulated.open
    """Open a simulated device following a scenario."""
    return SimulatedDevice(load_scenario(argument))
