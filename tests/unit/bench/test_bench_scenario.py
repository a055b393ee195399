import json
from pathlib import Path

import pytest
from tesserabench.bench import Phase, ScenarioError
from tesserabench.bench.device.scenario import SCENARIOS, Fault, Rule, Scenario, Shape, load_scenario
from tesserabench.bench.device.simulated import SimulatedDevice

TOML = """
name = "slower copies"
seed = 4
[[rules]]
spread = 0.01
shape = "lognormal"
[[rules]]
match = "memory/*"
scale = 1.1
[[rules]]
match = "memory/copy[n=4,dtype=float32]"
fault = "hang"
fault_phase = "warmup"
"""


def test_scenario_is_found_by_name_text_and_file(tmp_path: Path) -> None:
    (tmp_path / "slow.toml").write_text(TOML, encoding="utf-8")
    from_text, from_file = load_scenario(TOML), load_scenario(str(tmp_path / "slow.toml"))
    assert from_text == from_file
    assert load_scenario(None) is SCENARIOS["steady"]
    assert load_scenario("noisy").process_spread > 0
    (tmp_path / "slow.json").write_text(json.dumps({"seed": 4}), encoding="utf-8")
    assert load_scenario(str(tmp_path / "slow.json")) == load_scenario('{"seed": 4}')


def test_later_rules_override_earlier_ones_field_by_field() -> None:
    scenario = load_scenario(TOML)
    assert scenario.rule_for("gemm/matmul", "gemm/matmul[m=1]") == Rule(spread=0.01, shape=Shape.LOGNORMAL)
    other = scenario.rule_for("memory/copy", "memory/copy[n=8,dtype=float32]")
    assert (other.scale, other.spread, other.fault) == (1.1, 0.01, None)
    exact = scenario.rule_for("memory/copy", "memory/copy[n=4,dtype=float32]")
    assert (exact.scale, exact.fault, exact.fault_phase) == (1.1, Fault.HANG, Phase.WARMUP)


def test_every_fault_has_a_scenario() -> None:
    for fault in Fault:
        assert SCENARIOS[fault.value.replace("_", "-")].rule_for("a/b", "a/b").fault is fault


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nope", "scenario 'nope' is unknown; use the path of a .toml or .json file, or one of: steady, noisy"),
        ("missing.toml", "scenario file 'missing.toml' cannot be read: No such file or directory"),
        ("seed = ", "the scenario's text is neither TOML nor JSON"),
        ("{]", "the scenario's text is neither TOML nor JSON"),
        ("sed = 1", "scenario has the unknown field 'sed'; known fields: name, seed"),
        ('rules = [{fault = "fire"}]', "scenario.rules[0].fault is 'fire'; it must be one of: hang, exit"),
        ("rules = [{scale = 0}]", "rule '*': scale is 0.0; it must be above zero"),
        ("rules = [{spike_probability = 2}]", "rule '*': spike_probability is 2.0; it must be between 0 and 1"),
        ("rules = [{spread = -1}]", "rule '*': spread is -1.0; it must be zero or more"),
        ("bandwidth = 0", "scenario 'inline': bandwidth is 0.0; it must be above zero"),
        ("real_time_factor = -1", "scenario 'inline': real_time_factor is -1.0; it must be zero or more"),
    ],
)
def test_wrong_scenario_names_field_value_and_remedy(text: str, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(text)
    assert message in str(caught.value)


def test_a_driver_that_is_claimed_is_a_fact() -> None:
    device = SimulatedDevice(Scenario(driver="560.35.03"))
    assert device.info.driver == "560.35.03"
    assert device.environment()["driver.version"] == "560.35.03"
    assert "driver.version" not in SimulatedDevice(Scenario()).environment()
