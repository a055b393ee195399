"""Health, readiness and metrics of a running collector; behaviour without its database."""

import asyncio
import re
from pathlib import Path

import grpc
import httpx
import pytest
from support.embedded_collector import Running, ScriptedHost, reason_of, running_collector
from support.postgres import kill_postgres, private_postgres
from support.waiting import wait_until_async
from tesserabench.collector.core import metrics
from tesserabench.v1 import run_service_pb2


async def metrics_of(running: Running) -> dict[str, float]:
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{running.web}/metrics")).text
    lines = (re.fullmatch(r"(tesserabench_[^ ]+) (\S+)", line) for line in text.splitlines())
    return {line[1]: float(line[2]) for line in lines if line}


async def test_healthy_and_ready(running: Running) -> None:
    async with httpx.AsyncClient() as client:
        alive = await client.get(f"{running.web}/healthz")
        ready = await client.get(f"{running.web}/readyz")
    assert (alive.status_code, alive.json()["alive"]) == (200, True)
    assert ready.status_code == 200
    checks = {"database": "ok", "schema": "ok", "grpc": "ok", "ingest": "ok"}
    assert ready.json() == {"ready": True, "checks": checks}


async def test_what_is_counted_and_gauged(running: Running) -> None:
    alpha = ScriptedHost(clients=running.clients, name="alpha")
    await alpha.register()
    await running.clients.create_run()
    await running.clients.create_run()
    await alpha.sync()
    with pytest.raises(grpc.aio.AioRpcError):
        await running.clients.run("runs/999")

    async def gauged() -> bool:
        found = await metrics_of(running)
        return (
            found.get('tesserabench_queue_depth{device_kind="simulated"}') == 1
            and found.get('tesserabench_agents{state="busy"}') == 1
            and found.get('tesserabench_agents{state="unreachable"}') == 0
            and found.get("tesserabench_database_up") == 1
        )

    await wait_until_async(gauged, seconds=10, what="the gauges")
    found = await metrics_of(running)
    assert found['tesserabench_grpc_server_handled_total{code="NOT_FOUND",method="RunService/GetRun"}'] >= 1
    assert found['tesserabench_agent_last_seen_timestamp_seconds{host="alpha"}'] > 1.7e9
    assert any(name.startswith("tesserabench_grpc_server_handling_seconds_bucket") for name in found)
    assert not any("Sync" in name for name in found if "handling_seconds" in name)
    assert any('handler="/metrics"' in name for name in found)


async def test_an_unknown_path_does_not_become_a_label(running: Running) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{running.web}/no/such/place")).status_code == 404
    assert not any("/no/such/place" in name for name in await metrics_of(running))


async def test_without_its_database_the_collector_says_so_and_recovers_by_itself(tmp_path: Path) -> None:
    with private_postgres(tmp_path / "pg") as launcher:
        dsn = launcher.start()
        async with running_collector(dsn, tmp_path / "state") as running:
            alpha = ScriptedHost(clients=running.clients, name="alpha")
            await alpha.register()
            kill_postgres(launcher)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await running.clients.create_run()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert reason_of(caught.value) == "DATABASE_UNAVAILABLE"
            async with httpx.AsyncClient(timeout=20) as client:
                ready = await client.get(f"{running.web}/readyz")
                assert ready.status_code == 503
                assert ready.json()["checks"]["database"] != "ok"
                assert (await client.get(f"{running.web}/healthz")).status_code == 200

            async def noticed() -> bool:
                return (await metrics_of(running))["tesserabench_database_up"] == 0

            await wait_until_async(noticed, seconds=20, what="database_up to be 0")
            launcher.start()

            async def back() -> bool:
                try:
                    await alpha.sync()
                except grpc.aio.AioRpcError:
                    return False
                return (await metrics_of(running))["tesserabench_database_up"] == 1

            await wait_until_async(back, seconds=30, what="the collector to go on")
            run = await running.clients.create_run()
            assert (await alpha.sync()).assignments[0].name.startswith(run.name)


async def test_a_stopping_collector_lets_polls_and_watchers_go(database_dsn: str, tmp_path: Path) -> None:
    async with running_collector(database_dsn, tmp_path / "state") as running:
        alpha = ScriptedHost(clients=running.clients, name="alpha")
        await alpha.register()
        run = await running.clients.create_run(device="cuda")
        watch = running.clients.runs.WatchRun(run_service_pb2.WatchRunRequest(name=run.name), timeout=30)
        await watch.read()
        poll = asyncio.ensure_future(alpha.sync(max_wait=10.0))
        ended = asyncio.ensure_future(watch.read())
        await asyncio.sleep(0.1)
        async with asyncio.timeout(8):
            await running.collector.stop()
            assert not (await poll).assignments
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ended
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_first_scrape_tells_what_stands_in_the_database(database_dsn: str, tmp_path: Path) -> None:
    metrics.DATABASE_UP.set(0)
    async with running_collector(database_dsn, tmp_path):
        # Read before the loop that refreshes it has had a turn.
        assert metrics.REGISTRY.get_sample_value("tesserabench_database_up") == 1
