import pytest
from tesserabench.collector.core.spec import ParameterOverride, RunSpec
from tesserabench.collector.core.suites import KnownSuite, check_spec
from tesserabench.collector.errors import InvalidArgumentError

SUITES = {
    "core": KnownSuite(
        name="core",
        info={},
        hosts=("alpha",),
        benchmarks={"memory/triad": frozenset({"n"}), "gemm/matmul": frozenset({"m", "n"})},
    ),
    "gemm": KnownSuite(name="gemm", info={}, hosts=("alpha",), benchmarks={"matmul": frozenset({"m", "n"})}),
}


def spec(suite: str, *, drill: str | None = None, parameter: str | None = None) -> RunSpec:
    overrides = () if parameter is None else (ParameterOverride(parameter=parameter, value="1"),)
    return RunSpec(suite=suite, drill={} if drill is None else {drill: 1.1}, overrides=overrides)


@pytest.mark.parametrize(
    ("suite", "name"), [("core", "memory/triad"), ("core", "triad"), ("gemm", "matmul"), ("gemm", "gemm/matmul")]
)
def test_a_benchmark_may_be_named_in_full_or_by_its_last_part(suite: str, name: str) -> None:
    check_spec(spec(suite, drill=name), SUITES)
    check_spec(spec(suite, parameter=f"{name}.n"), SUITES)


@pytest.mark.parametrize(("suite", "name"), [("core", "fft"), ("gemm", "memory/triad"), ("gemm", "core/matmul")])
def test_a_benchmark_of_another_suite_is_refused(suite: str, name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="has no"):
        check_spec(spec(suite, drill=name), SUITES)
    with pytest.raises(InvalidArgumentError, match="has no"):
        check_spec(spec(suite, parameter=f"{name}.n"), SUITES)


def test_a_parameter_of_another_benchmark_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="parameter 'm'"):
        check_spec(spec("core", parameter="triad.m"), SUITES)
