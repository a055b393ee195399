"""Resource names: how they are written and read back.

`runs/{run}`, `runs/{run}/attempts/{attempt}`, `regressions/{regression}`, `hosts/{host}`, `suites/{suite}`,
`series/{series}`,
`projects/{project}/baselines/{baseline}`, `projects/{project}/schedules/{schedule}`,
`projects/{project}/policies/{revision}`.
"""

import re
from dataclasses import dataclass

HOST_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
PROJECT_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
# Branch heads are baselines too, so that this allows what git allows in branch names, blanks aside.
BASELINE_PATTERN = re.compile(r"[A-Za-z0-9][^\s\x00-\x1f\x7f]{0,254}")
SCHEDULE_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
POLICY_PATTERN = re.compile(r"current|[0-9]{1,9}")
SUITE_PATTERN = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")

_LARGEST_ID = 2**63 - 1


class ResourceNameError(ValueError):
    """A resource name is not of the form that its field asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptName:
    """Identity of an attempt."""

    run: int
    attempt: int

    def __str__(self) -> str:
        return f"runs/{self.run}/attempts/{self.attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectScoped:
    """Identity of something that is unique within a project."""

    project: str
    id: str


def run_name(run: int) -> str:
    """The name of a run."""
    return f"runs/{run}"


def regression_name(regression: int) -> str:
    """The name of a regression."""
    return f"regressions/{regression}"


def host_name(host: str) -> str:
    """The name of a host."""
    return f"hosts/{host}"


def suite_name(suite: str) -> str:
    """The name of a suite."""
    return f"suites/{suite}"


def baseline_name(project: str, baseline: str) -> str:
    """The name of a baseline."""
    return f"projects/{project}/baselines/{baseline}"


def schedule_name(project: str, schedule: str) -> str:
    """The name of a schedule."""
    return f"projects/{project}/schedules/{schedule}"


def policy_name(project: str, revision: int) -> str:
    """The name of a revision of a project's policy; 0 is what is built in."""
    return f"projects/{project}/policies/{revision}"


def series_name(series: int) -> str:
    """The name of a series."""
    return f"series/{series}"


def parse_series(name: str) -> int:
    """The id in `series/{series}`.

    Raises:
        ResourceNameError: the name has another form.
    """
    return _number(name, re.fullmatch(r"series/([0-9]{1,19})", name), "series/{series}, for example series/12")


def parse_run(name: str) -> int:
    """The id in `runs/{run}`.

    Raises:
        ResourceNameError: the name has another form.
    """
    return _number(name, re.fullmatch(r"runs/([0-9]{1,19})", name), "runs/{run}, for example runs/42")


def parse_regression(name: str) -> int:
    """The id in `regressions/{regression}`.

    Raises:
        ResourceNameError: the name has another form.
    """
    form = "regressions/{regression}, for example regressions/7"
    return _number(name, re.fullmatch(r"regressions/([0-9]{1,19})", name), form)


def parse_attempt(name: str) -> AttemptName:
    """The ids in `runs/{run}/attempts/{attempt}`.

    Raises:
        ResourceNameError: the name has another form.
    """
    match = re.fullmatch(r"runs/([0-9]{1,19})/attempts/([0-9]{1,19})", name)
    if match is None or any(int(group) > _LARGEST_ID for group in match.groups()):
        raise ResourceNameError(_complaint(name, "runs/{run}/attempts/{attempt}"))
    return AttemptName(run=int(match[1]), attempt=int(match[2]))


def parse_host(name: str) -> str:
    """The host in `hosts/{host}`.

    Raises:
        ResourceNameError: the name has another form.
    """
    return _text(name, "hosts/", HOST_PATTERN, "hosts/{host}")


def parse_suite(name: str) -> str:
    """The suite in `suites/{suite}`.

    Raises:
        ResourceNameError: the name has another form.
    """
    return _text(name, "suites/", SUITE_PATTERN, "suites/{suite}")


def parse_baseline(name: str) -> ProjectScoped:
    """Project and id in `projects/{project}/baselines/{baseline}`.

    Raises:
        ResourceNameError: the name has another form.
    """
    return _scoped(name, "baselines", BASELINE_PATTERN)


def parse_schedule(name: str) -> ProjectScoped:
    """Project and id in `projects/{project}/schedules/{schedule}`.

    Raises:
        ResourceNameError: the name has another form.
    """
    return _scoped(name, "schedules", SCHEDULE_PATTERN)


def parse_policy(name: str) -> ProjectScoped:
    """Project and revision, or `current`, in `projects/{project}/policies/{revision}`.

    Raises:
        ResourceNameError: the name has another form.
    """
    return _scoped(name, "policies", POLICY_PATTERN)


def _number(name: str, match: re.Match[str] | None, form: str) -> int:
    if match is None or int(match[1]) > _LARGEST_ID:
        raise ResourceNameError(_complaint(name, form))
    return int(match[1])


def _text(name: str, prefix: str, pattern: re.Pattern[str], form: str) -> str:
    rest = name.removeprefix(prefix)
    if rest == name or not pattern.fullmatch(rest):
        raise ResourceNameError(_complaint(name, form))
    return rest


def _scoped(name: str, collection: str, pattern: re.Pattern[str]) -> ProjectScoped:
    match = re.fullmatch(rf"projects/([^/]+)/{collection}/(.+)", name)
    if match is None or not PROJECT_PATTERN.fullmatch(match[1]) or not pattern.fullmatch(match[2]):
        raise ResourceNameError(_complaint(name, f"projects/{{project}}/{collection}/{{id}}"))
    return ProjectScoped(project=match[1], id=match[2])


def _complaint(name: str, form: str) -> str:
    return f"{name!r} is not of the form {form}"
