import io
import json
from typing import Any

import pytest
from tesserabench.cli.gate_lines import answer_lines, load_judge

QUIET = [[1.0, 1.001, 0.999], [1.002, 1.0, 1.001], [0.999, 1.0, 1.001], [1.001, 1.002, 1.0], [1.0, 0.998, 1.001]]


def answers(*lines: Any) -> list[dict[str, Any]]:
    out = io.StringIO()
    answer_lines(load_judge(), [line if isinstance(line, str) else json.dumps(line) for line in lines], out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def scaled(factor: float, runs: list[list[float]] | None = None) -> list[list[float]]:
    return [[factor * value for value in run] for run in runs or QUIET]


@pytest.mark.parametrize(
    ("factor", "lower", "verdict"),
    [
        (1.0, True, "no_change"),
        (1.08, True, "regression"),
        (0.92, True, "improvement"),
        (1.08, False, "improvement"),
        (0.92, False, "regression"),
    ],
)
def test_a_pair_gets_a_verdict_with_its_numbers(factor: float, lower: bool, verdict: str) -> None:
    (answer,) = answers({"base": QUIET, "new": scaled(factor), "meta": {"lower_is_better": lower, "history": QUIET}})
    assert answer["verdict"] == verdict
    assert answer["change"] == pytest.approx(factor - 1, abs=0.003)
    low, high = answer["interval"]
    assert low <= answer["change"] <= high
    assert 0 <= answer["p"] <= 1
    assert answer["explanation"]
    assert ("reason" in answer) == (verdict == "inconclusive")


def test_one_run_a_side_speaks_only_with_a_history() -> None:
    pair = {"base": [[1.0] * 20], "new": [[1.08] * 20]}
    alone, known = answers(pair, pair | {"meta": {"history": [[1.0, 1.001]] * 3 + [[0.999, 1.0]] * 3}})
    assert (alone["verdict"], alone["reason"]) == ("inconclusive", "too_few_samples")
    assert known["verdict"] == "regression"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "no JSON"),
        ("[1, 2]", "object"),
        ("[" * 100_000, "no JSON"),
        ('{"base": [[' + "9" * 5000 + ']], "new": [[1]]}', "no JSON"),
        ('{"base": [[' + "9" * 400 + ']], "new": [[1]]}', "which is too large"),
        ('{"base": [[1]]}', "new must be a list of runs"),
        ('{"base": [1, 2], "new": [[1]]}', "base must be a list of runs"),
        ('{"base": [["1"]], "new": [[1]]}', "base holds '1'"),
        ('{"base": [[true]], "new": [[1]]}', "base holds True"),
        ('{"base": [[1]], "new": [[1]], "meta": 3}', "meta is 3"),
        ('{"base": [[1]], "new": [[1]], "meta": {"lower_is_better": "yes"}}', "lower_is_better is 'yes'"),
        ('{"base": [[1]], "new": [[1]], "meta": {"history": 4}}', "history must be a list of runs"),
    ],
)
def test_a_bad_line_is_answered_and_the_stream_goes_on(line: str, said: str) -> None:
    bad, good = answers(line, "", {"base": QUIET, "new": QUIET})
    assert said in bad["error"]
    assert good["verdict"] == "no_change"


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_value_without_a_logarithm_is_neither_passed_nor_failed(value: float) -> None:
    (answer,) = answers({"base": QUIET, "new": [*QUIET, [value]]})
    assert (answer["verdict"], answer["reason"]) == ("inconclusive", "case_failed")
