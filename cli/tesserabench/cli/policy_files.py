"""Policy files as commands read them, and series as people name them on a command line."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
from click.shell_completion import CompletionItem
from tesserabench.analysis.rules import PolicyError, RuleSet, Subject, warnings_of
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import UsageProblem
from tesserabench.cli.parsing import parse_boolean, parse_pair
from tesserabench.cli.settings.schema import near

_TEXT_KEYS = ("suite", "benchmark", "case", "mode", "metric", "device", "branch")
_KEYS = (*_TEXT_KEYS, "host", "primary", "parameters.NAME")
_CASE = re.compile(r"(?:(?P<suite>[^/\[\]]+)/)?(?P<benchmark>[^/\[\]]+)(?:\[(?P<parameters>.*)\])?")


def read_text(path: str) -> str:
    """The text of a policy file.

    Raises:
        UsageProblem: it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageProblem(f"{path}: cannot be read ({error.strerror}); give the path of a policy file") from None
    except UnicodeDecodeError as error:
        raise UsageProblem(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None


def read_rules(path: str, text: str) -> RuleSet:
    """The rules in a policy file.

    Raises:
        UsageProblem: something is wrong; the details are one line a mistake.
    """
    try:
        return RuleSet.parse(text, source=path)
    except PolicyError as error:
        problems = [problem.text(path) for problem in error.problems]
        if len(problems) == 1:
            raise UsageProblem(problems[0]) from None
        raise UsageProblem(f"{path}: {len(problems)} mistakes; correct them", details=tuple(problems)) from None


def warnings_in(path: str, rules: RuleSet) -> list[str]:
    """What is allowed and probably not meant, one sentence each."""
    return [problem.text(path) for problem in warnings_of(rules, today=datetime.now(UTC).date())]


def project_of(context: CommandContext, path: str, rules: RuleSet) -> str:
    """The project that a file is for: the one that it names, else the one of the settings.

    Raises:
        UsageProblem: the command line names another one than the file.
    """
    if rules.project and "project" in context.flags and context.flags["project"] != rules.project:
        raise UsageProblem(f"{path} is for project {rules.project!r}, not {context.flags['project']!r}; leave one out")
    return rules.project or context.settings.project


def subject_of(pairs: tuple[str, ...]) -> Subject:
    """The series in `KEY=VALUE` pairs. A case's name fills in suite, benchmark and parameters that are not given.

    Raises:
        UsageProblem: a key is not known, or stands twice.
    """
    texts: dict[str, str] = {}
    parameters: dict[str, str] = {}
    hosts: list[str] = []
    primary: bool | None = None
    given: set[str] = set()
    for pair in pairs:
        key, value = parse_pair(pair, form="--series KEY=VALUE")
        if key in given and key != "host":
            raise UsageProblem(f"--series {key} is given twice; give it once")
        given.add(key)
        if key in _TEXT_KEYS:
            texts[key] = value
        elif key == "host":
            hosts.append(value)
        elif key == "primary":
            primary = parse_boolean(value)
        elif key.startswith("parameters."):
            parameters[key.partition(".")[2]] = value
        else:
            hint = near(key, list(_KEYS))
            raise UsageProblem(f"--series {key!r} is not known{hint}; there are: {', '.join(_KEYS)}")
    known = {key: texts.get(key, "") for key in _TEXT_KEYS}
    return _filled(Subject(**known, hosts=tuple(hosts), parameters=parameters, primary=primary))


def complete_series(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Keys of `--series` that begin so."""
    del context, parameter
    keys = [key.removesuffix("NAME") if key.endswith("NAME") else f"{key}=" for key in _KEYS]
    return [CompletionItem(key) for key in keys if key.startswith(incomplete)]


def _filled(subject: Subject) -> Subject:
    match = _CASE.fullmatch(subject.case)
    if match is None:
        return subject
    pairs = (part.partition("=") for part in (match["parameters"] or "").split(",") if part)
    inside = {name: value for name, _, value in pairs}
    return replace(
        subject,
        suite=subject.suite or match["suite"] or "",
        benchmark=subject.benchmark or match["benchmark"],
        parameters=inside | dict(subject.parameters),
    )
