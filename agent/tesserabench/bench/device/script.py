"""What a scenario makes of one case: its times, its clock and its faults, and outputs that are right or wrong."""

import math
import os
import random
import signal
import threading
from typing import TYPE_CHECKING

import numpy as np
from tesserabench.bench.device.scenario import Fault, Rule, Shape
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.inputs import checksum
from tesserabench.bench.vocabulary import Outcome, Phase

if TYPE_CHECKING:
    from tesserabench.bench.device.protocol import HostArrays

EXIT_CODE = 41
"""Exit status of the fault `exit`."""
SLOW_NS = 3600 * 10**9
_OUTPUTS = 16
_DEFAULT_PHASE = {
    Fault.WRONG_RESULT: Phase.VERIFY,
    Fault.NAN_RESULT: Phase.VERIFY,
    Fault.OUT_OF_MEMORY: Phase.PREPARE,
    Fault.UNSUPPORTED: Phase.PREPARE,
    Fault.NONDETERMINISTIC: Phase.VERIFY,
}
_RAISED = {
    Fault.OUT_OF_MEMORY: (
        Outcome.OUT_OF_MEMORY,
        "the simulated device is out of memory; choose smaller parameters",
        False,
    ),
    Fault.DEVICE_ERROR: (Outcome.DEVICE_ERROR, "the simulated device reported an illegal address in the kernel", False),
    Fault.STICKY_ERROR: (
        Outcome.DEVICE_ERROR,
        "the simulated device reported an error that stays with this process",
        True,
    ),
    Fault.DEVICE_LOST: (Outcome.DEVICE_LOST, "the simulated device fell off the bus; reset or drain the host", True),
    Fault.UNSUPPORTED: (Outcome.UNSUPPORTED, "the simulated device does not support this case; leave it out", False),
}


class SimulatedWorkload:
    """A few numbers that are right unless the script says otherwise."""

    def __init__(self, script: "Script") -> None:
        self.script = script
        self._exact = np.arange(1, _OUTPUTS + 1, dtype=np.float64)
        self._input = self._exact.copy()
        self._output = np.zeros(_OUTPUTS)
        self._odd = False

    def launch(self) -> None:
        """Do the work, right or wrong."""
        script = self.script
        script.strike()
        self._output[:] = self._exact
        if script.due(Fault.WRONG_RESULT):
            self._output[0] *= 1.5
        if script.due(Fault.NAN_RESULT):
            self._output[-1] = np.nan
        if script.due(Fault.CORRUPT_INPUT):
            self._input[0] += 1
        self._odd = not self._odd
        if self._odd and script.due(Fault.NONDETERMINISTIC):
            self._output[0] = np.nextafter(self._output[0], 2.0)

    def checksum(self) -> str:
        """Return a digest of the input."""
        return checksum(np, self._input)

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
        self.paused_seconds = 0.0

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
        if self.phase is Phase.WARMUP and rule.settles_after and self.launches < rule.settles_after:
            value *= 2 - self.launches / rule.settles_after
        if self.phase is Phase.MEASURE:
            value *= 1 + (rule.drift_per_sample or 0.0) * self.launches
            if rule.step_at is not None and self.launches >= rule.step_at:
                value *= rule.step_scale or 1.0
        return value

    @property
    def throttled(self) -> bool:
        """Whether the device holds its clocks down now."""
        enough = self.rule.recovers_after_seconds
        return bool(self.rule.throttled_fraction) and (enough is None or self.paused_seconds < enough)

    def clock_scale(self) -> float:
        """Draw the clock of one sample, over the usual one."""
        rule = self.rule
        scale = 1.0 / (rule.throttled_scale or 1.0) if self.throttled else 1.0
        if rule.low_clock_share and self._rng.random() < rule.low_clock_share:
            scale *= rule.low_clock_scale or 1.0
        return scale

    def _noise(self) -> float:
        spread = self.rule.spread or 0.0
        if self.rule.shape is Shape.LOGNORMAL:
            return math.exp(self._rng.gauss(0.0, math.sqrt(math.log1p(spread * spread))))
        return max(0.05, self._rng.gauss(1.0, spread))
