"""Conditions on hosts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.collector.core.selectors import (
    KEYS,
    attributes_of,
    mismatches,
    parse_conditions,
    unknown_keys,
)
from tesserabench.collector.errors import InvalidArgumentError

H100 = {"uuid": "GPU-1", "kind": "cuda", "model": "NVIDIA H100 80GB HBM3", "driver_version": "570.86.15"}
INVENTORY = {
    "cpu_model": "AMD EPYC 9654",
    "cpu_count": 96,
    "memory_bytes": str(512 * 2**30),
    "os": "Debian 12, Linux 6.1",
    "devices": [
        H100 | {"compute_capability": "9.0", "memory_bytes": str(80 * 2**30)},
        H100 | {"uuid": "GPU-2", "compute_capability": "9.0", "memory_bytes": str(80 * 2**30)},
        {"uuid": "cpu-1", "kind": "cpu", "model": "AMD EPYC 9654"},
    ],
    "labels": {"rack": "A1", "spot": "false", "slots": "10", "gpu": "pretended"},
}
HOST = attributes_of("node-07", INVENTORY, agent_version="0.1.0")


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("gpu=h100", True),
        ("gpu=H100", True),
        ("gpu=a100", False),
        ("gpu!=a100", True),
        ("gpu!=h100", False),
        ("gpu", True),
        ("!gpu", False),
        ("gpu_count>=2", True),
        ("gpu_count>2", False),
        ("gpu_count=2", True),
        ("gpu_memory_gib>=80", True),
        ("gpu_memory_gib<80", False),
        ("driver>=570", True),
        ("driver>=570.86.16", False),
        ("driver=570", True),
        ("driver=570.86", True),
        ("driver=57", False),
        ("driver!=560", True),
        ("driver<1000", True),
        ("compute_capability>=8.9", True),
        ("compute_capability>=9.1", False),
        ("mig=false", True),
        ("!mig", True),
        ("mig", False),
        ("cpu=epyc", True),
        ("cpu_count>=64", True),
        ("memory_gib>=512", True),
        ("os=debian", True),
        ("device=cuda", True),
        ("device=simulated", False),
        ("host=node-07", True),
        ("host=node-0", False),
        ("rack=a1", True),
        ("rack=A", False),
        ("rack!=b2", True),
        ("spot", False),
        ("!spot", True),
        ("slots>=9", True),
        ("slots<9", False),
        ("agent_version>=0.1", True),
        ("colour=red", False),
        ("colour!=red", False),
        ("!colour", True),
        (" gpu = h100 ", True),
        ("gpu=h100, rack=a1", True),
        ("gpu=h100, rack=b1", False),
    ],
)
def test_condition_holds_on_a_host_with_two_h100(condition: str, holds: bool) -> None:
    assert (mismatches(parse_conditions([condition]), HOST) == []) is holds


def test_a_mismatch_names_the_condition_and_what_the_host_has() -> None:
    assert mismatches(parse_conditions(["driver>=580"]), HOST) == ["driver>=580: driver is 570.86.15"]
    assert mismatches(parse_conditions(["colour=red"]), HOST) == ["colour=red: the host has no colour"]


def test_an_order_must_hold_for_every_device_of_a_mixed_host() -> None:
    mixed = attributes_of("m", {"devices": [H100, H100 | {"driver_version": "550.1"}]}, agent_version="")
    assert mismatches(parse_conditions(["driver>=560"]), mixed)


def test_a_mig_slice_is_seen() -> None:
    sliced = attributes_of("m", {"devices": [H100 | {"uuid": "MIG-1"}]}, agent_version="")
    assert not mismatches(parse_conditions(["mig=true"]), sliced)


def test_a_host_without_gpu_matches_no_condition_on_gpus() -> None:
    plain = attributes_of("c", {"devices": [{"kind": "cpu", "uuid": "cpu-1"}]}, agent_version="")
    for condition in ("gpu=h100", "driver>=1", "mig=false", "gpu_count>=1"):
        assert mismatches(parse_conditions([condition]), plain), condition
    assert not mismatches(parse_conditions(["!gpu"]), plain)


def test_a_label_cannot_pretend_to_be_a_key() -> None:
    assert HOST["gpu"] == ["NVIDIA H100 80GB HBM3"]


@pytest.mark.parametrize(
    "text",
    ["gpu==h100", "=h100", "gpu>=h100", "gpu_count=many", "driver>=new", "mig=perhaps", "a b", "gpu~h100", ">=5"],
)
def test_broken_syntax_names_the_condition_and_what_is_right(text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_conditions(["rack=a1", text])
    assert caught.value.violations[0].field == "spec.selector.conditions[1]"
    assert text in caught.value.message


def test_unknown_keys_are_those_that_no_host_has() -> None:
    conditions = parse_conditions(["rack=a1", "colour=red", "gpu=h100", "!shiny", "room"])
    assert unknown_keys(conditions, [HOST]) == ["colour", "room"]


@given(st.text(max_size=40))
def test_any_text_is_either_understood_or_refused(text: str) -> None:
    try:
        conditions = parse_conditions([text])
    except InvalidArgumentError:
        return
    assert all(isinstance(sentence, str) for sentence in mismatches(conditions, HOST))


@given(st.sampled_from(sorted(KEYS)), st.sampled_from(["=", "!=", ">=", "<=", ">", "<"]), st.integers(0, 10**6))
def test_what_is_parsed_prints_as_it_was_written(key: str, operator: str, number: int) -> None:
    try:
        (condition,) = parse_conditions([f"{key}{operator}{number}"])
    except InvalidArgumentError:
        return
    assert str(condition) == f"{key}{operator}{number}"


@given(st.lists(st.integers(0, 999), min_size=1, max_size=4), st.lists(st.integers(0, 999), min_size=1, max_size=4))
def test_versions_order_like_their_numbers(left: list[int], right: list[int]) -> None:
    host = {"driver": [".".join(map(str, left))]}
    (at_least,) = parse_conditions(["driver>=" + ".".join(map(str, right))])
    width = max(len(left), len(right))
    expected = left + [0] * (width - len(left)) >= right + [0] * (width - len(right))
    assert (mismatches([at_least], host) == []) is expected
