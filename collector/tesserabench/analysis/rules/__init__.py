"""Judgement as reviewed code: the policy file, and what it says about each series.

rules = RuleSet.parse(text, source="policy.yaml")
rule = rules.for_series(suite="gemm", benchmark="matmul", metric="time", device="NVIDIA H100 80GB HBM3")
rule.minimum_effect, rule.owner, rule.origin("owner").line
"""

from tesserabench.analysis.rules.clause import Clause
from tesserabench.analysis.rules.difference import ChangeKind, PolicyChange, differences_of
from tesserabench.analysis.rules.errors import PolicyError, Problem
from tesserabench.analysis.rules.lint import warnings_of
from tesserabench.analysis.rules.match import Match, Subject
from tesserabench.analysis.rules.rule import NEVER, Confirmation, Cordon, Ignored, Origin, Quality, Rule
from tesserabench.analysis.rules.rule_set import Explanation, RuleSet, SeriesPolicies, subject_of
from tesserabench.analysis.rules.schema import json_schema
from tesserabench.analysis.rules.words import Alert, Confirming
from tesserabench.analysis.rules.writing import match_text, written

__all__ = [
    "NEVER",
    "Alert",
    "ChangeKind",
    "Clause",
    "Confirmation",
    "Confirming",
    "Cordon",
    "Explanation",
    "Ignored",
    "Match",
    "Origin",
    "PolicyChange",
    "PolicyError",
    "Problem",
    "Quality",
    "Rule",
    "RuleSet",
    "SeriesPolicies",
    "Subject",
    "differences_of",
    "json_schema",
    "match_text",
    "subject_of",
    "warnings_of",
    "written",
]
