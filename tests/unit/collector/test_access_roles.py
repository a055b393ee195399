"""Who may call what."""

import pytest
from tesserabench.collector.api.access import FOR_ANY_ROLE, METHOD_ROLES, is_open
from tesserabench.collector.core.actors import anonymous, token_actor
from tesserabench.collector.core.tokens import digest, parse_role
from tesserabench.collector.errors import InvalidArgumentError
from tesserabench.collector.store.words import Role
from tesserabench.v1 import (
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
)

METHODS = {
    f"/{service.full_name}/{method.name}"
    for module in (
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
    )
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


def test_every_method_of_every_service_has_a_role_and_nothing_else_has() -> None:
    assert set(METHOD_ROLES) == METHODS
    assert FOR_ANY_ROLE <= METHODS


def test_only_probes_are_open() -> None:
    assert is_open("/grpc.health.v1.Health/Check")
    assert not any(is_open(method) for method in METHODS)


def test_a_viewer_changes_nothing() -> None:
    viewer = token_actor("v", Role.VIEWER, "", "")
    changing = ("Create", "Cancel", "Retry", "Set", "Pin", "Unpin", "Acknowledge", "Ignore", "Resolve", "Reopen")
    for method, role in METHOD_ROLES.items():
        if method.rsplit("/", 1)[1].startswith((*changing, "Cordon", "Uncordon", "Pause", "Resume", "Delete")):
            assert not viewer.may(role), method


@pytest.mark.parametrize(
    ("role", "roles"),
    [
        (Role.VIEWER, {Role.VIEWER}),
        (Role.RUNNER, {Role.VIEWER, Role.RUNNER}),
        (Role.ADMIN, {Role.VIEWER, Role.RUNNER, Role.ADMIN}),
        (Role.AGENT, {Role.AGENT}),
    ],
)
def test_each_role_brings_the_ones_below_it(role: Role, roles: set[Role]) -> None:
    assert token_actor("t", role, "", "").roles == roles


def test_an_agents_token_speaks_for_its_host_only() -> None:
    agent = token_actor("a", Role.AGENT, "", "alpha")
    assert agent.may_speak_for("alpha")
    assert not agent.may_speak_for("beta")
    assert not token_actor("r", Role.ADMIN, "", "").may_speak_for("alpha")
    assert anonymous().may_speak_for("alpha")


def test_a_project_token_stays_in_its_project() -> None:
    actor = token_actor("p", Role.RUNNER, "kernels", "")
    assert actor.may_use_project("kernels")
    assert not actor.may_use_project("other")
    assert not actor.may_use_project("")


@pytest.mark.parametrize("text", ["owner", "agent", "agent:", "agent:UPPER", "viewer:x", ""])
def test_a_role_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="agent:HOST"):
        parse_role(text)


def test_an_agent_role_names_its_host() -> None:
    assert parse_role("agent:node-07") == (Role.AGENT, "node-07")
    assert parse_role("admin") == (Role.ADMIN, "")


def test_only_a_digest_of_a_token_is_kept() -> None:
    assert len(digest("tb_secret")) == 32
    assert b"secret" not in digest("tb_secret")
