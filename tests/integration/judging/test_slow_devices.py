"""A slow device becomes a finding about the device: not a regression of the code, and nothing that stays for ever."""

import asyncio
from pathlib import Path

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from sqlalchemy import select
from support.embedded_collector import running_collector
from support.judging_services import Stubs
from support.laboratory import Conditions, Laboratory, Request, at_once
from support.tbctl import Tbctl, clean_environment
from support.waiting import wait_until_async
from tesserabench.collector.core import metrics, policies
from tesserabench.collector.core.cordoning import may_cordon
from tesserabench.collector.core.regressions import NewFinding, Subject, open_finding
from tesserabench.collector.core.spec import GateSpec, Revision, RunSpec
from tesserabench.collector.store import comparisons
from tesserabench.collector.store.tables import Host, Project, Regression, RegressionMember, Series
from tesserabench.collector.store.words import FindingKind, Severity
from tesserabench.collector.work.siblings import SiblingCheck
from tesserabench.v1.host_service_pb2 import CompareDevicesRequest, DeviceStanding, GetHostRequest, RankNoiseRequest

HOSTS = tuple(f"node-{number}" for number in range(1, 6))
SICK = "node-5"
DEVICE = "node-5/uuid-node-5"


def _request(commit: str = "abcdef1234") -> Request:
    return Request(
        revision=Revision(branch="main", commit=commit),
        spec=RunSpec(suite="core", trials=2),
        gate=GateSpec(confirm=False),
    )


async def _everywhere(laboratory: Laboratory, slower: float, request: Request | None = None) -> None:
    """A round over the fleet, in which one host may be slower."""
    for place, host in enumerate(HOSTS):
        factor = slower if host == SICK else 1 + 0.004 * (place % 3 - 1)
        run_id = await laboratory.ask(request or _request())
        await laboratory.measure(run_id, Conditions(host=host, level=1e6 * factor))


def _check(laboratory: Laboratory) -> SiblingCheck:
    return SiblingCheck(laboratory.database, at_once, laboratory.clock)


async def _findings(laboratory: Laboratory) -> list[Regression]:
    async with laboratory.database.transaction() as session:
        wanted = select(Regression).where(Regression.kind == "slow_device").order_by(Regression.id)
        return list(await session.scalars(wanted))


