"""`tbctl policy validate|explain|schema`: what needs a policy file and no collector."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
from tesserabench.analysis.rules import Explanation, RuleSet, json_schema, match_text, written
from tesserabench.analysis.rules.settings import SETTINGS
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import UsageProblem
from tesserabench.cli.grammar import command
from tesserabench.cli.output.structured import as_json
from tesserabench.cli.output.table import Column
from tesserabench.cli.policy_files import complete_series, read_rules, read_text, subject_of, warnings_in
from tesserabench.v1.policy_service_pb2 import GetPolicyRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One setting of a series, and where it comes from."""

    setting: str
    value: str
    rule: str
    line: int


_LINES: Sequence[Column[_Line]] = (
    Column[_Line](title="SETTING", value=lambda row: row.setting),
    Column[_Line](title="VALUE", value=lambda row: row.value, shrink=True),
    Column[_Line](title="RULE", value=lambda row: row.rule, shrink=True),
    Column[_Line](title="LINE", value=lambda row: row.line or None, right=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _RuleLine:
    """What became of one rule."""

    rule: str
    asks_for: str
    answer: str


_RULES: Sequence[Column[_RuleLine]] = (
    Column[_RuleLine](title="RULE", value=lambda row: row.rule),
    Column[_RuleLine](title="ASKS FOR", value=lambda row: row.asks_for, shrink=True),
    Column[_RuleLine](title="HERE", value=lambda row: row.answer, shrink=True),
)


_CHECK: Sequence[Column[dict[str, Any]]] = (
    Column[dict[str, Any]](title="FILE", value=lambda item: str(item["file"])),
    Column[dict[str, Any]](title="PROJECT", value=lambda item: str(item["project"])),
    Column[dict[str, Any]](title="RULES", value=lambda item: int(item["rules"])),
    Column[dict[str, Any]](title="WARNINGS", value=lambda item: len(item["warnings"])),
)


@command(
    "validate",
    examples=(
        ("tbctl policy validate policy.yaml", "every mistake with its line and what to write instead"),
        ("tbctl policy validate --strict policy.yaml", "fail for what is probably not meant, too"),
    ),
)
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--strict", is_flag=True, help="Warnings are mistakes.")
def validate_command(context: CommandContext, file: str, strict: bool) -> None:  # noqa: FBT001 - click passes by name
    """Check a policy file. Needs no collector."""
    rules = read_rules(file, read_text(file))
    warnings = warnings_in(file, rules)
    if strict and warnings:
        raise UsageProblem(f"{file}: {_count(len(warnings), 'warning')}; correct them", details=tuple(warnings))
    for warning in warnings:
        context.printer.warn(warning)
    body = {"file": file, "project": rules.project, "rules": len(rules.clauses), "warnings": warnings}
    whose = f" for project {rules.project}" if rules.project else ""
    text = f"{file}: good, {_count(len(rules.clauses), 'rule')}{whose}"
    context.printer.thing("PolicyCheck", body, _CHECK, body=lambda item: item, text=text)


@command(
    "explain",
    examples=(
        (
            "tbctl policy explain policy.yaml --series 'case=gemm/matmul[m=4096,dtype=float16]' --series metric=time",
            "what holds for one series, and which rule says it",
        ),
        ("tbctl policy explain --series suite=gemm --series host=lab-03", "by the policy in force"),
    ),
)
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@click.option(
    "--series",
    "pairs",
    multiple=True,
    required=True,
    metavar="KEY=VALUE",
    shell_complete=complete_series,
    help="suite, benchmark, case, mode, metric, primary, device, host, branch or parameters.NAME; repeat it.",
)
def explain_command(context: CommandContext, file: str | None, pairs: tuple[str, ...]) -> None:
    """Say which rule decides what for a series, and why others do not. Without FILE, by the policy in force."""
    subject = subject_of(pairs)
    rules = read_rules(file, read_text(file)) if file else _in_force(context)
    explanation = rules.explain(subject)
    lines = _lines(explanation)
    considered = [_rule_line(item) for item in explanation.considered]
    body = {
        "settings": [_line_body(line) for line in lines],
        "rules": [{"rule": item.rule, "match": item.asks_for, "here": item.answer} for item in considered],
    }
    if context.printer.output == "csv":
        context.printer.items("PolicySetting", lines, _LINES, body=_line_body, nothing="")
        return
    text = "\n".join((context.printer.table(_LINES, lines), "", context.printer.table(_RULES, considered)))
    context.printer.thing("PolicyExplanation", body, (), body=lambda item: item, text=text)


def _line_body(line: _Line) -> dict[str, Any]:
    body: dict[str, Any] = {"setting": line.setting, "value": line.value, "rule": line.rule}
    return body | ({"line": line.line} if line.line else {})


def _in_force(context: CommandContext) -> RuleSet:
    name = f"projects/{context.settings.project}/policies/current"
    policy = context.collector.call(context.collector.stubs.policies.GetPolicy, GetPolicyRequest(name=name))
    return RuleSet.parse(policy.text, source=policy.name) if policy.text else RuleSet()


def _lines(explanation: Explanation) -> list[_Line]:
    rule = explanation.rule
    found: list[_Line] = []
    for setting in SETTINGS:
        origin = rule.origin(setting.key)
        value = written(setting.key, getattr(rule, setting.field))
        found.append(_Line(setting=setting.key, value=value, rule=origin.rule, line=origin.line))
    return found


def _rule_line(item: Any) -> _RuleLine:
    if item.obstacle is not None:
        answer = f"not about it: {item.obstacle}"
    elif item.used:
        answer = f"decides {', '.join(item.used)}"
    else:
        answer = "matches; earlier rules decide all that it says" if item.overruled else "says nothing"
    return _RuleLine(rule=item.clause.name, asks_for=match_text(item.clause.match), answer=answer)


@command(
    "schema",
    examples=(("tbctl policy schema > policy.schema.json", "for an editor that completes and checks while one types"),),
)
def schema_command(context: CommandContext) -> None:
    """Print a JSON Schema of policy files. Name it in the first line: # yaml-language-server: $schema=PATH."""
    context.printer.write(as_json(json_schema()))


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
