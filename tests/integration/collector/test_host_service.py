"""HostService against a running collector."""

import grpc
import pytest
from support.embedded_collector import Running, ScriptedHost, inventory, reason_of
from tesserabench.v1 import agent_service_pb2, host_pb2, host_service_pb2, measurement_pb2


async def host_of(running: Running, name: str = "alpha") -> host_pb2.Host:
    request = host_service_pb2.GetHostRequest(name=f"hosts/{name}")
    host: host_pb2.Host = await running.clients.hosts.GetHost(request, timeout=10)
    return host


async def names(running: Running, **filters: object) -> list[str]:
    answer = await running.clients.hosts.ListHosts(host_service_pb2.ListHostsRequest(**filters), timeout=10)  # type: ignore[arg-type]
    return [host.name for host in answer.hosts]


async def test_a_host_is_shown_as_it_said_it_is(running: Running) -> None:
    alpha = ScriptedHost(clients=running.clients, name="alpha", inventory=inventory(gpu=True, labels={"rack": "a1"}))
    await alpha.register()
    state = measurement_pb2.DeviceState(temperature_celsius=61.5, throttle_reasons=["sw_power_cap"])
    await alpha.sync(devices={"GPU-0": state}, spool=agent_service_pb2.SpoolState(pending_bytes=77))
    host = await host_of(running)
    assert host.inventory == alpha.inventory
    assert host.devices["GPU-0"] == state
    assert host.spool_pending_bytes == 77
    assert (host.state, host.agent_version) == (host_pb2.HOST_STATE_READY, "0.1.0")


async def test_a_hosts_state_follows_what_it_does(running: Running) -> None:
    alpha = ScriptedHost(clients=running.clients, name="alpha")
    await alpha.register()
    assert (await host_of(running)).state == host_pb2.HOST_STATE_READY
    await running.clients.create_run()
    held = await alpha.take()
    busy = await host_of(running)
    assert (busy.state, busy.current_attempt) == (host_pb2.HOST_STATE_BUSY, held.name)
    await alpha.sync(held, unready_reason="too little memory")
    unready = await host_of(running)
    assert (unready.state, unready.unready_reason) == (host_pb2.HOST_STATE_UNREADY, "too little memory")
    running.clock.advance(31)
    assert (await host_of(running)).state == host_pb2.HOST_STATE_UNREACHABLE


async def test_hosts_are_listed_by_name_in_pages_and_filtered(running: Running) -> None:
    for number in (2, 0, 1):
        labels = {"rack": f"a{number}"}
        await ScriptedHost(
            clients=running.clients, name=f"host-{number}", inventory=inventory(gpu=number == 1, labels=labels)
        ).register()
    assert await names(running) == ["hosts/host-0", "hosts/host-1", "hosts/host-2"]
    assert await names(running, conditions=["gpu=h100"]) == ["hosts/host-1"]
    assert await names(running, conditions=["rack!=a1"]) == ["hosts/host-0", "hosts/host-2"]
    assert await names(running, state=host_pb2.HOST_STATE_BUSY) == []
    request = host_service_pb2.ListHostsRequest(page_size=2)
    page = await running.clients.hosts.ListHosts(request, timeout=10)
    assert [host.name for host in page.hosts] == ["hosts/host-0", "hosts/host-1"]
    request.page_token = page.next_page_token
    page = await running.clients.hosts.ListHosts(request, timeout=10)
    assert ([host.name for host in page.hosts], page.next_page_token) == (["hosts/host-2"], "")


async def test_a_cordon_needs_a_reason_and_is_shown(running: Running) -> None:
    await ScriptedHost(clients=running.clients, name="alpha").register()
    with pytest.raises(grpc.aio.AioRpcError, match="reason: is required"):
        await running.clients.hosts.CordonHost(host_service_pb2.CordonHostRequest(name="hosts/alpha"), timeout=10)
    request = host_service_pb2.CordonHostRequest(name="hosts/alpha", reason="fan 3 broken")
    host = await running.clients.hosts.CordonHost(request, timeout=10)
    assert (host.cordoned, host.cordon_reason) == (True, "fan 3 broken")
    assert await names(running, conditions=["!cordoned"]) == []
    host = await running.clients.hosts.UncordonHost(
        host_service_pb2.UncordonHostRequest(name="hosts/alpha"), timeout=10
    )
    assert (host.cordoned, host.cordon_reason) == (False, "")


async def test_a_cordon_survives_a_restart_of_the_agent(running: Running) -> None:
    alpha = ScriptedHost(clients=running.clients, name="alpha")
    await alpha.register()
    await running.clients.hosts.CordonHost(
        host_service_pb2.CordonHostRequest(name="hosts/alpha", reason="fan"), timeout=10
    )
    alpha.process_id = "process-2222222222"
    await alpha.register()
    assert (await host_of(running)).cordoned


async def test_a_host_that_is_not_there(running: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await host_of(running, "nobody")
    assert (caught.value.code(), reason_of(caught.value)) == (grpc.StatusCode.NOT_FOUND, "HOST_NOT_FOUND")


async def test_suites_are_merged_over_the_fleet(running: Running) -> None:
    await ScriptedHost(clients=running.clients, name="alpha").register()
    other = inventory()
    other.suites.add(name="fft", summary="transforms")
    await ScriptedHost(clients=running.clients, name="beta", inventory=other).register()
    answer = await running.clients.hosts.ListSuites(host_service_pb2.ListSuitesRequest(), timeout=10)
    assert {suite.name: list(suite.hosts) for suite in answer.suites} == {
        "suites/core": ["alpha", "beta"],
        "suites/fft": ["beta"],
    }
    suite = await running.clients.hosts.GetSuite(host_service_pb2.GetSuiteRequest(name="suites/core"), timeout=10)
    assert suite.info.benchmarks[0].parameters["n"].values == ["512", "1024"]
    with pytest.raises(grpc.aio.AioRpcError, match="did you mean core") as caught:
        await running.clients.hosts.GetSuite(host_service_pb2.GetSuiteRequest(name="suites/cors"), timeout=10)
    assert reason_of(caught.value) == "SUITE_NOT_FOUND"
