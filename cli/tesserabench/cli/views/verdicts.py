"""Colours of outcomes, verdicts and severities, and small cells that several tables share."""

from collections.abc import Mapping

from tesserabench.report.quantity import UNKNOWN

_STYLES = {
    "ok": "good",
    "pass": "good",
    "improved": "good",
    "ready": "good",
    "confirmed": "bad",
    "regressed": "bad",
    "critical": "bad",
    "unreachable": "bad",
    "suspected": "warn",
    "inconclusive": "warn",
    "major": "warn",
    "minor": "warn",
    "throttled": "warn",
    "unready": "warn",
    "cancelled": "dim",
    "unsupported": "dim",
    "": "dim",
}


def style_of(state: str) -> str:
    """The style for a word: an outcome, verdict, severity or state."""
    return _STYLES.get(state, "" if state in {"queued", "running", "judging", "finished", "busy"} else "bad")


def short_commit(commit: str) -> str:
    """The first ten digits of a commit hash."""
    return commit[:10]


def or_unknown(text: str) -> str:
    """The text, or the mark for what is not known."""
    return text or UNKNOWN


def case_text(benchmark: str, parameters: str) -> str:
    """`matmul m=512,n=512,float32`: a case as briefly as a person still knows it."""
    brief = ",".join(part.removeprefix("dtype=") for part in parameters.split(","))
    return f"{benchmark.rpartition('/')[2]} {brief}".rstrip()


def parameters_text(case_id: str, parameters: Mapping[str, str]) -> str:
    """`m=512,k=512`: as the case's id writes them, in the order of their declaration; else by name."""
    _, bracket, inside = case_id.partition("[")
    if bracket and inside.endswith("]"):
        return inside[:-1]
    return ",".join(f"{name}={parameters[name]}" for name in sorted(parameters))
