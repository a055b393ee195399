"""Devices against others of their model: read, judged, and made into findings that are the operator's, not the code's.

A slow device is a finding about the device; while it is open, what was measured there decides no verdict.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.attribution.siblings import DeviceStanding, Reading, Standing, Terms
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.rules import Cordon
from tesserabench.analysis.wording import percent
from tesserabench.analysis.words import Better
from tesserabench.collector.core import policies, regressions
from tesserabench.collector.core.cordoning import cordon_slow
from tesserabench.collector.core.regressions import NewFinding, Subject
from tesserabench.collector.store import device_findings as finding_store
from tesserabench.collector.store import projects as project_store
from tesserabench.collector.store import results as result_store
from tesserabench.collector.store import tracks as store
from tesserabench.collector.store.tables import Project, Regression, Series
from tesserabench.collector.store.words import CauseWord, FindingKind, Severity

WINDOW = timedelta(days=14)
"""What was measured longer ago says nothing of a device now."""

_MOST_RUNS = 4000

_CLASSES: Mapping[str, str] = {
    **dict.fromkeys(("gemm", "attention", "conv", "fft", "norm", "elementwise", "llm", "compute"), "compute"),
    **dict.fromkeys(("memory", "embedding", "primitives", "sparse", "sort", "scan", "reduce", "copy"), "memory"),
    **dict.fromkeys(("transfer", "pcie"), "transfer"),
    **dict.fromkeys(("collectives", "nvlink"), "collectives"),
    "latency": "latency",
}
"""What kind of strength a suite or a family of benchmarks tests; any other family is a class of its own."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What siblings are compared by."""

    readings: tuple[Reading, ...] = ()
    projects: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """By device: ids of the projects that measured there, those that measured most first."""
    cordons: Mapping[str, Cordon] = field(default_factory=dict)
    """By device: when a policy has it taken out of use, the strictest of its series."""
    runs: frozenset[int] = frozenset()
    """What it was read from."""

    def about(self, series: Mapping[int, Sequence[str]]) -> tuple[Reading, ...]:
        """The readings, and once more for each finding those of its own series, as a class of tests of their own."""
        own = [
            replace(reading, test_class=_class_of_finding(finding))
            for finding, names in series.items()
            for reading in self.readings
            if reading.series in names
        ]
        return (*self.readings, *own)


def class_of(series: Series) -> str:
    """The class of tests that a series belongs to, by its suite, else by the family of its benchmark."""
    # A run of suite `core` is made of cases of `memory/copy` and `gemm/matmul`: their suites are `memory` and `gemm`.
    family = series.benchmark.partition("/")[0]
    return _CLASSES.get(series.suite) or _CLASSES.get(family, family)


def _name(series: Series) -> str:
    """What is measured, whatever the device."""
    return f"{series.project_id} {series.case_id} {series.mode} {series.metric}"


def _class_of_finding(finding_id: int) -> str:
    return f"finding {finding_id}"


async def series_of_findings(session: AsyncSession) -> dict[int, list[str]]:
    """By open finding of a slow device the names of the series that showed it: one may be slow in these alone."""
    return {key: [_name(row) for row in rows] for key, rows in (await finding_store.members(session)).items()}


def subject_of(device: str) -> str:
    """What findings call a device."""
    return f"devices/{device}"


async def recent_runs(session: AsyncSession, now: datetime) -> frozenset[int]:
    """The runs that `read` reads."""
    return frozenset(await store.recent_run_ids(session, since=now - WINDOW, most=_MOST_RUNS))


async def read(
    session: AsyncSession, now: datetime, *, model: str = "", suite: str = "", project: str = ""
) -> Readings:
    """What every device gave of late for series that several devices can be compared by.

    Args:
        session: The transaction.
        now: The time.
        model: Only devices of this model; empty for all.
        suite: Only series of this suite, or measured by its runs; empty for all.
        project: Only series of this project; empty for all.
    """
    only = await project_store.find(session, project) if project else None
    if project and only is None:
        return Readings()
    runs = await recent_runs(session, now)
    of_suite = await store.of_suite(session, runs, suite) if suite else set()
    visits = {(one.run_id, one.device): one for one in await store.visits(session, runs)}
    points = await store.points(session, runs=runs)
    series = await result_store.series(session, {point.series_id for point in points})
    projects: defaultdict[str, Counter[int]] = defaultdict(Counter)
    devices_of: defaultdict[int, set[str]] = defaultdict(set)
    readings = []
    for point in points:
        row, visit = series[point.series_id], visits.get((point.run_id, point.device))
        if visit is None or row.better not in set(Better):
            continue
        if suite and row.suite != suite and point.run_id not in of_suite:
            continue
        if only is not None and row.project_id != only.id:
            continue
        # The CPUs of hosts have series of their own, though they are siblings when the model is the same.
        own = str(visit.facts.get("cpu.model", "cpu")) if visit.kind == "cpu" else row.device_key
        if model and own != model:
            continue
        projects[point.device][row.project_id] += 1
        devices_of[point.series_id].add(point.device)
        readings.append(
            Reading(
                series=_name(row),
                test_class=class_of(row),
                model=own,
                host=point.host,
                device=point.device,
                run=point.run_id,
                at=point.at.timestamp(),
                commit=visit.commit,
                value=math.log(point.value),
                slower=1 if row.better == Better.LOWER else -1,
            )
        )
    return Readings(
        readings=tuple(readings),
        projects={device: [number for number, _ in counts.most_common()] for device, counts in projects.items()},
        cordons=await _cordons(session, series, devices_of),
        runs=runs,
    )


