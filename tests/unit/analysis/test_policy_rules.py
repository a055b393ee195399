import pickle
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.rules import NEVER, Alert, Confirming, PolicyError, Rule, RuleSet, Subject

HEAD = "apiVersion: tesserabench/v1\nkind: Policy\n"

POLICY = (
    HEAD
    + """
project: kernels
defaults:
  minimum-effect: 2 %
  owner: "@performance"
rules:
  - name: restless hosts
    match: {host: ["lab-0?", "!lab-03"]}
    minimum-effect: 6 %
  - name: large products
    match:
      suite: gemm
      device: "nvidia h100*"
      parameters: {m: ">=4096", dtype: [float16, bfloat16], causal: true}
    minimum-effect: 1 %
    severities: {major: 3 %}
    owner: "@kernels"
    quality: {minimum: 1e3, unit: GB/s}
    missing-after: 3d
  - name: late branches
    match: {branch: "!main"}
    alert: none
    confirmation: {by: duet, budget: 30m, looks: 2}
"""
)

LARGE = Subject(
    suite="gemm",
    device="NVIDIA H100 80GB HBM3",
    parameters={"m": "8192", "dtype": "float16", "causal": "true"},
)


def _rules(text: str) -> RuleSet:
    return RuleSet.parse(HEAD + text, source="policy.yaml")


def _complaints(text: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        RuleSet.parse(text, source="policy.yaml")
    return str(caught.value).splitlines()


def test_nothing_said_is_what_is_built_in() -> None:
    rule = RuleSet().for_series(suite="gemm")
    assert rule == Rule()
    assert rule.policy() == Policy()
    assert rule.origin("owner").rule == "built in"


def test_each_setting_comes_from_the_first_rule_that_matches_and_says_it() -> None:
    rules = RuleSet.parse(POLICY)
    rule = rules.for_subject(replace(LARGE, hosts=("lab-01",)))
    assert (rule.minimum_effect, rule.owner, rule.major) == (0.06, "@kernels", 0.03)
    assert rule.name == "restless hosts"
    assert rule.origin("owner").rule == "large products"
    assert rule.origin("severities.critical").rule == "built in"
    assert rule.missing_after_seconds == 3 * 86_400


def test_severities_are_harm_so_that_a_wide_smallest_effect_lifts_what_is_found_to_them() -> None:
    policy = RuleSet.parse(POLICY).for_subject(replace(LARGE, hosts=("lab-01",))).policy()
    assert (policy.minor, policy.major, policy.critical) == (0.06, 0.06, 0.10)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "large products"),
        ({"hosts": ("lab-03",)}, "large products"),
        ({"hosts": ("lab-01", "quiet-1")}, "large products"),
        ({"hosts": ("LAB-01",)}, "restless hosts"),
        ({"device": ""}, "defaults"),
        ({"suite": "Gemm"}, "defaults"),
        ({"parameters": {"m": "4095", "dtype": "float16", "causal": "true"}}, "defaults"),
        ({"parameters": {"m": "4096", "dtype": "float16", "causal": "true"}}, "large products"),
        ({"parameters": {"m": "4096", "dtype": "float32", "causal": "true"}}, "defaults"),
        ({"parameters": {"m": "many", "dtype": "float16", "causal": "true"}}, "defaults"),
    ],
)
def test_a_rule_matches_when_all_that_it_asks_for_is_known_and_so(changes: dict[str, Any], name: str) -> None:
    rules = RuleSet.parse(POLICY)
    assert rules.for_subject(replace(LARGE, **changes)).name == name


def test_an_exception_alone_matches_everything_else_that_is_known() -> None:
    rules = RuleSet.parse(POLICY)
    assert rules.for_run(suite="gemm", branch="topic").alert is Alert.NONE
    assert rules.for_run(suite="gemm", branch="main").alert is Alert.BY_SEVERITY
    assert rules.for_run(suite="gemm").alert is Alert.BY_SEVERITY
    settled = rules.for_run(suite="gemm", branch="topic").confirmation
    assert (settled.by, settled.budget_seconds, settled.looks) == (Confirming.DUET, 1800, 2)


