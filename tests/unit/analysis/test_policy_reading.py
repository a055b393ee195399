"""What is made of policies beside judging: differences, warnings, texts, the schema of editors."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.analysis.rules import (
    ChangeKind,
    PolicyChange,
    PolicyError,
    RuleSet,
    differences_of,
    json_schema,
    match_text,
    warnings_of,
    written,
)
from tesserabench.analysis.rules.match import TEXT_KEYS
from tesserabench.analysis.rules.rule import Rule
from tesserabench.analysis.rules.schema import MATCH_HELP
from tesserabench.analysis.rules.settings import BY_KEY, SETTINGS, Setting
from tesserabench.analysis.rules.writing import duration

HEAD = "apiVersion: tesserabench/v1\nkind: Policy\n"
TODAY = date(2030, 6, 1)


def _rules(*lines: str) -> RuleSet:
    return RuleSet.parse(HEAD + "rules:\n" + "\n".join(f"  - {line}" for line in lines))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_the_example_of_every_setting_is_read_and_named_in_the_schema(setting: Setting) -> None:
    key, example = setting.key, setting.example
    rules = RuleSet.parse(f"{HEAD}defaults:\n  {example}\n")
    rule = rules.for_run(suite="gemm", branch="main")
    assert rule.origin(key).rule == "defaults"
    value = getattr(rule, BY_KEY[key].field)
    assert value != getattr(Rule(), BY_KEY[key].field) or key.startswith("severities.")
    assert written(key, value) != "-"
    schema = json_schema()["properties"]
    for place in (schema["defaults"], schema["rules"]["items"]):
        outer, _, inner = key.partition(".")
        assert outer in place["properties"]
        assert not inner or inner in place["properties"][outer]["properties"]


@pytest.mark.parametrize("version", ["tesserabench/v9", "tesserabench/v1beta1", "9"])
def test_a_file_of_another_version_is_refused_with_the_one_that_is_read(version: str) -> None:
    with pytest.raises(PolicyError) as caught:
        RuleSet.parse(f"apiVersion: {version}\nkind: Policy\nrule: []\n")
    said = [problem.text("policy.yaml") for problem in caught.value.problems]
    assert said[0].endswith("write tesserabench/v1; this reads no other")
    assert said[1] == "policy.yaml:3: rule: no such key; did you mean 'rules'?"


def test_the_schema_and_the_reader_know_the_same_keys() -> None:
    rule = json_schema()["properties"]["rules"]["items"]["properties"]
    settings = {key.partition(".")[0] for key in BY_KEY}
    assert set(rule) == settings | {"name", "match", "severities"}
    assert set(rule["match"]["properties"]) == {*TEXT_KEYS, "host", "parameters", "primary"} == set(MATCH_HELP)


def test_every_setting_of_a_rule_can_be_said() -> None:
    said = {setting.field for setting in SETTINGS}
    assert {name for name in Rule.__slots__ if name not in {"usual", "origins"}} == said


def test_a_difference_is_told_rule_by_rule_and_setting_by_setting() -> None:
    before = _rules(
        "{name: a, match: {suite: gemm}, owner: me}", "{name: b, minimum-effect: 2 %}", "{name: c, alert: none}"
    )
    after = _rules(
        "{name: c, alert: none}",
        "{name: a, match: {suite: conv}, owner: you, missing-after: 36h}",
        "{name: d, match: {host: 'x-*', primary: false}, ignore: {reason: flaky, until: 2030-07-01}}",
    )
    changes = [(one.kind, one.rule, one.setting, one.before, one.after) for one in differences_of(before, after)]
    assert changes == [
        (ChangeKind.REMOVED, "b", "match", "everything", ""),
        (ChangeKind.REMOVED, "b", "minimum-effect", "2 %", ""),
        (ChangeKind.MOVED, "a", "", "rule 1", "after 'c'"),
        (ChangeKind.CHANGED, "a", "match", "suite=gemm", "suite=conv"),
        (ChangeKind.CHANGED, "a", "owner", "me", "you"),
        (ChangeKind.CHANGED, "a", "missing-after", "", "1d12h"),
        (ChangeKind.ADDED, "d", "match", "", "host=x-* primary=false"),
        (ChangeKind.ADDED, "d", "ignore", "", "flaky (until 2030-07-01)"),
    ]


def test_a_rule_that_was_overtaken_is_told_as_moved() -> None:
    lines = [f"{{name: r{place}, owner: o{place}}}" for place in range(4)]
    changes = differences_of(_rules(*lines), _rules(lines[3], *lines[:3]))
    assert changes == (PolicyChange(kind=ChangeKind.MOVED, rule="r3", before="rule 4", after="first"),)


@given(st.permutations(range(5)))
def test_nothing_but_order_differs_between_permutations_and_each_is_told(order: list[int]) -> None:
    lines = [f"{{name: r{place}, owner: o{place}}}" for place in range(5)]
    changes = differences_of(_rules(*lines), _rules(*(lines[place] for place in order)))
    assert all(change.kind is ChangeKind.MOVED for change in changes)
    assert bool(changes) == (list(order) != list(range(5)))


@given(st.permutations(range(4)))
def test_a_policy_does_not_differ_from_itself(order: list[int]) -> None:
    rules = _rules(*(f"{{name: r{place}, match: {{suite: s{place}}}, owner: o{place}}}" for place in order))
    assert differences_of(rules, rules) == ()


def test_what_an_earlier_rule_always_decides_is_warned_of() -> None:
    rules = _rules(
        "{name: wide, match: {suite: gemm}, owner: me}",
        "{name: narrow, match: {suite: gemm, metric: time}, owner: you, alert: none}",
        "{name: other, match: {suite: conv}, owner: them}",
    )
    (problem,) = warnings_of(rules, today=TODAY)
    assert (problem.field, problem.line) == ("narrow.owner", 5)
    assert "rule 'wide' in line 4 always decides it" in problem.message


def test_what_has_run_out_is_warned_of() -> None:
    rules = _rules(
        "{name: a, match: {suite: a}, ignore: {reason: x, until: 2030-05-31}}",
        "{name: b, match: {suite: b}, ignore: {reason: x, until: 2030-06-02}}",
    )
    fields = [problem.field for problem in warnings_of(rules, today=TODAY)]
    assert fields == ["a.ignore"]
    assert "it ran out on 2030-05-31" in warnings_of(rules, today=TODAY)[0].message


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(90, "1m30s"), (5400, "1h30m"), (86_400, "1d"), (604_800, "7d"), (0.5, "0.5s"), (float("inf"), "never")],
)
def test_durations_are_written_as_the_file_reads_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_match_is_written_in_one_line() -> None:
    rules = _rules(
        "{name: a, match: {suite: [gemm, '!gemm2'], parameters: {m: '>=4'}, host: h, primary: true}, owner: x}"
    )
    assert match_text(rules.clauses[0].match) == "suite=gemm|!gemm2 parameters.m=>=4 host=h primary=true"
