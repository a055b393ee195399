"""Options that several commands share, and the groups of values that they give."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
from tesserabench.cli.errors import CliError, UsageProblem
from tesserabench.cli.parsing import parse_duration, parse_moment, parse_regression_id, parse_run_id
from tesserabench.cli.settings.schema import FAIL_ON

Function = TypeVar("Function", bound=Callable[..., Any])

TIERS = ("smoke", "regression", "full", "nightly")
_MOST_LOOKS = 10
MODES = ("cold", "hot", "rotating", "sustained", "host")


class _Parsed(click.ParamType[Any]):
    """A type whose texts are read by a function that raises CliError."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value that the function reads."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except CliError as error:
            self.fail(error.sentence, param, ctx)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise UsageProblem(
            f"{text!r} is no regular expression: {error}; write \\[ for a bracket that means itself"
        ) from None
    return text


def _looks(text: str) -> int:
    """How many further looks; 0 when only the option was given."""
    if not text:
        return 0
    if not (text.isdigit() and 1 <= int(text) <= _MOST_LOOKS):
        raise UsageProblem(f"{text!r} is no number of further looks; give 1 to {_MOST_LOOKS}, or --confirm alone")
    return int(text)


DURATION = _Parsed("duration", parse_duration)
MOMENT = _Parsed("time", lambda text: parse_moment(text, now=datetime.now(UTC)))
LOOKS = _Parsed("looks", _looks)
PATTERN = _Parsed("regex", _pattern)
RUN = _Parsed("run", parse_run_id)
REGRESSION = _Parsed("regression", parse_regression_id)


def options(*decorators: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Several option decorators as one; they appear in help in the order given."""

    def decorate(function: Function) -> Function:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


spec_options = options(
    click.option("--suite", "suites", multiple=True, metavar="NAME", help="Suite to measure."),
    click.option("--tier", type=click.Choice(TIERS), help="How much of the suite. Default: regression."),
    click.option(
        "-l", "--selector", "selectors", multiple=True, metavar="CONDITIONS", help="Hosts: gpu=h100,driver>=570."
    ),
    click.option("--nodes", metavar="N|NAME,..", help="On how many hosts, or on which."),
    click.option("--device", metavar="KIND", help="auto, cpu, cuda, cuda:1 or simulated."),
    click.option(
        "--set", "overrides", multiple=True, metavar="BENCH.PARAM=VALUE", help="Another value of a parameter."
    ),
    click.option("--benchmark", "include", multiple=True, type=PATTERN, metavar="REGEX", help="Only cases that match."),
    click.option("--skip", "exclude", multiple=True, type=PATTERN, metavar="REGEX", help="No cases that match."),
    click.option(
        "--repeat", type=click.IntRange(1, 1000), metavar="N", help="Trials: worker processes one after another."
    ),
    click.option("--mode", type=click.Choice(MODES), help="Timing mode for every case."),
    click.option("--seed", type=click.IntRange(0, 2**64 - 1), metavar="N", help="Seed of inputs and order."),
    click.option("--case-timeout", type=DURATION, metavar="DURATION", help="Longest time for one case."),
    click.option("--run-timeout", type=DURATION, metavar="DURATION", help="Longest time for the run on a host."),
    click.option(
        "--drill", "drills", multiple=True, metavar="BENCH=FACTOR", help="Plant a slow-down to try out the alarm."
    ),
    click.option(
        "--determinism",
        type=click.IntRange(2, 10_000),
        metavar="N",
        help="Compare the outputs of N launches bit by bit.",
    ),
    click.option("--duet", is_flag=True, help="Measure two arms in turns; alone, a run against itself."),
    click.option(
        "--duet-set",
        "duet_overrides",
        multiple=True,
        metavar="BENCH.PARAM=VALUE",
        help="What arm B has otherwise; implies --duet.",
    ),
    click.option(
        "--smallest-effect",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        metavar="SHARE",
        help="Least change between arms that counts; default 0.01.",
    ),
)

revision_options = options(
    click.option("--commit", envvar="TBCTL_COMMIT", metavar="HASH", help="Commit that is measured."),
    click.option("--branch", envvar="TBCTL_BRANCH", metavar="NAME", help="Its branch."),
    click.option("--base", metavar="NAME", help="Branch to compare with."),
    click.option("--pr", "pull_request", envvar="TBCTL_PR", metavar="N", help="Pull or merge request."),
    click.option("--build-url", envvar="TBCTL_BUILD_URL", metavar="URL", help="Address of the build."),
    click.option("--repository", envvar="TBCTL_REPOSITORY", metavar="OWNER/NAME", help="Repository."),
)

judging_options = options(
    click.option("--baseline", metavar="REF", help="Compare with a baseline, branch:NAME, commit:HASH or run:ID."),
    click.option(
        "--confirm",
        "looks",
        type=LOOKS,
        is_flag=False,
        flag_value="",
        metavar="[N]",
        help="Measure suspects again before they count (default); with N, all undecided, up to N times.",
    ),
    click.option("--no-confirm", is_flag=True, help="What the first look finds counts at once."),
    click.option(
        "--budget", type=DURATION, metavar="DURATION", help="Longest time that measuring again may take, queues too."
    ),
    click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Label of the run."),
)

policy_options = options(
    click.option("--fail-on", type=click.Choice(FAIL_ON), help="Least severity that ends with 10 (2 %, 5 %, 10 %)."),
    click.option("--fail-on-inconclusive", is_flag=True, help="End with 11 when it cannot be told."),
    click.option(
        "--fail-on-error/--no-fail-on-error", default=True, help="End with 12 or 14 when cases fail. Default."
    ),
)

follow_options = options(
    click.option("--follow-logs", is_flag=True, help="Show the workers' lines on stderr."),
    click.option("--cancel-on-interrupt", is_flag=True, help="Ctrl-C cancels the run too."),
    click.option(
        "--json",
        "json_file",
        type=click.Path(dir_okay=False, writable=True),
        metavar="FILE",
        help="Write the report there too.",
    ),
    click.option("--allow-empty", is_flag=True, help="A run without results is no error."),
)

page_options = options(
    click.option(
        "--limit",
        type=click.IntRange(1, 100_000),
        default=50,
        show_default=True,
        metavar="N",
        help="At most this many.",
    ),
    click.option("--all", "everything", is_flag=True, help="All of them."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What was typed, by the names of the options' parameters."""

    values: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A text; empty when it was not given."""
        value = self.values.get(name)
        return "" if value is None else str(value)

    def many(self, name: str) -> tuple[str, ...]:
        """The values of an option that may be repeated."""
        return tuple(self.values.get(name) or ())

    def flag(self, name: str) -> bool:
        """Whether a flag was given."""
        return bool(self.values.get(name))

    def get(self, name: str) -> Any:
        """A value as click gives it; None when it was not given."""
        return self.values.get(name)