def test_brackets_and_dots_of_case_names_mean_themselves() -> None:
    rules = _rules("rules: [{name: a, match: {case: 'copy[n=1.5,*]'}, minimum-effect: 9 %}]")
    assert rules.for_series(suite="s", case="copy[n=1.5,dtype=float32]").minimum_effect == 0.09
    assert rules.for_series(suite="s", case="copyn").minimum_effect == 0.02
    assert rules.for_series(suite="s", case="copy[n=1x5,dtype=float32]").minimum_effect == 0.02


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [("1024..4096", "1024", "4097"), ("<1e3", "999", "1000"), ("<= 8", "8", "8.5"), ("-2..-1", "-1.5", "0")],
)
def test_conditions_on_numbers(pattern: str, inside: str, outside: str) -> None:
    rules = _rules(f"rules: [{{name: a, match: {{parameters: {{n: '{pattern}'}}}}, owner: me}}]")
    assert rules.for_series(suite="s", parameters={"n": inside}).owner == "me"
    assert rules.for_series(suite="s", parameters={"n": outside}).owner == ""


def test_an_explanation_names_the_rule_of_every_setting_and_why_others_are_not_about_it() -> None:
    explanation = RuleSet.parse(POLICY).explain(Subject(suite="gemm", device="NVIDIA L4", hosts=("lab-01",)))
    restless, large, late, defaults = explanation.considered
    assert (restless.obstacle, restless.used) == (None, ("minimum-effect",))
    assert large.obstacle == "device 'NVIDIA L4' is not 'nvidia h100*'"
    assert late.obstacle == "its branch is not known"
    assert (defaults.used, defaults.overruled) == (("owner",), ("minimum-effect",))
    assert explanation.rule.owner == "@performance"


def test_a_series_is_ignored_until_the_day() -> None:
    ignored = _rules("defaults: {ignore: {reason: new driver, until: 2030-01-31}}").for_series(suite="s").ignore
    assert ignored is not None
    assert ignored.holds(date(2030, 1, 30))
    assert not ignored.holds(date(2030, 1, 31))


def test_a_rule_takes_back_what_the_defaults_say() -> None:
    rules = _rules(
        "defaults: {ignore: all of it, missing-after: 3d, cordon: {slower-than: 8 %}}\n"
        "rules: [{name: gemm, match: {suite: gemm}, ignore: false, missing-after: never, cordon: never}]"
    )
    assert rules.for_series(suite="copy").ignore is not None
    gemm = rules.for_series(suite="gemm")
    assert (gemm.ignore, gemm.missing_after_seconds, gemm.cordon) == (None, NEVER, None)


def test_a_policy_travels_to_another_process() -> None:
    rules = RuleSet.parse(POLICY)
    assert pickle.loads(pickle.dumps(rules)) == rules


