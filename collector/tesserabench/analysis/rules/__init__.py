"""Judgement as reviewed code: the policy file, and what it says about each series.

rules = RuleSet.parse(text, source="policy.yaml")
rule = rules.for_series(suite="gemm", benchmark="matmul", metric="time", device="NVIDIA H100 80GB HBM3")
rule.minimum_effect, rule.owner, rule.origin("owner").line
"""

from tesserabench.analysis.rules.clause import Clause
from tesserabench.analysis.rules.errors import PolicyError, Problem
from tesserabench.analysis.rules.match import Match, Subject
from tesserabench.analysis.rules.rule import NEVER, Confirmation, Cordon, Ignored, Origin, Quality, Rule
from tesserabench.analysis.rules.rule_set import Explanation, RuleSet, SeriesPolicies, subject_of
from tesserabench.analysis.rules.words import Alert, Confirming

__all__ = [
    "NEVER",
    "Alert",
    "Clause",
    "Confirmation",
    "Confirming",
    "Cordon",
    "Explanation",
    "Ignored",
    "Match",
    "Origin",
    "PolicyError",
    "Problem",
    "Quality",
    "Rule",
    "RuleSet",
    "SeriesPolicies",
    "Subject",
    "subject_of",
]
