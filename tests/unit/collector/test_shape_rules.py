"""Shape rules of requests."""

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from tesserabench.collector.api.shape import RULES, check
from tesserabench.collector.errors import InvalidArgumentError
from tesserabench.v1 import (
    agent_service_pb2,
    baseline_service_pb2,
    history_service_pb2,
    host_pb2,
    host_service_pb2,
    ingest_service_pb2,
    policy_service_pb2,
    regression_service_pb2,
    rendezvous_service_pb2,
    result_service_pb2,
    run_pb2,
    run_service_pb2,
    schedule_service_pb2,
    system_service_pb2,
)

FILES = [
    agent_service_pb2,
    baseline_service_pb2,
    history_service_pb2,
    host_service_pb2,
    ingest_service_pb2,
    policy_service_pb2,
    regression_service_pb2,
    rendezvous_service_pb2,
    result_service_pb2,
    run_service_pb2,
    schedule_service_pb2,
    system_service_pb2,
]
MESSAGES = {
    name: message
    for module in [*FILES, run_pb2, host_pb2]
    for name, message in module.DESCRIPTOR.message_types_by_name.items()
}
PROCESS = "0123456789abcdef"


def wrong_fields(request: Message) -> list[str]:
    with pytest.raises(InvalidArgumentError) as caught:
        check(request)
    assert all(violation.description for violation in caught.value.violations)
    return [violation.field for violation in caught.value.violations]


def test_every_rule_is_about_a_field_that_exists_and_of_its_kind() -> None:
    for name, rules in RULES.items():
        fields = MESSAGES[name].fields_by_name
        for field, rule in rules.items():
            kind = fields[field]
            texts = kind.type == FieldDescriptor.TYPE_STRING or kind.is_repeated
            assert texts or (rule.pattern is None and rule.parse is None), f"{name}.{field}"
            assert not (rule.highest is not None and texts), f"{name}.{field}"


def test_every_request_with_fields_has_rules() -> None:
    requests = {
        method.input_type.name
        for module in FILES
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if method.input_type.fields and not method.client_streaming
    }
    assert requests <= set(RULES)


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (run_service_pb2.GetRunRequest(), ["name"]),
        (run_service_pb2.GetRunRequest(name="run/5"), ["name"]),
        (run_service_pb2.GetRunRequest(name="runs/99999999999999999999"), ["name"]),
        (run_service_pb2.CreateRunRequest(), ["spec"]),
        (run_service_pb2.CreateRunRequest(spec=run_pb2.RunSpec(tier=run_pb2.TIER_FULL)), ["spec.suite"]),
        (run_service_pb2.CreateRunRequest(spec=run_pb2.RunSpec(suite="Core!")), ["spec.suite"]),
        (
            run_service_pb2.CreateRunRequest(
                spec=run_pb2.RunSpec(suite="core"), priority=101, revision=run_pb2.Revision(commit="main")
            ),
            ["revision.commit", "priority"],
        ),
        (
            run_service_pb2.CreateRunRequest(
                spec=run_pb2.RunSpec(suite="core", overrides=[run_pb2.ParameterOverride(parameter="n")])
            ),
            ["spec.overrides[0].value"],
        ),
        (
            run_service_pb2.CreateRunRequest(
                spec=run_pb2.RunSpec(suite="core", selector=run_pb2.HostSelector(hosts=["ok", "Not OK"]))
            ),
            ["spec.selector.hosts[1]"],
        ),
        (
            run_service_pb2.CreateRunRequest(spec=run_pb2.RunSpec(suite="core"), labels={"a b": "x"}),
            ["labels[a b]"],
        ),
        (run_service_pb2.ListRunsRequest(page_size=1001), ["page_size"]),
        (run_service_pb2.CancelRunRequest(name="runs/1", reason="nul\x00nul"), ["reason"]),
        (run_service_pb2.CancelRunRequest(name="runs/1", reason="x" * 4001), ["reason"]),
        (
            agent_service_pb2.SyncRequest(host="a", process_id=PROCESS, held=[agent_service_pb2.HeldAttempt()]),
            ["held[0].name", "held[0].epoch"],
        ),
        (agent_service_pb2.SyncRequest(host="UPPER", process_id="short"), ["host", "process_id"]),
        (
            agent_service_pb2.SyncRequest(host="a", process_id=PROCESS, agent_time=Timestamp(seconds=-(10**15))),
            ["agent_time"],
        ),
        (
            agent_service_pb2.SyncRequest(host="a", process_id=PROCESS, max_wait=Duration(seconds=1, nanos=-1)),
            ["max_wait"],
        ),
        (ingest_service_pb2.UploadRequest(header=ingest_service_pb2.UploadHeader()), None),
    ],
)
def test_wrong_shape_names_the_field(request_: Message, fields: list[str] | None) -> None:
    found = wrong_fields(request_)
    if fields is not None:
        assert found == fields


def test_an_enum_value_that_we_do_not_know_is_refused_with_those_that_we_know() -> None:
    request = run_service_pb2.CreateRunRequest(spec=run_pb2.RunSpec(suite="core"))
    request.spec.MergeFromString(b"\x10\x63")  # tier = 99
    with pytest.raises(InvalidArgumentError, match=r"spec\.tier: 99: this release knows TIER_SMOKE"):
        check(request)


@pytest.mark.parametrize(
    "request_",
    [
        run_service_pb2.ListRunsRequest(),
        run_service_pb2.ListRunsRequest(page_size=1000, commit="abc"),
        run_service_pb2.GetRunRequest(name="runs/5"),
        run_service_pb2.CreateRunRequest(
            project="p", spec=run_pb2.RunSpec(suite="core"), labels={"git.changed": "true"}, priority=-100
        ),
        agent_service_pb2.SyncRequest(host="node-07.rack1", process_id=PROCESS, max_wait=Duration(seconds=5)),
        ingest_service_pb2.UploadRequest(batch=ingest_service_pb2.RecordBatch()),
        system_service_pb2.GetServerInfoRequest(),
    ],
)
def test_sound_requests_pass(request_: Message) -> None:
    check(request_)


def test_at_most_ten_violations_are_told() -> None:
    held = [agent_service_pb2.HeldAttempt()] * 50
    assert len(wrong_fields(agent_service_pb2.SyncRequest(host="a", process_id=PROCESS, held=held))) == 10
