"""A scripted device for tests: prices work by a roofline on a virtual clock, and fails on cue.

A trial takes milliseconds of real time. Everything but the faults that end the process is deterministic: the same
scenario, seed and case give the same times.
"""

import itertools
import math
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
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
from tesserabench.bench.device.scenario import Fault, Rule, Scenario, Shape, load_scenario
from tesserabench.bench.dtypes import real_dtype
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import Backend, CacheKind, DeviceKind, Mode, Outcome, Phase

if TYPE_CHECKING:
    from tesserabench.bench.case import Case
    from tesserabench.bench.definition import Benchmark
    from tesserabench.bench.device.protocol import HostArrays

EXIT_CODE = 41
"""Exit status of the fault `exit`."""
HOST_OVERHEAD_NS = 1000
"""Virtual host time around each batch."""
NOMINAL_NS = 100_000.0
"""Price of a launch that has no formulas."""
SLOW_NS = 3600 * 10**9
_OUTPUTS = 16
_DEFAULT_PHASE = {
    Fault.WRONG_RESULT: Phase.VERIFY,
    Fault.NAN_RESULT: Phase.VERIFY,
    Fault.OUT_OF_MEMORY: Phase.PREPARE,
    Fault.UNSUPPORTED: Phase.PREPARE,
}
_RAISED = {
    Fault.OUT_OF_MEMORY: (
        Outcome.OUT_OF_MEMORY,
        "the simulated device is out of memory; choose smaller parameters",
        False,
    ),
    Fault.DEVICE_ERROR: (Outcome.DEVICE_ERROR, "the simulated device reported an illegal address in the kernel", False),
    Fault.DEVICE_LOST: (Outcome.DEVICE_LOST, "the simulated device fell off the bus; reset or drain the host", True),
    Fault.UNSUPPORTED: (Outcome.UNSUPPORTED, "the simulated device does not support this case; leave it out", False),
}


class SimulatedWorkload:
    """A few numbers that are right unless the script says otherwise."""

    def __init__(self, script: "Script") -> None:
        self._script = script
        self._exact = np.arange(1, _OUTPUTS + 1, dtype=np.float64)
        self._output = np.zeros(_OUTPUTS)

    def launch(self) -> None:
        """Do the work, right or wrong."""
        self._script.strike()
        self._output[:] = self._exact
        if self._script.due(Fault.WRONG_RESULT):
            self._output[0] *= 1.5
        if self._script.due(Fault.NAN_RESULT):
            self._output[-1] = np.nan

    def poison(self) -> None:
        """Fill the output with NaN patterns."""
        self._output.view("uint8").fill(0xFF)

    def outputs(self) -> "HostArrays":
        """Return the output."""
        return {"values": self._output.copy()}

    def reference(self) -> "HostArrays":
        """Return the right output."""
        return {"values": self._exact}


class Script:
    """The rule of one case, and how far its current phase has come."""

    def __init__(self, rule: Rule, rng: random.Random, nominal_ns: float) -> None:
        self.rule, self._rng, self._nominal_ns = rule, rng, nominal_ns
        self.phase = Phase.PREPARE
        self.launches = 0

    def enter(self, phase: Phase) -> None:
        """Begin a phase: launches count from zero again."""
        self.phase, self.launches = phase, 0

    def due(self, fault: Fault) -> bool:
        """Tell whether this is the rule's fault and its time has come."""
        if self.rule.fault is not fault:
            return False
        phase = self.rule.fault_phase or _DEFAULT_PHASE.get(fault, Phase.MEASURE)
        return phase is self.phase and self.launches >= (self.rule.fault_after or 0)

    def strike(self) -> None:
        """Let the fault that is due happen, if it is one that interrupts the work."""
        if self.due(Fault.HANG):
            threading.Event().wait()
        if self.due(Fault.EXIT):
            os._exit(EXIT_CODE)
        if self.due(Fault.SEGFAULT):
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.due(Fault.RAISE):
            raise RuntimeError("the scenario raises here")
        for fault, (outcome, message, fatal) in _RAISED.items():
            if self.due(fault):
                raise CaseFailure(outcome, message, fatal=fatal)

    def launch_ns(self) -> float:
        """Draw the time of one launch."""
        if self.due(Fault.ZERO_TIME):
            return 0.0
        if self.due(Fault.SLOW):
            return SLOW_NS
        rule, rng = self.rule, self._rng
        value = self._nominal_ns * (rule.scale or 1.0) * self._noise()
        if rng.random() < (rule.spike_probability or 0.0):
            value *= rule.spike_scale or 1.0
        if rng.random() < (rule.second_mode_share or 0.0):
            value *= rule.second_mode_scale or 1.0
        if self.phase is Phase.MEASURE:
            value *= 1 + (rule.drift_per_sample or 0.0) * self.launches
            if rule.step_at is not None and self.launches >= rule.step_at:
                value *= rule.step_scale or 1.0
        return value

    def _noise(self) -> float:
        spread = self.rule.spread or 0.0
        if self.rule.shape is Shape.LOGNORMAL:
            return math.exp(self._rng.gauss(0.0, math.sqrt(math.log1p(spread * spread))))
        return max(0.05, self._rng.gauss(1.0, spread))


