"""Tokens, roles and TLS against a running collector."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.certificates import self_signed
from support.embedded_collector import Clients, Running, ScriptedHost, reason_of, running_collector
from tesserabench.collector.core import tokens
from tesserabench.collector.store.database import Database
from tesserabench.v1 import (
    host_service_pb2,
    ingest_service_pb2,
    run_pb2,
    run_service_pb2,
    system_service_pb2,
)

SCOPES = {"viewer": "viewer", "runner": "runner", "admin": "admin", "alpha": "agent:alpha"}


@pytest_asyncio.fixture
async def secrets(database: Database) -> Mapping[str, str]:
    """A token of each role, by name; `kernels` is a runner's for one project."""
    async with database.transaction() as session:
        made = {
            name: await tokens.create(session, name=name, role=role, project="", actor="test")
            for name, role in SCOPES.items()
        }
        made["kernels"] = await tokens.create(session, name="kernels", role="runner", project="kernels", actor="test")
    return made


@pytest_asyncio.fixture
async def guarded(database_dsn: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running_collector(database_dsn, tmp_path / "state", auth={"mode": "token"}) as running:
        yield running


class _Bearer(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, header: str) -> None:
        self._header = header

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        details.metadata.add("authorization", self._header)
        return await continuation(details, request)


def clients_with(running: Running, header: str) -> Clients:
    metadata = [_Bearer(header)]
    return Clients(grpc.aio.insecure_channel(running.collector.addresses.grpc, interceptors=metadata))


async def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, reason_of(caught.value)


async def who(clients: Clients) -> system_service_pb2.ServerInfo:
    request = system_service_pb2.GetServerInfoRequest()
    info: system_service_pb2.ServerInfo = await clients.system.GetServerInfo(request, timeout=10)
    return info


async def test_without_a_token_nothing_but_probes_answers(guarded: Running) -> None:
    assert await refusal(who(guarded.clients)) == ("UNAUTHENTICATED", "TOKEN_MISSING")
    probe = health_pb2_grpc.HealthStub(guarded.clients.channel)
    answer = await probe.Check(health_pb2.HealthCheckRequest(service="tesserabench.v1.RunService"), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("header", ["Bearer tb_guess", "Basic dXNlcg==", "Bearer", "Bearer "])
async def test_a_token_that_is_none_is_refused(guarded: Running, header: str) -> None:
    assert await refusal(who(clients_with(guarded, header))) == ("UNAUTHENTICATED", "TOKEN_INVALID")


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("viewer", ["viewer"]),
        ("runner", ["runner", "viewer"]),
        ("admin", ["admin", "runner", "viewer"]),
        ("alpha", ["agent"]),
    ],
)
async def test_a_caller_learns_who_it_is(
    guarded: Running, secrets: Mapping[str, str], name: str, roles: list[str]
) -> None:
    info = await who(clients_with(guarded, f"Bearer {secrets[name]}"))
    assert (info.actor.name, list(info.roles)) == (name, roles)


async def test_each_role_may_do_its_part_and_no_more(guarded: Running, secrets: Mapping[str, str]) -> None:
    by_role = {name: clients_with(guarded, f"Bearer {secret}") for name, secret in secrets.items()}
    cordon = host_service_pb2.CordonHostRequest(name="hosts/alpha", reason="x")
    await ScriptedHost(clients=by_role["alpha"], name="alpha").register()
    run = await by_role["runner"].create_run()
    assert run.requested_by.name == "runner"
    assert (await by_role["viewer"].run(run.name)).name == run.name
    forbidden = ("PERMISSION_DENIED", "ROLE_MISSING")
    assert await refusal(by_role["viewer"].create_run()) == forbidden
    assert await refusal(by_role["alpha"].create_run()) == forbidden
    assert await refusal(by_role["alpha"].run(run.name)) == forbidden
    assert await refusal(by_role["runner"].hosts.CordonHost(cordon, timeout=10)) == forbidden
    assert await refusal(ScriptedHost(clients=by_role["admin"], name="alpha").register()) == forbidden
    assert (await by_role["admin"].hosts.CordonHost(cordon, timeout=10)).cordoned


async def test_an_agents_token_speaks_for_its_host_only(guarded: Running, secrets: Mapping[str, str]) -> None:
    clients = clients_with(guarded, f"Bearer {secrets['alpha']}")
    assert await refusal(ScriptedHost(clients=clients, name="beta").register()) == ("PERMISSION_DENIED", "ROLE_MISSING")
    stream = guarded.clients.ingest.Upload(
        timeout=10, metadata=grpc.aio.Metadata(("authorization", f"Bearer {secrets['alpha']}"))
    )
    header = ingest_service_pb2.UploadHeader(host="beta", attempt="runs/1/attempts/1", epoch=1, schema_version=1)
    await stream.write(ingest_service_pb2.UploadRequest(header=header))
    assert await refusal(stream.read()) == ("PERMISSION_DENIED", "ROLE_MISSING")


async def test_a_project_token_sees_its_project_only(guarded: Running, secrets: Mapping[str, str]) -> None:
    everything = clients_with(guarded, f"Bearer {secrets['runner']}")
    kernels = clients_with(guarded, f"Bearer {secrets['kernels']}")
    theirs = await everything.create_run()
    mine = await kernels.create_run(project="kernels")
    forbidden = ("PERMISSION_DENIED", "ROLE_MISSING")
    assert await refusal(kernels.create_run()) == forbidden
    assert await refusal(kernels.run(theirs.name)) == forbidden
    cancel = run_service_pb2.CancelRunRequest(name=theirs.name)
    assert await refusal(kernels.runs.CancelRun(cancel, timeout=10)) == forbidden
    assert (await everything.run(theirs.name)).state == run_pb2.RUN_STATE_QUEUED
    seen = await kernels.runs.ListRuns(run_service_pb2.ListRunsRequest(), timeout=10)
    assert [run.name for run in seen.runs] == [mine.name]


async def test_a_revoked_token_is_soon_worthless(
    guarded: Running, database: Database, secrets: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_REMEMBER_SECONDS", 0.0)
    clients = clients_with(guarded, f"Bearer {secrets['viewer']}")
    assert (await who(clients)).actor.name == "viewer"
    async with database.transaction() as session:
        await tokens.revoke(session, "viewer", actor="test")
    assert await refusal(who(clients)) == ("UNAUTHENTICATED", "TOKEN_INVALID")


async def test_with_tls_only_encrypted_calls_are_served(database_dsn: str, tmp_path: Path) -> None:
    made = self_signed(tmp_path)
    tls = {"cert": str(made.cert), "key": str(made.key)}
    async with running_collector(database_dsn, tmp_path / "state", tls=tls) as running:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await who(running.clients)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        trusted = grpc.ssl_channel_credentials(made.cert.read_bytes())
        async with grpc.aio.secure_channel(running.collector.addresses.grpc, trusted) as channel:
            assert (await who(Clients(channel))).actor.name == "anonymous"
