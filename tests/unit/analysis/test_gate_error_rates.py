"""How often the gate errs, by simulation. The table in the decision about the gate was printed by `python FILE`."""

import math
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from tesserabench.analysis.gate import judge
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.launch import Launch, Side
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.words import Better, Verdict

CHANGES = (0.0, 0.02, 0.05, 0.10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A noise: deviations are relative."""

    name: str
    kind: str
    launches: int
    launch: float
    run: float
    shape: str = "normal"
    """`normal`, `heavy` (Student's t with 3 degrees) or `two_modes` (12 % apart, as GPUs do)."""


SCENARIOS = (
    Scenario(name="controlled GPU, 5 launches", kind="cuda", launches=5, launch=0.005, run=0.0015),
    Scenario(name="controlled GPU, 3 launches", kind="cuda", launches=3, launch=0.005, run=0.0015),
    Scenario(name="controlled GPU, 10 launches", kind="cuda", launches=10, launch=0.005, run=0.0015),
    Scenario(name="controlled GPU, 1 launch", kind="cuda", launches=1, launch=0.005, run=0.0015),
    Scenario(name="GPU, heavy tails, 5 launches", kind="cuda", launches=5, launch=0.005, run=0.0015, shape="heavy"),
    Scenario(name="GPU with two modes, 5 launches", kind="cuda", launches=5, launch=0.002, run=0.0, shape="two_modes"),
    Scenario(name="quiet CPU, 5 launches", kind="cpu", launches=5, launch=0.01, run=0.005),
    Scenario(name="shared CPU, 5 launches", kind="cpu", launches=5, launch=0.03, run=0.015),
    Scenario(name="shared CPU, 10 launches", kind="cpu", launches=10, launch=0.03, run=0.015),
    Scenario(name="busy CPU, 5 launches", kind="cpu", launches=5, launch=0.08, run=0.04),
    Scenario(name="shared CPU, 1 launch", kind="cpu", launches=1, launch=0.03, run=0.015),
    # Runs that differ by as much as launches do, and by more: nothing in one run a side tells it.
    Scenario(name="GPU, runs as launches, 5 launches", kind="cuda", launches=5, launch=0.01, run=0.01),
    Scenario(name="GPU, runs as launches, 25 launches", kind="cuda", launches=25, launch=0.01, run=0.01),
    Scenario(name="GPU, runs more than launches, 5 launches", kind="cuda", launches=5, launch=0.005, run=0.01),
    Scenario(name="restless GPU, runs as launches, 5 launches", kind="cuda", launches=5, launch=0.02, run=0.02),
)


def draw(scenario: Scenario, generator: np.random.Generator, change: float) -> Side:
    count = scenario.launches
    noise = (
        generator.standard_t(3, count) / math.sqrt(3) if scenario.shape == "heavy" else generator.standard_normal(count)
    )
    levels = math.log(1e6) + math.log1p(change) + scenario.launch * noise + scenario.run * generator.standard_normal()
    if scenario.shape == "two_modes":
        levels = levels + np.where(generator.random(count) < 0.5, math.log(1.12), 0.0)
    return Side(
        launches=tuple(Launch(value=math.exp(level), samples=30, log_error=0.001, place="gpu0") for level in levels),
        better=Better.LOWER,
        device_kind=scenario.kind,
    )


def rates(scenario: Scenario, change: float, pairs: int, seed: int = 20240501) -> dict[Verdict, float]:
    generator = np.random.default_rng(seed)
    counts = dict.fromkeys(Verdict, 0)
    for _ in range(pairs):
        base, head = draw(scenario, generator, 0.0), draw(scenario, generator, change)
        counts[judge(base, head, Policy()).verdict] += 1
    return {verdict: count / pairs for verdict, count in counts.items()}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_identical_code_is_rarely_called_different(scenario: Scenario) -> None:
    pairs = 300
    null = rates(scenario, 0.0, pairs)
    # At most 1 % both ways together; the rest is chance in 300 pairs.
    assert null[Verdict.REGRESSED] + null[Verdict.IMPROVED] <= 0.025


@pytest.mark.parametrize(
    ("name", "change", "least"),
    [
        ("controlled GPU, 5 launches", 0.05, 0.97),
        # Three launches of one benchmark alone; with others beside it they are known better.
        ("controlled GPU, 3 launches", 0.05, 0.90),
        ("controlled GPU, 1 launch", 0.10, 0.97),
        ("GPU, heavy tails, 5 launches", 0.05, 0.95),
        ("quiet CPU, 5 launches", 0.10, 0.97),
        ("shared CPU, 10 launches", 0.10, 0.25),
    ],
)
def test_a_change_of_this_size_is_found(name: str, change: float, least: float) -> None:
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == name)
    assert rates(scenario, change, 200)[Verdict.REGRESSED] >= least


def test_a_change_of_just_the_smallest_size_that_matters_is_called_one_half_of_the_time_and_seldom_confirmed() -> None:
    scenario, generator = SCENARIOS[0], np.random.default_rng(20240501)
    known = RunNoise(deviation=0.0027, degrees=20)
    found = [
        judge(draw(scenario, generator, 0.0), draw(scenario, generator, 0.02), Policy(), history=known)
        for _ in range(300)
    ]
    assert 0.3 <= sum(judgement.verdict is Verdict.REGRESSED for judgement in found) / 300 <= 0.7
    assert sum(judgement.confirmed for judgement in found) / 300 <= 0.05


def test_what_cannot_be_told_is_said_to_be_so() -> None:
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == "shared CPU, 1 launch")
    assert rates(scenario, 0.0, 200)[Verdict.INCONCLUSIVE] >= 0.9


def table(pairs: int = 4000) -> str:
    lines = [
        "| noise | identical: regressed / improved / inconclusive | found at 2 % | at 5 % | at 10 % |",
        "|---|---|---|---|---|",
    ]
    for scenario in SCENARIOS:
        null = rates(scenario, 0.0, pairs)
        answers = [null[verdict] for verdict in (Verdict.REGRESSED, Verdict.IMPROVED, Verdict.INCONCLUSIVE)]
        found = [rates(scenario, change, pairs)[Verdict.REGRESSED] for change in CHANGES[1:]]
        cells = [scenario.name, " / ".join(f"{100 * rate:.1f}" for rate in answers) + " %"]
        lines.append("| " + " | ".join(cells + [f"{100 * rate:.0f} %" for rate in found]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
