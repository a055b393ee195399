import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.wire import names

IDS = st.integers(min_value=0, max_value=2**63 - 1)


@given(IDS)
def test_a_run_name_reads_back_as_its_id(run: int) -> None:
    assert names.parse_run(names.run_name(run)) == run


@given(IDS)
def test_a_regression_name_reads_back_as_its_id(regression: int) -> None:
    assert names.parse_regression(names.regression_name(regression)) == regression


@given(IDS, IDS)
def test_an_attempt_name_reads_back_as_its_ids(run: int, attempt: int) -> None:
    name = names.AttemptName(run=run, attempt=attempt)
    assert names.parse_attempt(str(name)) == name


@given(st.from_regex(names.HOST_PATTERN, fullmatch=True))
def test_a_host_name_reads_back(host: str) -> None:
    assert names.parse_host(names.host_name(host)) == host


@pytest.mark.parametrize("baseline", ["release-1.4", "branch:feature/softmax", "branch:main"])
def test_a_baseline_may_be_named_like_a_branch(baseline: str) -> None:
    parsed = names.parse_baseline(names.baseline_name("default", baseline))
    assert (parsed.project, parsed.id) == ("default", baseline)


@pytest.mark.parametrize(
    ("parse", "bad"),
    [
        (names.parse_run, "42"),
        (names.parse_run, "runs/"),
        (names.parse_run, "runs/4 2"),
        (names.parse_run, "runs/-1"),
        (names.parse_run, "runs/9223372036854775808"),
        (names.parse_run, "runs/1/attempts/1"),
        (names.parse_run, "runs/\u0664\u0662"),
        (names.parse_attempt, "runs/1"),
        (names.parse_attempt, "runs/1/attempts/9999999999999999999"),
        (names.parse_host, "hosts/"),
        (names.parse_host, "hosts/Upper"),
        (names.parse_host, "hosts/a/b"),
        (names.parse_suite, "gemm"),
        (names.parse_baseline, "projects/default/baselines/"),
        (names.parse_baseline, "projects/Default/baselines/x"),
        (names.parse_baseline, "projects/default/baselines/a b"),
        (names.parse_schedule, "projects/default/schedules/a/b"),
        (names.parse_regression, "regressions/x"),
    ],
)
def test_another_form_is_refused_with_the_value_and_the_form(parse: object, bad: str) -> None:
    assert callable(parse)
    with pytest.raises(names.ResourceNameError) as caught:
        parse(bad)
    assert repr(bad) in str(caught.value)
    assert "is not of the form" in str(caught.value)