async def test_a_device_behind_its_siblings_is_found_told_and_let_go(
    laboratory: Laboratory, stubs: Stubs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        await _everywhere(laboratory, 1.08)
    check = _check(laboratory)
    assert (await check.check()).opened == (DEVICE,)
    (finding,) = await _findings(laboratory)
    assert (finding.subject, finding.cause, finding.severity) == (f"devices/{DEVICE}", "host", "major")
    assert finding.change == pytest.approx(0.08, abs=0.015)
    assert finding.attribution["touches"] == [finding.project_id], "whose people see it"
    assert "slower than its 4 siblings (Simulated 1) in compute, memory tests" in finding.summary
    assert _exported("tesserabench_device_deviation_ratio", device=DEVICE, test_class="compute") > 0.06

    assert (await check.check()).opened == (), "nothing new has been measured"
    found = (await stubs.hosts.CompareDevices(CompareDevicesRequest(), timeout=20)).comparisons
    slow = {(one.host, one.test_class) for one in found if one.standing == DeviceStanding.DEVICE_STANDING_SLOW}
    assert {host for host, _ in slow} == {f"hosts/{SICK}"}
    assert {one.regression for one in found if one.host == f"hosts/{SICK}"} == {f"regressions/{finding.id}"}

    tbctl = Tbctl(capture=capsys, always=("--server", stubs.address))
    with clean_environment(tmp_path):
        shown = await asyncio.to_thread(tbctl, "node", "compare", "--slow")
        table = await asyncio.to_thread(tbctl, "node", "compare", "-o", "csv")
    assert shown.status == 0, shown.err
    assert SICK in shown.out
    assert "node-1" not in shown.out
    assert f"tbctl regression get {finding.id}" in shown.err
    assert f"{SICK},{DEVICE},Simulated 1,compute,slow" in table.out

    for _ in range(3):
        await _everywhere(laboratory, 1.0)
    assert (await check.check()).closed == (DEVICE,)
    (finding,) = await _findings(laboratory)
    assert finding.state == "verified"


async def test_a_running_collector_finds_the_device_alerts_and_blames_no_code(
    laboratory: Laboratory, database_dsn: str, tmp_path: Path
) -> None:
    for slower in (1.0, 1.08, 1.08, 1.08):
        for host in HOSTS:
            run_id = await laboratory.ask(
                Request(revision=Revision(branch="main", commit="abcdef1234"), spec=_request().spec)
            )
            await laboratory.measure(run_id, Conditions(host=host, level=1e6 * (slower if host == SICK else 1.0)))
    async with running_collector(database_dsn, tmp_path, fleet={"siblings_seconds": 0.2}) as running:

        async def alerted() -> bool:
            async with httpx.AsyncClient() as client:
                text = (await client.get(f"{running.web}/metrics")).text
            return f'tesserabench_slow_device_ratio{{device="devices/{DEVICE}"' in text

        await wait_until_async(alerted, seconds=120, what="the metric that alerts")
        answer = await running.clients.hosts.CompareDevices(CompareDevicesRequest(), timeout=20)
        slow = {one.host for one in answer.comparisons if one.standing == DeviceStanding.DEVICE_STANDING_SLOW}
        sick = await running.clients.hosts.GetHost(GetHostRequest(name=f"hosts/{SICK}"), timeout=20)
    assert slow == {f"hosts/{SICK}"}
    assert [finding.summary.startswith(f"Device {DEVICE} on {SICK} is ") for finding in sick.findings] == [True]
    assert {(row.kind, row.cause) for row in await laboratory.regressions() if row.state == "confirmed"} == {
        ("slow_device", "host")
    }


async def test_what_a_slow_device_shows_as_worse_is_inconclusive(laboratory: Laboratory) -> None:
    healthy = await laboratory.run(_request(), Conditions(host=SICK))
    elsewhere = Request(
        revision=Revision(branch="other", commit="ccccccc333", base_branch="other"), spec=_request().spec
    )
    for _ in range(3):
        await _everywhere(laboratory, 1.08, elsewhere)
    await _check(laboratory).check()
    (finding,) = await _findings(laboratory)

    run = await laboratory.get(await laboratory.run(_request("bbbbbbb111"), Conditions(host=SICK, level=1.08e6)))
    assert run.verdict == "inconclusive"
    assert [row.id for row in await laboratory.regressions()] == [finding.id]
    async with laboratory.database.transaction() as session:
        stored = await comparisons.find(session, run.id)
    assert stored is not None
    assert stored.base_run_id == healthy
    explanations = [entry["explanation"] for entry in stored.content["entries"]]
    assert any(f"regressions/{finding.id}" in text for text in explanations), explanations

    really = await laboratory.run(_request("bbbbbbb222"), Conditions(host=SICK, level=1.45e6))
    assert (await laboratory.get(really)).verdict == "regressed", "far beyond what the device accounts for"
    async with laboratory.database.transaction() as session:
        stored = await comparisons.find(session, really)
    assert stored is not None
    assert stored.base_run_id == healthy, "what a slow device gave is nothing to compare with"


async def test_a_device_that_is_slow_in_one_series_keeps_its_finding_until_that_is_back(laboratory: Laboratory) -> None:
    async def measured(factor: float) -> None:
        for host in HOSTS:
            run_id = await laboratory.ask(_request())
            factors = {"fft[n=1]": factor} if host == SICK else {}
            # Two of the three say that the device is well.
            cases = ("gemm[n=512]", "fft[n=1]", "norm[n=1]")
            await laboratory.measure(run_id, Conditions(host=host, factors=factors, cases=cases))

    for _ in range(3):
        await measured(1.06)
    async with laboratory.database.transaction() as session:
        project = (await session.scalars(select(Project))).one()
        slow = await session.scalar(select(Series).where(Series.primary, Series.case_id == "fft[n=1]"))
        assert slow is not None
        about = Subject(project_id=project.id, kind=FindingKind.SLOW_DEVICE, id=f"devices/{DEVICE}")
        new = NewFinding(subject=about, summary="slow in one series", severity=Severity.MAJOR, change=0.06)
        row = await open_finding(session, new, now=laboratory.clock.now)
        member = {"change": 0.06, "severity": "major", "evidence": {}}
        session.add(RegressionMember(regression_id=row.id, series_id=slow.id, **member))
    check = _check(laboratory)
    assert (await check.check()).closed == ()
    for _ in range(3):
        await measured(1.0)
    assert (await check.check()).closed == (DEVICE,)


async def test_a_policy_has_slow_devices_taken_out_of_use(laboratory: Laboratory) -> None:
    text = (
        "apiVersion: tesserabench/v1\nkind: Policy\nproject: default\n"
        "defaults:\n  cordon: {slower-than: 5 %, runs: 3}\n"
    )
    for _ in range(3):
        await _everywhere(laboratory, 1.08)
    async with laboratory.database.transaction() as session:
        new = policies.NewPolicy(project="default", text=text)
        await policies.apply(session, new, actor="tester", now=laboratory.clock.now)
    outcome = await _check(laboratory).check()
    assert outcome.cordoned == (SICK,)
    async with laboratory.database.transaction() as session:
        cordoned = (await session.scalars(select(Host).where(Host.cordoned))).all()
    assert [host.name for host in cordoned] == [SICK]
    assert "slower than its siblings" in cordoned[0].cordon_reason


def test_no_more_than_a_share_of_the_fleet_is_taken_out_of_use() -> None:
    assert not may_cordon(out=0, everybody=3)
    assert may_cordon(out=0, everybody=4)
    assert not may_cordon(out=1, everybody=10)
    assert may_cordon(out=1, everybody=20)


async def test_noise_is_ranked_with_what_would_be_seen(laboratory: Laboratory, stubs: Stubs) -> None:
    for _ in range(3):
        await _everywhere(laboratory, 1.08)
    answer = await stubs.hosts.RankNoise(RankNoiseRequest(project="default"), timeout=20)
    entries = [MessageToDict(one, preserving_proto_field_name=True) for one in answer.entries]
    assert {entry["case_id"] for entry in entries} == {"copy[n=1]", "gemm[n=512]", "reduce[n=1]"}
    assert all(entry["between_device_share"] > 0.8 for entry in entries)
    assert all(0 < entry["detectable_change"] < 0.02 for entry in entries)
    alone = (await stubs.hosts.RankNoise(RankNoiseRequest(host="hosts/node-1"), timeout=20)).entries
    assert {tuple(one.hosts) for one in alone} == {("hosts/node-1",)}


def _exported(name: str, **labels: str) -> float:
    for family in metrics.REGISTRY.collect():
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    raise AssertionError(f"no sample of {name} with {labels}")
