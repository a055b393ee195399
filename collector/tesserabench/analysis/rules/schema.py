"""A JSON Schema of the policy file, for editors that complete and check while one types."""

from typing import Any

from tesserabench.analysis.rules.match import TEXT_KEYS
from tesserabench.analysis.rules.parse import API_VERSION, KIND, MOST_RULES, SEVERITIES
from tesserabench.analysis.rules.settings import PATTERNS, SETTINGS, SIZE

MATCH_HELP = {
    "suite": "Name of the suite that the benchmark belongs to; for hosts and confirmation, that the run measures.",
    "benchmark": "Name of the benchmark, with or without its suite: matmul, gemm/matmul.",
    "case": "Identity of the case, such as gemm/matmul[m=4096,dtype=float16]; brackets mean themselves.",
    "mode": "How it is timed: hot, cold, rotating, sustained or host.",
    "metric": "Name of the metric, such as time.",
    "device": "Model of the device in any case, or the host for a CPU.",
    "branch": "Branch that was measured.",
    "host": "Host in any case. All hosts that measured the series must match.",
    "parameters": "Values by parameter: texts, or conditions on numbers such as >=4096 and 1024..4096.",
    "primary": "Whether the metric decides.",
}


def json_schema() -> dict[str, Any]:
    """The schema (draft 2020-12)."""
    settings = _settings()
    rule = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 63, "description": "What reports call the rule."},
            "match": _match(),
            **settings,
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "TesseraBench policy",
        "description": "What counts as a change, and what follows from it. Each setting comes from the first rule that "
        "matches and says it, then from the defaults.",
        "type": "object",
        "additionalProperties": False,
        "required": ["apiVersion", "kind"],
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": KIND},
            "project": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"},
            "defaults": {"type": "object", "additionalProperties": False, "properties": settings},
            "rules": {"type": "array", "maxItems": MOST_RULES, "items": rule},
        },
    }


def _settings() -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for setting in SETTINGS:
        outer, _, _ = setting.key.partition(".")
        if outer == setting.key:
            properties[outer] = {**setting.schema, "description": setting.help, "examples": [setting.example]}
    properties["severities"] = {
        "type": "object",
        "additionalProperties": False,
        "description": "From which size on a regression is minor, major and critical.",
        "properties": dict.fromkeys(SEVERITIES, SIZE),
    }
    return properties


def _match() -> dict[str, Any]:
    properties: dict[str, Any] = {key: {**PATTERNS, "description": MATCH_HELP[key]} for key in (*TEXT_KEYS, "host")}
    properties["parameters"] = {
        "type": "object",
        "additionalProperties": PATTERNS,
        "description": MATCH_HELP["parameters"],
    }
    properties["primary"] = {"type": "boolean", "description": MATCH_HELP["primary"]}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "description": "All of it must be so; what is left out does not matter. * stands for any characters, ? for "
        "one; a list gives alternatives, ! in front makes an exception.",
    }
