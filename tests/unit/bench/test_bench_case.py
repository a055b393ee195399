import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.bench import Case, InvalidPlan, Params

MATMUL = Case(benchmark="gemm/matmul", params=Params({"m": 512, "n": 512, "k": 512, "dtype": "float32"}))

NAMES = st.text("abcdefghij_", min_size=1, max_size=8)
VALUES = st.booleans() | st.integers(1, 10**12) | st.text(max_size=8) | st.floats(allow_nan=False, allow_infinity=False)
CASES = st.builds(
    Case,
    benchmark=NAMES,
    params=st.dictionaries(NAMES, VALUES, max_size=4).map(Params),
    version=st.integers(1, 5),
)


def test_id_names_benchmark_and_parameters_in_declaration_order() -> None:
    assert MATMUL.id == "gemm/matmul[m=512,n=512,k=512,dtype=float32]"
    assert Case(benchmark="host/empty").id == "host/empty"
    assert Case(benchmark="a/b", params=Params({"on": True, "x": 0.5})).id == "a/b[on=true,x=0.5]"


def test_hash_never_changes_between_releases() -> None:
    # Series in the database are keyed by it: if this fails, every history is cut.
    assert MATMUL.hash == "113cbdb14a0454da"


def test_hash_ignores_the_order_of_parameters_and_minds_the_version() -> None:
    reordered = Case(benchmark=MATMUL.benchmark, params=Params(dict(reversed(list(MATMUL.params.items())))))
    assert reordered.hash == MATMUL.hash
    assert Case(benchmark=MATMUL.benchmark, params=MATMUL.params, version=2).hash != MATMUL.hash


@given(CASES)
def test_case_survives_the_way_through_json(case: Case) -> None:
    again = Case.from_dict(case.to_dict())
    assert again == case
    assert (again.id, again.hash) == (case.id, case.hash)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "must be an object"),
        ({"params": {}}, "text field 'benchmark'"),
        ({"benchmark": "a/b", "params": [1]}, "case.params is"),
        ({"benchmark": "a/b", "params": {"m": None}}, "case.params.m is None"),
        ({"benchmark": "a/b", "params": {"m": float("nan")}}, "case.params.m is nan"),
        ({"benchmark": "a/b", "version": "1"}, "case.version is '1'"),
    ],
)
def test_malformed_case_is_refused_with_the_field(data: object, message: str) -> None:
    with pytest.raises(InvalidPlan, match=message.replace("[", r"\[")):
        Case.from_dict(data)


def test_getters_refuse_a_value_of_another_type() -> None:
    params = Params({"m": "large", "on": True})
    with pytest.raises(InvalidPlan, match="'m' is 'large'; it must be an integer"):
        params.integer("m")
    with pytest.raises(InvalidPlan, match="'on' is True; it must be an integer"):
        params.integer("on")
    with pytest.raises(InvalidPlan, match="'on' is True; it must be a text"):
        params.text("on")