async def _cordons(
    session: AsyncSession, series: Mapping[int, Series], devices_of: Mapping[int, Collection[str]]
) -> dict[str, Cordon]:
    """By device the strictest rule of its series that takes it out of use."""
    found: dict[str, Cordon] = {}
    rules = {
        project_id: (await policies.in_force(session, await session.get_one(Project, project_id))).rules
        for project_id in sorted({series[series_id].project_id for series_id in devices_of})
    }
    for series_id, devices in devices_of.items():
        row = series[series_id]
        rule = rules[row.project_id].for_series(
            suite=row.suite, benchmark=row.benchmark, case=row.case_id, metric=row.metric, device=row.device_key
        )
        for device in devices if rule.cordon else ():
            known = found.get(device)
            assert rule.cordon is not None
            if known is None or rule.cordon.slower_than < known.slower_than:
                found[device] = rule.cordon
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a check of the fleet led to."""

    opened: tuple[str, ...] = ()
    """Devices with a finding that is open now."""
    closed: tuple[str, ...] = ()
    cordoned: tuple[str, ...] = ()
    """Hosts that were taken out of use."""


async def apply(
    session: AsyncSession, found: Sequence[DeviceStanding], read: Readings, policy: Policy, now: datetime
) -> Outcome:
    """Open findings for slow devices, close those of devices that are back, and cordon where the policy says so.

    A device that nothing was measured on, or that cannot be judged, keeps its finding.
    """
    known = {row.subject: row for row in await finding_store.slow_devices(session)}
    findings = {_class_of_finding(row.id): row.subject for row in known.values()}
    by_device: defaultdict[str, list[DeviceStanding]] = defaultdict(list)
    own: dict[str, DeviceStanding] = {}
    for one in found:
        if one.test_class not in findings:
            by_device[one.device].append(one)
        elif findings[one.test_class] == subject_of(one.device):
            own[one.device] = one
    opened, closed, cordoned = [], [], []
    for device, rows in sorted(by_device.items()):
        slow = [one for one in rows if one.standing is Standing.SLOW]
        row = known.get(subject_of(device))
        project_id = row.project_id if row is not None else read.projects[device][0]
        if slow:
            worst = max(slow, key=lambda one: one.deviation)
            new = replace(_finding(worst, slow, project_id, policy), touches=read.projects[device])
            finding = await regressions.open_finding(session, new, now=now)
            opened.append(device)
            if await cordon_slow(session, worst, read.cordons.get(device), finding):
                cordoned.append(worst.host)
        elif row is not None and all(_is_back(one) for one in ([own[device]] if device in own else rows)):
            subject = Subject(project_id=project_id, kind=FindingKind.SLOW_DEVICE, id=subject_of(device))
            comment = "like its siblings again: " + ", ".join(_size(one) for one in rows)
            await regressions.close_finding(session, subject, comment=comment, now=now)
            closed.append(device)
    return Outcome(opened=tuple(opened), closed=tuple(closed), cordoned=tuple(cordoned))


def _is_back(one: DeviceStanding) -> bool:
    """Well below what opens a finding, so that a device on the limit does not come and go."""
    known = one.standing in {Standing.PASS, Standing.FAST}
    return known and one.deviation < Terms().minimum_effect / 2


def _finding(worst: DeviceStanding, slow: Sequence[DeviceStanding], project_id: int, policy: Policy) -> NewFinding:
    return NewFinding(
        subject=Subject(project_id=project_id, kind=FindingKind.SLOW_DEVICE, id=subject_of(worst.device)),
        summary=(
            f"Device {worst.device} on {worst.host} is {_unsigned(worst.deviation)} slower than its {worst.siblings} "
            f"siblings ({worst.model}) in {', '.join(one.test_class for one in slow)} tests."
        ),
        severity=_severity(worst.deviation, policy),
        change=worst.deviation,
        device_key=worst.model,
        cause=CauseWord.HOST,
        attribution=_attribution(slow),
    )


def _severity(change: float, policy: Policy) -> Severity:
    if change >= policy.critical:
        return Severity.CRITICAL
    return Severity.MAJOR if change >= policy.major else Severity.MINOR


def _attribution(slow: Sequence[DeviceStanding]) -> dict[str, Any]:
    """`tesserabench.v1.Attribution` in JSON."""
    told = []
    for one in slow:
        told.append(
            f"{one.test_class}: {_size(one)} against {one.siblings} siblings, z {one.z:.1f}, over {one.series} series "
            f"and {one.runs} runs; {_unsigned(one.smallest_visible)} would have been seen."
        )
        if one.drifting:
            told.append(f"{one.test_class}: it became {_unsigned(one.drift)} slower over the last runs.")
    return {"cause": "CAUSE_KIND_HOST", "evidence": told}


def _size(one: DeviceStanding) -> str:
    return f"{one.test_class} {percent(one.deviation)}"


def _unsigned(fraction: float) -> str:
    return percent(abs(fraction)).lstrip("+-")


async def known_slow(session: AsyncSession, devices: Collection[str]) -> dict[str, Regression]:
    """By device (`store.tracks.device_id`) the open finding that it is slow, for those of these that have one."""
    subjects = {subject_of(device): device for device in devices}
    return {subjects[row.subject]: row for row in await finding_store.slow_devices(session, list(subjects))}
