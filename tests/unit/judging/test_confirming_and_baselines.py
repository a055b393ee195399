from dataclasses import replace

import pytest
from tesserabench.collector.core.baselines import Coverage, base_branch, branch_line, may_replace, own_branch
from tesserabench.collector.core.references import branch_names, label
from tesserabench.collector.core.results import is_partial
from tesserabench.collector.core.spec import HostSelector, ParameterOverride, RunSpec
from tesserabench.collector.store.tables import Project, Run

SPEC = RunSpec(suite="core", trials=5, seed=7, selector=HostSelector(conditions=("gpu=h100",), count=2))
PROJECT = Project(id=1, name="default", default_branch="main")
CASES = frozenset({"a", "b"})


def run(**fields: str) -> Run:
    return Run(id=1, **({"branch": "", "base_branch": "", "pull_request": ""} | fields))


@pytest.mark.parametrize(
    ("new", "old", "yes"),
    [
        (Coverage(spec=SPEC, cases=CASES), Coverage(spec=SPEC, cases=CASES), True),
        (Coverage(spec=SPEC, cases=frozenset("a")), Coverage(spec=SPEC, cases=CASES), True),
        (Coverage(spec=replace(SPEC, include=("a",)), cases=frozenset("a")), Coverage(spec=SPEC, cases=CASES), False),
        (Coverage(spec=replace(SPEC, include=("a|b",)), cases=CASES), Coverage(spec=SPEC, cases=CASES), True),
        (Coverage(spec=replace(SPEC, tier="smoke"), cases=frozenset("a")), Coverage(spec=SPEC, cases=CASES), False),
        (Coverage(spec=replace(SPEC, tier="full"), cases=CASES), Coverage(spec=SPEC, cases=frozenset("a")), True),
        (Coverage(spec=replace(SPEC, trials=1), cases=CASES), Coverage(spec=SPEC, cases=CASES), False),
        (Coverage(spec=replace(SPEC, trials=3), cases=CASES), Coverage(spec=SPEC, cases=CASES), True),
        (
            Coverage(spec=replace(SPEC, trials=1), cases=CASES),
            Coverage(spec=replace(SPEC, trials=1), cases=CASES),
            True,
        ),
        (
            Coverage(
                spec=replace(SPEC, overrides=(ParameterOverride(parameter="n", value="1"),)), cases=frozenset("c")
            ),
            Coverage(spec=SPEC, cases=CASES),
            False,
        ),
    ],
)
def test_a_baseline_loses_neither_cases_nor_launches(new: Coverage, old: Coverage, yes: bool) -> None:
    assert may_replace(new, old) is yes


def test_a_run_is_partial_when_it_left_cases_out() -> None:
    assert not is_partial(SPEC)
    assert is_partial(replace(SPEC, include=("a",)))
    assert is_partial(replace(SPEC, exclude=("a",)))
    assert is_partial(replace(SPEC, tier="smoke"))
    assert not is_partial(replace(SPEC, tier="nightly"))


@pytest.mark.parametrize(
    ("fields", "own", "base", "line"),
    [
        ({}, "main", "main", ""),
        ({"branch": "main"}, "main", "main", ""),
        ({"branch": "fix"}, "fix", "main", "fix"),
        ({"branch": "fix", "base_branch": "develop"}, "fix", "develop", "fix"),
        ({"branch": "fix", "pull_request": "7"}, "fix", "main", "fix"),
        ({"pull_request": "7"}, "main", "main", "pull request 7"),
    ],
)
def test_branches_of_a_run(fields: dict[str, str], own: str, base: str, line: str) -> None:
    row = run(**fields)
    assert (own_branch(row, PROJECT), base_branch(row, PROJECT), branch_line(row, PROJECT)) == (own, base, line)


def test_a_run_without_a_branch_belongs_to_the_default_branch() -> None:
    assert branch_names("main", "main") == ("main", "")
    assert branch_names("fix", "main") == ("fix",)


@pytest.mark.parametrize("reference", ["1", "run:1", "runs/1"])
def test_a_run_is_called_by_its_name(reference: str) -> None:
    assert label(reference, run()) == "runs/1"


def test_another_reference_is_shown_with_its_run() -> None:
    assert label("branch:main", run()) == "branch:main (runs/1)"