def test_every_mistake_is_told_at_once_with_its_line_field_value_and_remedy() -> None:
    complaints = _complaints(
        """apiVersion: v2
kind: Policy
rule: []
defaults:
  minimum_effect: 5 %
  severities: {major: 5, critical: 1 %, mini: 3}
rules:
  - name: a
    match: {benchmark: "*", hosts: x}
    hosts: [a]
    confirmation: duett
    owner:
  - name: a
    missing-after: 3 days
    quality: {minimum: 3, maximum: 2}
    ignore: {until: 2030-01-31}
  - owner: b
  - name: c
"""
    )
    assert complaints == [
        "policy.yaml:1: apiVersion: 'v2': write tesserabench/v1; this reads no other",
        "policy.yaml:3: rule: no such key; did you mean 'rules'?",
        "policy.yaml:5: defaults.minimum_effect: no such key; did you mean 'minimum-effect'?",
        "policy.yaml:6: defaults.severities.mini: no such key; did you mean 'minor'?",
        (
            "policy.yaml:6: defaults.severities.major: 5: a plain number is a fraction, so this is 500 %; write a size "
            "above 0 % and up to 1000 %, such as 2 % or 0.02"
        ),
        "policy.yaml:9: rules[0].match.hosts: no such key; did you mean 'host'?",
        (
            "policy.yaml:10: rules[0].hosts: a list of 1: it is for whole runs, of which only suite and branch are "
            "known; put it into a rule of its own without benchmark"
        ),
        "policy.yaml:11: rules[0].confirmation: 'duett': did you mean 'duet'?",
        (
            "policy.yaml:11: rules[0].confirmation: 'duett': it is for whole runs, of which only suite and branch are "
            "known; put it into a rule of its own without benchmark"
        ),
        "policy.yaml:12: rules[0].owner: nothing: write a text of one line",
        "policy.yaml:13: rules[1].name: 'a': the rule in line 8 has this name; each needs its own",
        "policy.yaml:14: rules[1].missing-after: '3 days': write a duration such as 90s, 20m, 1h30m, 3d or 2w",
        "policy.yaml:15: rules[1].quality: a mapping: the minimum 3 is above the maximum 2; exchange them",
        "policy.yaml:16: rules[1].ignore: a mapping: give a reason; whoever reads the next report will ask",
        "policy.yaml:17: rules[2].name: it is missing; reports and `tbctl policy explain` call the rule by it",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "policy.yaml:1: it is empty; begin with 'apiVersion', 'kind: Policy' and 'rules'"),
        (HEAD + "rules: [{name: a, owner: b}, {name: c}]", "it says nothing; give it a setting"),
        (HEAD + "rules: {a: b}", "write a list: each rule begins with '- name: ...'"),
        (HEAD + "defaults: {owner: a, owner: b}", "defaults.owner: it stands in line 3 already; keep one of the two"),
        (HEAD + "defaults: {severities: {minor: 1 %}, minimum-effect: 2 %}", "which is given too; keep one"),
        (HEAD + "defaults: {minimum-effect: 6 %, severities: {major: 5 %}}", "minimum-effect is 6 % here"),
        (HEAD + "defaults: {minimum-effect: 0}", "write a size above 0 %"),
        (HEAD + "defaults: {minimum-effect: .nan}", "write a size above 0 %"),
        (HEAD + "defaults: {minimum-launches: 2.5}", "write a whole number from 2 to 1000"),
        (HEAD + "defaults: {missing-after: 9999999w}", "write a duration of at most 520w"),
        (HEAD + "defaults: {quality: {minimum: .inf}}", "write a number"),
        (HEAD + "rules: [{name: a, match: {host: *x}}]", "put texts with * ? ! : in quotes"),
        (HEAD + "rules: [{name: defaults, owner: b}]", "write 1 to 63 letters"),
        (HEAD + "project: Über", "write 1 to 63 of a-z 0-9 _ -"),
        (HEAD + "rules: [" + "[" * 50 + "]" * 50 + "]", "too deep or too long for a policy"),
        ("a: b\n---\nc: d", "but found another document"),
        ("x" * 300_000, "are more than a policy has"),
        # A few lines that stand for two hundred million values.
        (
            HEAD + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}' if i else 'x'] * 12)}]\n" for i in range(8)),
            "too long",
        ),
        (HEAD + "rules: " + "[" * 5000, "brackets are nested too deep"),
        (HEAD + "project: " + "9" * 5000, "project: '99999"),
        (HEAD + "project: !!int abc", "project: 'abc' cannot be read as int"),
        (HEAD + "project: !!timestamp abc", "project: 'abc' cannot be read as timestamp"),
        (HEAD + "project: a\x00b", "special characters are not allowed"),
    ],
)
def test_what_is_no_policy_is_refused_with_a_remedy(text: str, complaint: str) -> None:
    assert any(complaint in line for line in _complaints(text)), _complaints(text)


@pytest.mark.parametrize("hosts", [(), ("lab-01",), ("lab-03",), ("lab-01", "quiet-1")])
@pytest.mark.parametrize("branch", ["", "main", "topic"])
@pytest.mark.parametrize("device", ["", "NVIDIA H100 80GB HBM3", "NVIDIA L4"])
def test_what_is_explained_is_what_holds(hosts: tuple[str, ...], branch: str, device: str) -> None:
    rules = RuleSet.parse(POLICY)
    subject = replace(LARGE, hosts=hosts, branch=branch, device=device)
    # What is asked one by one, and what is kept of values that were asked before.
    assert rules.explain(subject).rule == rules.for_subject(subject) == rules.for_subject(subject)