class SimulatedTiming:
    """Times launches on the virtual clock."""

    backend = Backend.VIRTUAL
    remarks: tuple[str, ...] = ()

    def __init__(self, device: "SimulatedDevice", workloads: Sequence[Workload], order: TimingOrder) -> None:
        self.timer = device.timer
        self.cache = CacheUse(kind=CacheKind.WARM)
        if order.mode is Mode.COLD:
            kind = CacheKind.READ_SWEEP if order.flush == "read" else CacheKind.WRITE_SWEEP
            self.cache = CacheUse(kind=kind, bytes=2 * (device.info.cache_bytes or 0))
        elif order.mode is Mode.ROTATING:
            self.cache = CacheUse(kind=CacheKind.ROTATION, copies=len(workloads))
        self._device, self._order = device, order
        self._launches = itertools.cycle([workload.launch for workload in workloads])

    def take(self, samples: int) -> Block:
        """Take samples one after the other."""
        totals: list[int] = []
        begins: list[int] = []
        clocks: list[float] = []
        started = self._device.now_ns()
        for _ in range(samples):
            begins.append(self._device.now_ns())
            totals.append(self._device.price(next(self._launches), self._order))
            clocks.append(self._device.state().clock_hz or 0.0)
        return Block(
            total_ns=tuple(totals),
            clock_hz=tuple(clocks),
            begin_ns=tuple(begins),
            host_ns=self._device.now_ns() - started,
        )

    def close(self) -> None:
        """Nothing to give back."""


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
            processors=128,
            cache_bytes=50 << 20,
        )
        self.timer = Timer(
            name="virtual",
            quantum_ns=scenario.timer_quantum_ns,
            floor_ns=0.0,
        )
        self._now_ns = 0.0
        self._throttled_ns = 0.0
        self._phase = Phase.PREPARE
        self._script: Script | None = None

    def close(self) -> None:
        """Forget the last case."""
        self._script = None

    def begin(self, case: "Case | None", phase: Phase) -> None:  # noqa: ARG002 - the protocol's signature
        """Tell the script which phase begins."""
        self._phase = phase
        if self._script is not None and phase is not Phase.PREPARE:
            self._script.enter(phase)

    def prepare(self, benchmark: "Benchmark", case: "Case", seed: int) -> Workload:
        """Price the case by the roofline and follow its rule; the ceiling probe follows none."""
        self._script = None
        nominal = self._price(benchmark, case)
        if self._phase is Phase.CEILING:
            self._script = Script(Rule(), self._random(0, case.id), nominal)
            self._script.enter(Phase.CEILING)
            return SimulatedWorkload(self._script)
        offset = 1 + self.scenario.process_spread * self._random(seed, "process").gauss(0.0, 1.0)
        rule = self.scenario.rule_for(case.benchmark, case.id)
        self._script = Script(rule, self._random(seed, case.id), nominal * max(0.05, offset))
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
        assert self._script is not None, "arm follows prepare"
        return SimulatedTiming(self, workloads, order)

    def price(self, launch: Callable[[], None], order: TimingOrder) -> int:
        """Launch once for real, price a whole sample, and advance the virtual clock."""
        assert self._script is not None, "price follows prepare"
        launch()
        total = self._script.launch_ns() * order.iterations
        self._script.launches += 1
        if order.drill is not None:
            total *= order.drill.factor
        self._throttled_ns += total * (self._script.rule.throttled_fraction or 0.0)
        self._advance(total + HOST_OVERHEAD_NS)
        if total <= 0:
            return 0
        steps = max(1, round(total / self.timer.quantum_ns))
        return round(steps * self.timer.quantum_ns)

    def kernels(self) -> tuple[KernelFacts, ...]:
        """Return nothing: a script has no kernels."""
        return ()

    def _advance(self, duration_ns: float) -> None:
        self._now_ns += duration_ns
        if self.scenario.real_time_factor > 0:
            time.sleep(duration_ns * 1e-9 * self.scenario.real_time_factor)

    def synchronize(self) -> None:
        """Return at once: nothing is ever pending."""

    def state(self) -> DeviceState:
        """Return the script's counters."""
        rule = self._script.rule if self._script is not None else Rule()
        return DeviceState(
            clock_hz=1.98e9,
            memory_free_bytes=self.scenario.memory_bytes,
            throttled_ns=round(self._throttled_ns),
            throttle_reason="scripted" if rule.throttled_fraction else None,
            foreign_processes=self.scenario.foreign_processes,
        )

    def now_ns(self) -> int:
        """Return the virtual time."""
        return round(self._now_ns)

    def environment(self) -> Mapping[str, Fact]:
        """Return the name of the scenario."""
        return {"device.model": self.info.model, "simulated.scenario": self.scenario.name}

    def comparable(self) -> Mapping[str, Fact]:
        """Return kind and model."""
        return {"kind": self.info.kind.value, "model": self.info.model}

    def failure(self, error: Exception) -> Exception:
        """Return the error as it is: simulated faults already carry their outcome."""
        return error


def open(argument: str | None, *, threads: int | None) -> SimulatedDevice:  # noqa: A001, ARG001 - read as simulated.open
    """Open a simulated device following a scenario."""
    return SimulatedDevice(load_scenario(argument))
