"""Every setting of a policy, in one table: what reads it, what it becomes, what the reference and editors say of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tesserabench.analysis.rules import readers
from tesserabench.analysis.rules.readers import Reader
from tesserabench.analysis.rules.words import Alert, Confirming

Schema = Mapping[str, Any]

SIZE: Schema = {
    "oneOf": [
        {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*%\s*$"},
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    ]
}
TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": 200}
DURATION: Schema = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?[smhdw])+$"}
PATTERN: Schema = {"type": ["string", "number", "boolean"]}
PATTERNS: Schema = {"oneOf": [PATTERN, {"type": "array", "items": PATTERN, "minItems": 1, "maxItems": 200}]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of `defaults` or of a rule."""

    key: str
    """In the file; a dot stands for a key within a key."""
    field: str
    """Of `Rule`."""
    read: Reader
    schema: Schema
    help: str
    example: str
    whole_run: bool = False
    """It is asked before anything is measured, so that only suite and branch can choose it."""


def _closed(properties: Mapping[str, Schema], *, required: tuple[str, ...] = ()) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": dict(properties)}
    return schema | ({"required": list(required)} if required else {})


def _words(words: type[Alert | Confirming]) -> dict[str, Any]:
    return {"enum": [str(word) for word in words]}


SETTINGS: tuple[Setting, ...] = (
    Setting(
        key="minimum-effect",
        field="minimum_effect",
        read=readers.share(),
        schema=SIZE,
        help="The smallest worsening that matters: the gate tests against it, and minor regressions begin here. "
        "`severities.minor` is another word for it.",
        example="minimum-effect: 1 %",
    ),
    Setting(
        key="severities.major",
        field="major",
        read=readers.share(),
        schema=SIZE,
        help="From which size on a regression is major; a pass rules such a one out.",
        example="severities: {major: 5 %, critical: 10 %}",
    ),
    Setting(
        key="severities.critical",
        field="critical",
        read=readers.share(),
        schema=SIZE,
        help="From which size on a regression is critical.",
        example="severities: {major: 5 %, critical: 10 %}",
    ),
    Setting(
        key="secondary-factor",
        field="secondary_factor",
        read=readers.number(1, 100),
        schema={"type": "number", "minimum": 1, "maximum": 100},
        help="How many times as much a secondary metric must change.",
        example="secondary-factor: 2",
    ),
    Setting(
        key="confidence",
        field="confidence",
        read=readers.share(least=0.5, most=0.9999),
        schema=SIZE,
        help="Of the intervals that are shown. A fifth of what is missing to 100 % is how often one look at identical "
        "code may call it different; further looks share it.",
        example="confidence: 99 %",
        whole_run=True,
    ),
    Setting(
        key="power",
        field="power",
        read=readers.share(least=0.5, most=0.9999),
        schema=SIZE,
        help="With which probability the smallest visible change, which reports tell, is seen.",
        example="power: 90 %",
    ),
    Setting(
        key="minimum-launches",
        field="minimum_launches",
        read=readers.whole(2, 1000),
        schema={"type": "integer", "minimum": 2, "maximum": 1000},
        help="Launches a side from which on their spread is measured; below, it is assumed.",
        example="minimum-launches: 5",
    ),
    Setting(
        key="minimum-samples",
        field="minimum_samples",
        read=readers.whole(1, 1_000_000),
        schema={"type": "integer", "minimum": 1, "maximum": 1_000_000},
        help="Samples a side below which nothing is decided.",
        example="minimum-samples: 20",
    ),
    Setting(
        key="expected-noise",
        field="expected_noise",
        read=readers.share(most=1.0),
        schema=SIZE,
        help="Relative standard deviation between launches to assume where too few were made to measure it.",
        example="expected-noise: 3 %",
    ),
    Setting(
        key="smallest-change",
        field="smallest_change",
        read=readers.share(),
        schema=SIZE,
        help="The smallest step of a history that is reported, where its noise would let a smaller one be seen.",
        example="smallest-change: 1.5 %",
    ),
    Setting(
        key="quality",
        field="quality",
        read=readers.quality,
        schema=_closed(
            {
                "minimum": {"type": "number"},
                "maximum": {"type": "number"},
                "weight": {"type": "number", "exclusiveMinimum": 0},
                "unit": TEXT,
            }
        ),
        help="Absolute limits of a value, whatever it was before, in the metric's unit. A value beyond them fails the "
        "gate; a metric that was not measured is unknown, which never passes. `weight` is its share of the score.",
        example="quality: {minimum: 2000, unit: GB/s, weight: 2}",
    ),
    Setting(
        key="confirmation",
        field="confirmation",
        read=readers.confirmation,
        schema={
            "oneOf": [
                _words(Confirming),
                _closed(
                    {
                        "by": _words(Confirming),
                        "budget": DURATION,
                        "looks": {"type": "integer", "minimum": 1, "maximum": 20},
                    }
                ),
            ]
        },
        help="How a suspected regression is measured again before it counts, for how long at most and how often. What "
        "a run asks for itself goes before it.",
        example="confirmation: {by: duet, budget: 30m, looks: 2}",
        whole_run=True,
    ),
    Setting(
        key="hosts",
        field="hosts",
        read=readers.globs,
        schema=PATTERNS,
        help="Patterns of the hosts that may measure. A run that asks for another host is refused.",
        example="hosts: [lab-*, '!lab-07']",
        whole_run=True,
    ),
    Setting(
        key="owner",
        field="owner",
        read=readers.text,
        schema=TEXT,
        help="Who looks after it: the owner of a regression when it is found.",
        example="owner: '@kernels'",
    ),
    Setting(
        key="alert",
        field="alert",
        read=readers.word(Alert),
        schema=_words(Alert),
        help="Which alert a confirmed regression fires; `none` lists it and wakes nobody.",
        example="alert: none",
    ),
    Setting(
        key="canary",
        field="canary",
        read=readers.truth,
        schema={"type": "boolean"},
        help="Its code never changes, so that when it moves the machine did.",
        example="canary: true",
    ),
    Setting(
        key="ignore",
        field="ignore",
        read=readers.ignored,
        schema={
            "oneOf": [
                TEXT,
                {"const": False},
                _closed({"reason": TEXT, "until": {"type": "string", "format": "date"}}, required=("reason",)),
            ]
        },
        help="It is measured and shown and decides nothing: why, and until which day (UTC). `false` counts it again.",
        example="ignore: {reason: flaky until the new driver, until: 2030-01-31}",
    ),
    Setting(
        key="missing-after",
        field="missing_after_seconds",
        read=readers.duration_or_never,
        schema={"oneOf": [DURATION, {"const": "never"}]},
        help="How long a series may go without a value before it is reported missing. Without it, its own rhythm says.",
        example="missing-after: 3d",
    ),
    Setting(
        key="cordon",
        field="cordon",
        read=readers.cordon,
        schema={
            "oneOf": [
                {"const": "never"},
                _closed(
                    {"slower-than": SIZE, "runs": {"type": "integer", "minimum": 2, "maximum": 100}},
                    required=("slower-than",),
                ),
            ]
        },
        help="When a device that lags behind its siblings is taken out of service: by how much, in how many runs "
        "one after the other.",
        example="cordon: {slower-than: 8 %, runs: 3}",
    ),
)

BY_KEY: Mapping[str, Setting] = {setting.key: setting for setting in SETTINGS}
FIELDS: Mapping[str, str] = {setting.key: setting.field for setting in SETTINGS}
