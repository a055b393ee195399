"""Texts that people type, read into values: durations, moments, pairs, ids. Every error names value and remedy."""

import re
from datetime import UTC, datetime, timedelta

from tesserabench.cli.errors import UsageProblem

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_LONGEST_SECONDS = 366 * 86_400.0


def parse_duration(text: str) -> float:
    """Seconds in `90s`, `40m`, `1h30m`, `500ms`, `2d`, or a plain number of seconds.

    Raises:
        UsageProblem: the text has another form, or is longer than a year.
    """
    cleaned = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", cleaned):
        seconds = float(cleaned)
    else:
        parts = _DURATION_PART.findall(cleaned)
        if not parts or "".join(number + unit for number, unit in parts) != cleaned:
            raise UsageProblem(f"{text!r} is no duration; write it like 90s, 40m, 1h30m or 500ms")
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds > _LONGEST_SECONDS:
        raise UsageProblem(f"{text!r} is longer than a year; give a shorter duration")
    return seconds


def parse_moment(text: str, *, now: datetime) -> datetime:
    """The moment in an RFC 3339 time (`2030-01-31T18:00:00Z`), or `now` plus a duration (`2h`).

    Raises:
        UsageProblem: the text is neither, has no time zone, or lies in the past.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return now + timedelta(seconds=parse_duration(text))
        except UsageProblem:
            raise UsageProblem(
                f"{text!r} is no time; write a duration like 2h or a time like 2030-01-31T18:00:00Z"
            ) from None
    if moment.tzinfo is None:
        example = f"{moment.isoformat(timespec='seconds')}Z"
        raise UsageProblem(f"{text!r} has no time zone; write {example}, or an offset such as +02:00 for the Z")
    if moment <= now:
        raise UsageProblem(f"{text!r} lies in the past; it is {now.isoformat(timespec='seconds')} now")
    return moment.astimezone(UTC)


def parse_pair(text: str, *, form: str) -> tuple[str, str]:
    """Key and value of `key=value`; `form` is the form to name in the error, such as `--label KEY=VALUE`.

    Raises:
        UsageProblem: there is no `=`, or nothing before it.
    """
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise UsageProblem(f"{text!r} is not of the form {form}")
    return key.strip(), value.strip()


def parse_boolean(text: str) -> bool:
    """True for 1, true, yes, on; false for 0, false, no, off.

    Raises:
        UsageProblem: any other text.
    """
    cleaned = text.strip().lower()
    if cleaned in _TRUE:
        return True
    if cleaned in _FALSE:
        return False
    raise UsageProblem(f"{text!r} is neither yes nor no; write true or false")


def parse_run_id(text: str) -> str:
    """The resource name `runs/{run}` for `42`, `run:42` or `runs/42`.

    Raises:
        UsageProblem: the text has another form.
    """
    return _numbered(text, kind="run", collection="runs")


def parse_regression_id(text: str) -> str:
    """The resource name `regressions/{regression}` for `7`, `R-7` or `regressions/7`.

    Raises:
        UsageProblem: the text has another form.
    """
    return _numbered(re.sub(r"^[Rr]-", "", text.strip()), kind="regression", collection="regressions", shown=text)


def short_id(name: str) -> str:
    """The last part of a resource name: `42` for `runs/42`; unchanged when there is no slash."""
    return name.rpartition("/")[2]


def _numbered(text: str, *, kind: str, collection: str, shown: str | None = None) -> str:
    match = re.fullmatch(rf"(?:{collection}/|{kind}:)?([0-9]{{1,18}})", text.strip())
    if match is None:
        raise UsageProblem(f"{(shown or text)!r} is no {kind}; give its number, for example 42 or {collection}/42")
    return f"{collection}/{int(match[1])}"


def any_of(patterns: tuple[str, ...]) -> str | None:
    """One pattern that matches what any of them matches; one alone stays as it was typed, its flags in front."""
    return patterns[0] if len(patterns) == 1 else "|".join(f"(?:{pattern})" for pattern in patterns) or None
