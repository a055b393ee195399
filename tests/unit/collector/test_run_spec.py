"""What a run measures: JSON like protobuf's own, and validation."""

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.collector.core.spec import (
    DEFAULT_TRIALS,
    DuetSpec,
    GateSpec,
    HostSelector,
    ParameterOverride,
    Revision,
    RunSpec,
)
from tesserabench.collector.errors import InvalidArgumentError
from tesserabench.v1 import run_pb2

_text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)
_seconds = st.none() | st.integers(1, 10**12).map(lambda nanos: nanos / 1e6)
_specs = st.builds(
    RunSpec,
    suite=_text,
    tier=st.sampled_from(["smoke", "regression", "full", "nightly"]),
    device=st.sampled_from(["auto", "cpu", "cuda:1"]),
    include=st.lists(_text, max_size=3).map(tuple),
    exclude=st.lists(_text, max_size=3).map(tuple),
    overrides=st.lists(st.builds(ParameterOverride, parameter=_text, value=_text), max_size=3).map(tuple),
    trials=st.integers(0, 100),
    mode=st.sampled_from(["", "cold", "hot", "open_loop"]),
    seed=st.integers(0, 2**64 - 1),
    case_timeout_seconds=_seconds,
    timeout_seconds=_seconds,
    drill=st.dictionaries(_text, st.floats(1.01, 100), max_size=2),
    selector=st.builds(
        HostSelector,
        hosts=st.lists(_text, max_size=2).map(tuple),
        conditions=st.lists(_text, max_size=2).map(tuple),
        count=st.integers(1, 9),
    ),
)


@given(_specs)
def test_a_spec_survives_its_own_json_and_that_of_protobuf(spec: RunSpec) -> None:
    assert RunSpec.from_json(spec.to_json()) == spec
    message = ParseDict(spec.to_json(), run_pb2.RunSpec())
    assert RunSpec.from_json(MessageToDict(message, preserving_proto_field_name=True)) == spec


def test_an_empty_message_gives_the_defaults() -> None:
    spec = RunSpec.from_json({"suite": "core"})
    assert (spec.tier, spec.device, spec.selector.count, spec.trials) == ("regression", "auto", 1, 0)


@pytest.mark.parametrize("tier", ["smoke", "regression", "full", "nightly"])
def test_settling_fills_in_trials_by_tier_and_a_seed(tier: str) -> None:
    spec = RunSpec(suite="core", tier=tier).settled(seed=7)
    assert (spec.trials, spec.seed) == (DEFAULT_TRIALS[tier], 7)
    kept = RunSpec(suite="core", tier=tier, trials=3, seed=9).settled(seed=7)
    assert (kept.trials, kept.seed) == (3, 9)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tier": "huge"}, "spec.tier"),
        ({"device": "tpu"}, "spec.device"),
        ({"device": "cuda:x"}, "spec.device"),
        ({"device": "auto:1"}, "spec.device"),
        ({"include": ("(",)}, "spec.include[0]"),
        ({"exclude": ("ok", "[")}, "spec.exclude[1]"),
        ({"drill": {"gemm": 1.0}}, "spec.drill[gemm]"),
        ({"drill": {"gemm": 100.5}}, "spec.drill[gemm]"),
        ({"drill": {"gemm": float("nan")}}, "spec.drill[gemm]"),
        ({"drill": {"gemm": float("inf")}}, "spec.drill[gemm]"),
        ({"case_timeout_seconds": 0.0}, "spec.case_timeout"),
        ({"timeout_seconds": -5.0}, "spec.timeout"),
        ({"mode": "sustained", "duet": DuetSpec()}, "spec.mode"),
        ({"selector": HostSelector(conditions=("gpu==h100",))}, "spec.selector.conditions[0]"),
    ],
)
def test_validation_names_field_value_and_remedy(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        RunSpec(suite="core", **change).validate()
    assert caught.value.violations[0].field == field
    assert caught.value.message.count(": ") >= 2


def test_a_sound_spec_passes() -> None:
    RunSpec(suite="core", device="cuda:3", include=("^gemm",), drill={"gemm": 1.1}, timeout_seconds=60.0).validate()


def test_words_of_infinity_in_json_are_refused_and_not_a_crash() -> None:
    message = run_pb2.RunSpec(suite="core", drill={"gemm": float("nan")})
    spec = RunSpec.from_json(MessageToDict(message, preserving_proto_field_name=True))
    with pytest.raises(InvalidArgumentError):
        spec.validate()


def test_revision_and_gate_survive_json() -> None:
    revision = Revision(commit="abcdef1", branch="main", pull_request="12")
    assert Revision.from_json(revision.to_json()) == revision
    assert GateSpec.from_json({}) == GateSpec()
    assert GateSpec().confirms
    gate = GateSpec(baseline="branch:main", confirm=False)
    assert GateSpec.from_json(gate.to_json()) == gate
    assert ParseDict(gate.to_json(), run_pb2.GateSpec()).confirm is False
