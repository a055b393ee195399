"""How the tests on a GPU host are shared out: every one once, those that matter most first."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "gpu" / "section_tests.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_section_tests", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look their own module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


SECTION = load()


def item(name: str, module: str = "test_cuda_memory_suites") -> Any:
    return SimpleNamespace(name=name, path=Path(f"{module}.py"))


ITEMS = [
    *(item(f"test_right[memory/copy-{n}]") for n in range(9)),
    *(item(f"test_right[memory/chase-{n}]") for n in range(9)),
    item("test_smoke_tier_is_right[memory]"),
    item("test_latency_grows_from_cache_to_memory"),
    item("test_achieved_occupancy_is_counted", "test_cuda_device"),
    item("test_device_tells_who_it_is", "test_cuda_device"),
]


def names(part: int | None) -> list[str]:
    items = list(ITEMS)
    run = SECTION.Run(part, 1.0, None)
    run.pytest_collection_modifyitems(items)
    assert run.tally.chosen == len(items)
    return [chosen.name for chosen in items]


def test_every_test_runs_once_but_those_of_another_section() -> None:
    chosen = [name for part in (None, *range(SECTION.PARTS)) for name in names(part)]
    assert sorted(chosen) == sorted(each.name for each in ITEMS if "smoke_tier" not in each.name)


def test_tests_that_time_something_run_alone_and_the_profiler_last() -> None:
    assert names(None) == [
        "test_latency_grows_from_cache_to_memory",
        "test_device_tells_who_it_is",
        "test_achieved_occupancy_is_counted",
    ]


def test_first_case_of_every_benchmark_comes_first() -> None:
    firsts = [name for part in range(2) for name in names(part)[:1]]
    assert firsts == ["test_right[memory/copy-0]", "test_right[memory/chase-0]"]


def test_what_a_killed_process_had_written_counts(tmp_path: Path) -> None:
    kept = tmp_path / "part"
    run = SECTION.Run(0, 60.0, kept)
    run.tally.chosen = 2
    report = SimpleNamespace(skipped=False, failed=False, when="call")
    run.pytest_runtest_logstart()
    run.pytest_runtest_logreport(report)
    run.pytest_runtest_logfinish()
    total = SECTION.Tally(failed=["part 1 ended with status -9"])
    total.add(SECTION.Tally(**json.loads(kept.read_text())))
    passed, left = SECTION.told("at once", total)
    assert (passed.value, passed.holds) == (1, False)
    assert (left.name, left.value, left.holds) == ("at once: not run", 1, False)


@pytest.mark.parametrize("seconds", [-1.0, 60.0])
def test_session_ends_between_two_tests_when_the_time_is_up(seconds: float) -> None:
    session = SimpleNamespace(shouldstop="")
    SECTION.Run(0, seconds, None).pytest_runtest_teardown(SimpleNamespace(session=session))
    assert bool(session.shouldstop) is (seconds < 0)
