"""Patterns of a run are tried in a process of their own before the agent uses them."""

import time

import pytest
from tesserabench.agent.errors import AttemptRefused
from tesserabench.agent.runner.patterns import try_pattern
from tesserabench.agent.runner.planning import plan_attempt
from tesserabench.v1 import run_pb2
from tesserabench.v1.run_pb2 import RunSpec

BOMB = "(.*.*.*.*.*.*.*.*.*.*)*ZZZ$"
NAME = "runs/1/attempts/1"


@pytest.mark.parametrize("field", ["include", "exclude"])
def test_pattern_that_never_ends_is_refused_with_its_name_and_what_to_do(field: str) -> None:
    spec = RunSpec(suite="core", tier=run_pb2.TIER_SMOKE)
    (spec.include if field == "include" else spec.exclude).extend(["triad", BOMB])
    began = time.monotonic()
    with pytest.raises(AttemptRefused) as caught:
        plan_attempt(NAME, spec, "simulated", require_idle=False)
    assert str(caught.value).startswith(f"{field} is '(?:triad)|(?:{BOMB})': searching it in 5 case names takes more")
    assert "nested repetitions" in str(caught.value)
    assert time.monotonic() - began < 60


def test_pattern_that_selects_is_used() -> None:
    spec = RunSpec(suite="core", tier=run_pb2.TIER_SMOKE, include=["triad", "copy"], exclude=["copy"])
    plan = plan_attempt(NAME, spec, "simulated", require_idle=False)
    assert [case.benchmark for case in plan.trials[0].cases] == ["memory/triad"]


def test_pattern_that_is_none_names_the_problem() -> None:
    with pytest.raises(AttemptRefused, match="unterminated subpattern"):
        try_pattern("include", "(", ["a"])
