"""Formulas of a manifest: what they can say, and that they can do nothing else."""

import numpy as np
import pytest
from tesserabench.bench.bundle.expression import ARRAY_FUNCTIONS, Expression, ExpressionError, array_functions


@pytest.mark.parametrize(
    ("text", "names", "value"),
    [
        ("ceil_div(n, 256)", {"n": 1000}, 4),
        ("2 * m * n * k", {"m": 2, "n": 3, "k": 5}, 60),
        ("n * itemsize(dtype)", {"n": 10, "dtype": "float64"}, 80),
        ("ctype(dtype)", {"dtype": "float32"}, "float"),
        ("n if dtype == 'float32' and n > 3 else 0", {"n": 4, "dtype": "float32"}, 4),
        ("1 < n <= 4", {"n": 5}, False),
        ("not (n % 2) or -n > 0", {"n": 3}, False),
        ("max(1, n // 2) ** 3", {"n": 8}, 64),
        ("4096", {}, 4096),
    ],
)
def test_formula_has_the_value_that_arithmetic_gives(text: str, names: dict[str, object], value: object) -> None:
    assert Expression.read(text).value(names) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("__import__('os').system('true')", "calls"),
        ("n.__class__", "Attribute"),
        ("(lambda: 1)()", "calls"),
        ("[x for x in (1, 2)]", "ListComp"),
        ("open('/etc/passwd')", "calls open"),
        ("f'{n}'", "JoinedStr"),
        ("n if", "no formula"),
        ("", "1 to"),
        ("n << 3", "operator"),
        ("max(**n)", "**"),
        ("b'abc'", "only numbers"),
        ("+".join(["n"] * 300), "at most"),
        ("(" * 500 + "n" + ")" * 500, "no formula"),
    ],
)
def test_anything_but_arithmetic_is_refused_when_it_is_read(text: str, says: str) -> None:
    with pytest.raises(ExpressionError, match=says.replace("*", r"\*")):
        Expression.read(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("n // 0", "has no value"),
        ("9 ** 9 ** 9", "larger than"),
        ("((((2**255 * 2**255))))", "larger than"),
        ("q + 1", "'q', which is unknown here; known: n"),
        ("'a' * n", "calculates with a text"),
        ("itemsize('float7')", "has no value"),
    ],
)
def test_formula_without_a_value_says_why(text: str, says: str) -> None:
    formula = Expression.read(text)
    with pytest.raises(ExpressionError) as caught:
        formula.value({"n": 3})
    assert says in str(caught.value)


def test_count_must_be_whole() -> None:
    assert Expression.read("n / 2").integer({"n": 4}) == 2
    with pytest.raises(ExpressionError, match="whole number"):
        Expression.read("n / 2").integer({"n": 5})


def test_names_are_those_that_stand_for_values() -> None:
    assert Expression.read("max(n, k) + ceil_div(m, 2)").names == {"n", "k", "m"}


def test_reference_calculates_with_arrays() -> None:
    x = np.arange(12.0).reshape(3, 4)
    formula = Expression.read("x[1:, :] @ transpose(x) - max(x, axis=1)", frozenset(ARRAY_FUNCTIONS))
    expected = x[1:] @ x.T - x.max(axis=1)
    assert np.array_equal(formula.value({"x": x}, array_functions()), expected)
    between = Expression.read("where((x > 2) * (x < 7), x, 0.0)", frozenset(ARRAY_FUNCTIONS))
    assert between.value({"x": x}, array_functions()).sum() == 3 + 4 + 5 + 6
    with pytest.raises(ExpressionError, match="calls load"):
        Expression.read("load('secret.npy')", frozenset(ARRAY_FUNCTIONS))
