"""The gate as a stream: a pair of measurements a line, and a verdict a line."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from tesserabench.cli.errors import CliError
from tesserabench.cli.output.streams import write_through

_VERDICTS = {"regressed": "regression", "improved": "improvement", "pass": "no_change", "inconclusive": "inconclusive"}
_SHAPE = '{"base": [[1.0, ...], ...], "new": [[...], ...], "meta": {"lower_is_better": true, "history": [[...], ...]}}'


class BadLineError(ValueError):
    """A line that is no pair, with what is wrong and what is wanted."""


def load_judge() -> Any:
    """What judges two sides of samples, imported now.

    Raises:
        CliError: SciPy is not installed.
    """
    try:
        import scipy.special  # noqa: F401, PLC0415 - only to learn whether it is there; slow to import
        from tesserabench.analysis import samples  # noqa: PLC0415 - with it
    except ImportError as error:
        missing = error.name or "a package"
        raise CliError(f"judging here needs {missing}; install it with: pip install 'tesserabench[agent]'") from error
    return samples


def answer_lines(judge: Any, lines: Iterable[str], answers: TextIO) -> None:
    """Answer line by line, each before the next is read; a bad line is answered by its error, and the stream goes on.

    Args:
        judge: The module that `load_judge` gives.
        lines: The requests.
        answers: Where the answers go; when nobody reads them any more, it ends.

    Raises:
        CliError: an answer cannot be written.
    """
    for line in lines:
        if not line.strip():
            continue
        try:
            answer = _answer(judge, _document(line))
        except BadLineError as error:
            answer = {"error": str(error)}
        if not write_through(answers, json.dumps(answer, separators=(",", ":")) + "\n"):
            return


def _document(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        # Beside what is no JSON: numbers of thousands of digits, and thousands of brackets.
        raise BadLineError(f"no JSON ({error}); a line has the form {_SHAPE}") from error


def _answer(judge: Any, request: Any) -> dict[str, Any]:
    if not isinstance(request, dict):
        raise BadLineError(f"a line is an object of the form {_SHAPE}")
    meta = request.get("meta") or {}
    if not isinstance(meta, dict):
        raise BadLineError(f"meta is {meta!r:.40}; it must be an object")
    found = judge.judge_samples(
        _runs(request, "base"),
        _runs(request, "new"),
        better=_better(meta.get("lower_is_better")),
        history=_runs(meta, "history", optional=True),
    )
    interval = None if found.change_low is None else [found.change_low, found.change_high]
    fields = {
        "verdict": _VERDICTS[found.verdict.value],
        "severity": found.severity and found.severity.value,
        "confirmed": found.confirmed,
        "change": found.change,
        "interval": interval,
        "p": found.p_value,
        "reason": found.reason and found.reason.value,
        "smallest_visible": found.smallest_visible_change,
        "explanation": found.explanation,
        "recommendation": found.recommendation,
        "notes": list(found.notes),
    }
    return {name: value for name, value in fields.items() if value not in (None, "", [])}


def _better(lower: Any) -> Any:
    from tesserabench.analysis.words import Better  # noqa: PLC0415 - with the library

    if lower not in (None, True, False):
        raise BadLineError(f"meta.lower_is_better is {lower!r:.40}; it must be true or false")
    return Better.HIGHER if lower is False else Better.LOWER


def _runs(where: Mapping[str, Any], name: str, *, optional: bool = False) -> Sequence[Sequence[float]]:
    runs = where.get(name)
    if runs is None and optional:
        return ()
    if not isinstance(runs, list) or not all(isinstance(run, list) for run in runs):
        raise BadLineError(f"{name} must be a list of runs, and a run a list of samples: a line has the form {_SHAPE}")
    return [[_sample(name, value) for value in run] for run in runs]


def _sample(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadLineError(f"{name} holds {value!r:.40}; samples are numbers")
    try:
        return float(value)
    except OverflowError as error:
        raise BadLineError(f"{name} holds {value!r:.40}, which is too large") from error
