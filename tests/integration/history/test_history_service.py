"""What people see of histories."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from support.histories import CASE, end, measure, take_in, wobbly
from support.laboratory import Conditions, Laboratory, Request
from support.statuses import reason_of
from support.tbctl import Said, Tbctl, clean_environment
from tesserabench.cli.context import CommandContext
from tesserabench.cli.series_names import complete_series
from tesserabench.collector.api.history_service import HistoryService
from tesserabench.collector.api.interceptor import CallInterceptor
from tesserabench.collector.api.server import GrpcServer, Service
from tesserabench.collector.core.spec import RunSpec
from tesserabench.collector.core.tokens import Authenticator
from tesserabench.v1 import history_service_pb2 as pb
from tesserabench.v1 import history_service_pb2_grpc
from tesserabench.wire.channel import client_options
from tesserabench.wire.reasons import Reason

if TYPE_CHECKING:
    Stub = history_service_pb2_grpc.HistoryServiceAsyncStub


@dataclass(frozen=True, slots=True)
class Served:
    """The service over a laboratory."""

    stub: "Stub"
    address: str


@asynccontextmanager
async def served(laboratory: Laboratory) -> AsyncIterator[Served]:
    service = Service(
        name="tesserabench.v1.HistoryService",
        servicer=HistoryService(laboratory.database),
        add=history_service_pb2_grpc.add_HistoryServiceServicer_to_server,
    )
    interceptor = CallInterceptor(Authenticator(laboratory.database, required=False))
    server = GrpcServer([service], interceptor, listen="127.0.0.1:0", tls=None)
    port = await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=client_options()) as channel:
            yield Served(history_service_pb2_grpc.HistoryServiceStub(channel), f"127.0.0.1:{port}")
    finally:
        await server.stop(0)


@pytest_asyncio.fixture
async def histories(laboratory: Laboratory) -> "AsyncIterator[Stub]":
    async with served(laboratory) as service:
        yield service.stub


async def refused(call: Awaitable[object], code: grpc.StatusCode, reason: Reason, says: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=says) as caught:
        await call
    assert (caught.value.code(), reason_of(caught.value)) == (code, reason)


async def test_series_are_found_by_the_names_that_people_use(laboratory: Laboratory, histories: "Stub") -> None:
    await measure(laboratory, wobbly([1.0] * 8))
    await take_in(laboratory)

    async def found(**wanted: object) -> list[str]:
        answer = await histories.ListSeries(pb.ListSeriesRequest(**wanted))  # type: ignore[arg-type]
        return [series.metric for series in answer.series]

    for name in ("gemm", CASE, "core/gemm", f"core/{CASE}", ""):
        assert await found(benchmark=name) == ["time", "bandwidth"], name
    assert await found(benchmark="gem") == []
    assert await found(benchmark="gemm", primary_only=True) == ["time"]
    assert await found(metric="bandwidth", device="simulated") == ["bandwidth"]
    assert await found(branch="other") == await found(device="h100") == await found(project="nobody") == []
    first = await histories.ListSeries(pb.ListSeriesRequest(page_size=1))
    second = await histories.ListSeries(pb.ListSeriesRequest(page_size=1, page_token=first.next_page_token))
    assert [first.series[0].metric, second.series[0].metric] == ["time", "bandwidth"]
    assert not second.next_page_token
    series = first.series[0]
    assert (series.points, series.state, series.unit) == (8, pb.SeriesState.SERIES_STATE_ACTIVE, "ns")
    assert series.level == pytest.approx(1e6, rel=0.01)
    assert 0 < series.noise < 0.01


async def test_a_history_has_its_levels_its_change_and_its_points_in_pages(
    laboratory: Laboratory, histories: "Stub"
) -> None:
    ids = await measure(laboratory, wobbly([1.0] * 12 + [1.12] * 8))
    await take_in(laboratory)
    name = (await histories.ListSeries(pb.ListSeriesRequest(metric="time"))).series[0].name
    whole = await histories.GetHistory(pb.GetHistoryRequest(name=name))
    assert [point.run for point in whole.points] == [f"runs/{run_id}" for run_id in ids]
    assert whole.points[0].commit == "0000000aaa"
    assert [(row.first_run, row.points) for row in whole.segments] == [(f"runs/{ids[0]}", 12), (f"runs/{ids[12]}", 8)]
    (change,) = whole.changes
    assert (change.before_run, change.run) == (f"runs/{ids[11]}", f"runs/{ids[12]}")
    assert (change.before_commit, change.commit) == ("000000baaa", "000000caaa")
    assert (change.kind, change.state, change.worse) == (
        pb.ChangeKind.CHANGE_KIND_STEP,
        pb.ChangeState.CHANGE_STATE_CONFIRMED,
        True,
    )
    runs, token = [], ""
    for _ in range(3):
        part = await histories.GetHistory(pb.GetHistoryRequest(name=name, page_size=8, page_token=token))
        runs += [point.run for point in part.points]
        token = part.next_page_token
    assert (runs, token) == ([point.run for point in whole.points], "")
    since = Timestamp()
    since.FromDatetime(laboratory.clock.now - timedelta(minutes=4, seconds=30))
    assert len((await histories.GetHistory(pb.GetHistoryRequest(name=name, start_time=since))).points) == 4


async def test_what_is_not_there_is_refused_with_what_is(laboratory: Laboratory, histories: "Stub") -> None:
    await measure(laboratory, [1.0])
    await take_in(laboratory)
    name = (await histories.ListSeries(pb.ListSeriesRequest(metric="time"))).series[0].name
    call = histories.GetHistory(pb.GetHistoryRequest(name=name, branch="feature"))
    await refused(call, grpc.StatusCode.NOT_FOUND, Reason.SERIES_NOT_FOUND, "on branch 'feature'; it has some on main")
    call = histories.GetHistory(pb.GetHistoryRequest(name="series/999999"))
    await refused(call, grpc.StatusCode.NOT_FOUND, Reason.SERIES_NOT_FOUND, "does not exist")
    call = histories.GetHistory(pb.GetHistoryRequest(name="gemm"))
    await refused(call, grpc.StatusCode.INVALID_ARGUMENT, Reason.INVALID_FIELD, "series/12")


async def test_tbctl_shows_a_history_as_a_chart_and_as_data(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ids = await measure(laboratory, wobbly([1.0] * 12 + [1.12] * 8))
    await measure(laboratory, wobbly([0.9] * 6), branch="faster-sort")
    await take_in(laboratory)
    async with served(laboratory) as service:
        tbctl = Tbctl(capture=capsys, always=("--server", service.address))

        async def said(*arguments: str) -> Said:
            # tbctl waits for its answers, and the service answers on this loop.
            with clean_environment(tmp_path):
                return await asyncio.to_thread(tbctl, *arguments)

        shown = await said("history", "gemm", "--limit", "2")
        assert shown.status == 0, shown.err
        head, *lines = shown.out.splitlines()
        assert head.startswith("gemm[n=512] time (cold) on Simulated 1, branch (default): 20 runs, now 1.12")
        assert any("\N{BOX DRAWINGS LIGHT QUADRUPLE DASH VERTICAL}" in line for line in lines)
        change = next(line for line in lines if " -> " in line)
        assert f"{ids[11]} -> {ids[12]}" in change
        assert "+12." in change
        assert "000000baaa..000000caaa" in change
        assert "confirmed critical step" in change
        runs = [line.split()[0] for line in lines if line.startswith(tuple(map(str, ids)))]
        assert runs[-2:] == [str(run_id) for run_id in ids[-2:]]
        bare = await said("history", "gemm", "--no-plot", "--limit", "0")
        assert "\N{BOX DRAWINGS LIGHT VERTICAL}" not in bare.out
        both = await said("history", "gemm", "--branch", "main", "--branch", "faster-sort")
        assert "branch faster-sort: 6 runs" in both.out
        assert "\N{MULTIPLICATION SIGN}" in both.out
        document = json.loads((await said("history", "gemm", "-o", "json")).out)
        assert len(document["points"]) == 20
        assert document["changes"][0]["run"] == f"runs/{ids[12]}"
        rows = list(csv.DictReader(io.StringIO((await said("history", "gemm", "-o", "csv")).out)))
        assert [row["run"] for row in rows] == [str(run_id) for run_id in ids]
        wrong = await said("history", "gmem")
        assert (wrong.status, "did you mean 'gemm'?" in wrong.err) == (5, True)
        for empty in ("", "  "):
            nameless = await said("history", empty)
            assert (nameless.status, "BENCHMARK is empty; name a benchmark or a case" in nameless.err) == (2, True)
        vague = await said("history", "gemm", "--metric", "flops")
        assert "leave some out" in vague.err


async def test_tbctl_lists_what_an_ambiguous_name_may_mean(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for case in ("gemm[n=512]", "gemm[n=1024]"):
        run_id = await laboratory.ask(Request(spec=RunSpec(suite="core", trials=2)))
        await laboratory.measure(run_id, Conditions(cases=[case]))
        await end(laboratory, run_id)
    await take_in(laboratory)
    async with served(laboratory) as service:
        tbctl = Tbctl(capture=capsys, always=("--server", service.address))
        with clean_environment(tmp_path):
            said = await asyncio.to_thread(tbctl, "history", "gemm")
            assert said.status == 2
            assert "'gemm' means 2 series" in said.last_line
            assert (
                "tbctl history 'gemm[n=1024]' --metric time --mode cold --device 'Simulated 1' --suite core" in said.err
            )
            right = await asyncio.to_thread(tbctl, "history", "gemm[n=1024]")
            assert right.status == 0

            def completed() -> list[str]:
                context = click.Context(click.Command("history"), obj=CommandContext(flags={"server": service.address}))
                return [item.value for item in complete_series(context, click.Argument(["benchmark"]), "ge")]

            assert await asyncio.to_thread(completed) == ["gemm", "gemm[n=1024]", "gemm[n=512]"]
