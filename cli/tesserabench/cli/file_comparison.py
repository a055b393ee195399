"""Two files of results, judged here by what the collector judges with."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict
from tesserabench.cli.errors import CliError, UsageProblem
from tesserabench.cli.policy_files import read_rules, read_text
from tesserabench.v1.comparison_pb2 import Comparison

_WRITTEN_BY = "give a file written by: tbctl bench run --out, or: tbctl result list RUN -o json"


def names_a_file(reference: str) -> bool:
    """Whether a side of a comparison is a file rather than something that the collector knows."""
    # No commit, branch or baseline begins like a path; a shell's <(...) is /dev/fd/63.
    return reference.endswith(".json") or reference.startswith(("/", "./", "../"))


def compare_files(base: str, head: str, *, suite: str = "", policy: str = "") -> Comparison:
    """The comparison of two files.

    Args:
        base: File to compare with.
        head: File that is judged.
        suite: Only this suite; empty keeps all.
        policy: A policy file to judge by; empty takes what is built in.

    Raises:
        UsageProblem: one of them is no file of results, or the policy file is wrong.
        CliError: one cannot be read, or SciPy is not installed.
    """
    for name in (base, head):
        if not names_a_file(name):
            raise UsageProblem(f"{name!r} is no file, and {base if name == head else head!r} is one; compare two files")
    _require_scipy()
    from tesserabench.analysis.rules import RuleSet  # noqa: PLC0415 - slow to import
    from tesserabench.analysis.rules.verdicts import Terms, compare_under  # noqa: PLC0415 - with it
    from tesserabench.report.comparison_json import comparison_json  # noqa: PLC0415 - with it

    now = datetime.now(UTC)
    rules = read_rules(policy, read_text(policy)) if policy else RuleSet()
    terms = Terms(rules=rules, name=policy, suite=suite, today=now.date())
    found = compare_under(terms, _read(base, suite), _read(head, suite))
    return ParseDict(comparison_json(found, now), Comparison())


def _require_scipy() -> None:
    try:
        import scipy.special  # noqa: F401, PLC0415 - only to learn whether it is there; slow to import
    except ImportError as error:
        missing = error.name or "a package"
        message = f"comparing files here needs {missing}; install it with: pip install 'tesserabench[agent]'"
        raise CliError(message) from error


def _read(path: str, suite: str) -> Any:

    from tesserabench.report.result_sets import result_set  # noqa: PLC0415 - slow to import

    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CliError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageProblem(f"{path} is no text but holds other bytes; {_WRITTEN_BY}") from error
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"{path} is no JSON, or not all of it ({error}); {_WRITTEN_BY}") from error
    if not isinstance(document, dict):
        raise UsageProblem(f"{path} holds no document; {_WRITTEN_BY}")
    try:
        found = result_set(document, label=path)
    except ValueError as error:
        raise UsageProblem(f"{path}: {error}; {_WRITTEN_BY}") from error
    if not suite:
        return found
    return replace(
        found,
        series=tuple(series for series in found.series if series.suite == suite),
        failures=tuple(failure for failure in found.failures if failure.suite == suite),
    )
