"""The script of a simulated device: what its roofline is, how its times scatter, and what goes wrong when."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tesserabench.bench.codec import decode
from tesserabench.bench.device.protocol import KernelFacts
from tesserabench.bench.errors import InvalidPlan, ScenarioError
from tesserabench.bench.vocabulary import Backend, Phase


class Shape(StrEnum):
    """The distribution times are drawn from; `spread` is its relative standard deviation."""

    GAUSSIAN = "gaussian"
    LOGNORMAL = "lognormal"


class Fault(StrEnum):
    """What goes wrong. The first three end or block the process for real."""

    HANG = "hang"
    EXIT = "exit"
    SEGFAULT = "segfault"
    OUT_OF_MEMORY = "out_of_memory"
    DEVICE_ERROR = "device_error"
    STICKY_ERROR = "sticky_error"
    """An error after which this process can use the device no more, and another one can."""
    DEVICE_LOST = "device_lost"
    UNSUPPORTED = "unsupported"
    WRONG_RESULT = "wrong_result"
    NAN_RESULT = "nan_result"
    SLOW = "slow"
    """Every launch takes an hour of virtual time."""
    ZERO_TIME = "zero_time"
    RAISE = "raise"
    """An ordinary Python exception, as from a broken benchmark."""
    NONDETERMINISTIC = "nondeterministic"
    """Every other launch differs in its last bit."""
    CORRUPT_INPUT = "corrupt_input"
    """The work writes over its inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What holds for the cases that match; a later rule overrides an earlier one field by field.

    `match` is compared with the benchmark's name as a shell pattern, and with the case id literally.
    """

    match: str = "*"
    scale: float | None = None
    """Factor on the nominal time."""
    shape: Shape | None = None
    spread: float | None = None
    spike_probability: float | None = None
    spike_scale: float | None = None
    second_mode_share: float | None = None
    """Fraction of launches in a second, slower mode."""
    second_mode_scale: float | None = None
    drift_per_sample: float | None = None
    """Relative growth of the time with each measured sample."""
    step_at: int | None = None
    """Measured sample from which times are multiplied by `step_scale`."""
    step_scale: float | None = None
    throttled_fraction: float | None = None
    """Fraction of device time that the throttle counter advances by."""
    throttle_reason: str | None = None
    """A word such as thermal, power or brake; thermal by default."""
    throttled_scale: float | None = None
    """Factor on times, and divisor of the clock, while throttled."""
    recovers_after_seconds: float | None = None
    """Pauses that together end the throttling; None never."""
    low_clock_share: float | None = None
    """Fraction of samples that run at a lower clock."""
    low_clock_scale: float | None = None
    """That clock over the usual one; such samples take accordingly longer."""
    escaped_factor: float | None = None
    """Host time that no timed region covers, in multiples of each launch's own time."""
    unvisited_sets: int | None = None
    """Sets of a rotation, from the end, that timed launches leave out."""
    settles_after: int | None = None
    """Samples of the warm-up over which times fall from twice to once what they are."""
    fault: Fault | None = None
    fault_phase: Phase | None = None
    """Phase of the fault; by default verify for results, prepare for unsupported and memory, else measure."""
    fault_after: int | None = None
    """Launches of that phase that still go well."""

    def __post_init__(self) -> None:
        for name in ("scale", "spike_scale", "second_mode_scale", "step_scale", "throttled_scale", "low_clock_scale"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ScenarioError(f"rule {self.match!r}: {name} is {value}; it must be above zero")
        for name in ("spike_probability", "second_mode_share", "throttled_fraction", "low_clock_share"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ScenarioError(f"rule {self.match!r}: {name} is {value}; it must be between 0 and 1")
        for name in ("spread", "step_at", "fault_after", "escaped_factor", "unvisited_sets", "recovers_after_seconds"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ScenarioError(f"rule {self.match!r}: {name} is {value}; it must be zero or more")

    def over(self, earlier: "Rule") -> "Rule":
        """Return the earlier rule with the fields this one sets."""
        own = {item.name: getattr(self, item.name) for item in fields(self)}
        return replace(earlier, **{name: value for name, value in own.items() if value is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A simulated accelerator. Rates are in SI units; times in nanoseconds."""

    name: str = "inline"
    seed: int = 0
    """Mixed with the seed of the plan; the same pair always gives the same times."""
    model: str = "Simulated Accelerator"
    driver: str | None = None
    """Version of the driver that it claims to have; None for a device that tells none."""
    memory_bytes: int = 80 << 30
    bandwidth: float = 3.0e12
    flops: Mapping[str, float] = field(
        default_factory=lambda: {
            "float64": 3.0e13,
            "float32": 6.0e13,
            "tf32": 3.7e14,
            "float16": 7.5e14,
            "bfloat16": 7.5e14,
            "float8_e4m3": 1.5e15,
            "int8": 1.5e15,
        }
    )
    launch_ns: float = 2000.0
    """Fixed cost of a launch."""
    timer_quantum_ns: float = 1.0
    timer_floor_ns: float = 0.0
    clock_hz: float | None = 1.98e9
    """Clock of the multiprocessors; None for a device that does not tell it."""
    heats_to_celsius: float | None = None
    """Temperature under load, approached from 40 degrees; None for a device without a sensor."""
    heating_seconds: float = 5.0
    """Time constant of the approach."""
    peak_bandwidth: float | None = None
    peak_flops: Mapping[str, float] = field(default_factory=dict)
    backend: Backend = Backend.VIRTUAL
    """What the device calls its way of timing; any other one that is asked for is refused."""
    kernels: tuple[KernelFacts, ...] = ()
    remarks: tuple[str, ...] = ()
    process_spread: float = 0.0
    """Relative standard deviation of an offset that all times of one seed share."""
    real_time_factor: float = 0.0
    """Seconds slept for each virtual second; 0 runs as fast as the host can."""
    foreign_processes: int | None = None
    rules: tuple[Rule, ...] = (Rule(spread=0.003),)

    def __post_init__(self) -> None:
        for name in ("memory_bytes", "bandwidth", "timer_quantum_ns"):
            if getattr(self, name) <= 0:
                raise ScenarioError(f"scenario {self.name!r}: {name} is {getattr(self, name)}; it must be above zero")
        for name in ("launch_ns", "process_spread", "real_time_factor", "timer_floor_ns"):
            if getattr(self, name) < 0:
                raise ScenarioError(f"scenario {self.name!r}: {name} is {getattr(self, name)}; it must be zero or more")

    def rule_for(self, benchmark: str, case_id: str) -> Rule:
        """Return what holds for a case, all matching rules laid over each other."""
        found = Rule()
        for rule in self.rules:
            if rule.match == case_id or fnmatchcase(benchmark, rule.match):
                found = rule.over(found)
        return found


_QUIET = Rule(spread=0.003)

SCENARIOS: Mapping[str, Scenario] = {
    item.name: item
    for item in (
        Scenario(name="steady"),
        Scenario(
            name="noisy",
            process_spread=0.01,
            rules=(Rule(shape=Shape.LOGNORMAL, spread=0.03, spike_probability=0.02, spike_scale=1.5),),
        ),
        Scenario(name="spikes", rules=(Rule(spread=0.005, spike_probability=0.05, spike_scale=2.0),)),
        Scenario(name="bimodal", rules=(Rule(spread=0.005, second_mode_share=0.4, second_mode_scale=1.04),)),
        Scenario(name="drifting", rules=(Rule(spread=0.003, drift_per_sample=0.0005),)),
        Scenario(name="step", rules=(Rule(spread=0.003, step_at=20, step_scale=1.08),)),
        Scenario(name="coarse-timer", timer_quantum_ns=500_000.0),
        Scenario(name="throttled", rules=(Rule(spread=0.003, throttled_fraction=0.3),)),
        Scenario(
            name="recovering",
            heats_to_celsius=88.0,
            rules=(Rule(spread=0.003, throttled_fraction=0.3, throttled_scale=1.3, recovers_after_seconds=0.4),),
        ),
        Scenario(name="power-limited", rules=(Rule(spread=0.003, throttled_fraction=0.9, throttle_reason="power"),)),
        Scenario(name="brake", rules=(Rule(spread=0.003, throttled_fraction=0.05, throttle_reason="brake"),)),
        Scenario(name="low-clock", rules=(Rule(spread=0.003, low_clock_share=0.2, low_clock_scale=0.9),)),
        Scenario(name="escaped-work", rules=(Rule(spread=0.003, escaped_factor=50.0),)),
        Scenario(name="unvisited", rules=(Rule(spread=0.003, unvisited_sets=1),)),
        Scenario(name="busy", foreign_processes=1),
        *(Scenario(name=fault.value.replace("_", "-"), rules=(_QUIET, Rule(fault=fault))) for fault in Fault),
    )
}
"""The scenarios that have a name; those after `busy` are one for each fault, in every case."""


def load_scenario(text: str | None) -> Scenario:
    """Return the scenario a name, a path of a TOML or JSON file, or TOML or JSON text stands for; None means steady.

    Raises ScenarioError naming the field, the value and the remedy.
    """
    if text is None:
        return SCENARIOS["steady"]
    if text in SCENARIOS:
        return SCENARIOS[text]
    if "=" in text or text.lstrip().startswith("{"):
        return _parse(text, "the scenario's text")
    if Path(text).suffix in {".toml", ".json"}:
        try:
            return _parse(Path(text).read_text(encoding="utf-8"), text)
        except OSError as error:
            raise ScenarioError(f"scenario file {text!r} cannot be read: {error.strerror}") from None
    raise ScenarioError(
        f"scenario {text!r} is unknown; use the path of a .toml or .json file, or one of: {', '.join(SCENARIOS)}"
    )


def _parse(text: str, where: str) -> Scenario:
    data: Any
    try:
        data = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except ValueError as error:
        raise ScenarioError(f"{where} is neither TOML nor JSON: {error}") from None
    try:
        return decode(Scenario, data, "scenario")
    except InvalidPlan as error:
        raise ScenarioError(f"{where}: {error}") from None
