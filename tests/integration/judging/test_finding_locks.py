"""Whoever changes findings waits for the lock of the project before holding any: no two wait for each other."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta

import pytest
from sqlalchemy import select, text
from support.histories import take_in
from support.laboratory import Conditions, Laboratory, Request, at_once, branch
from support.waiting import wait_until_async
from tesserabench.collector.core import finding_causes, regressions, triage
from tesserabench.collector.core.finding_causes import Asking
from tesserabench.collector.core.regressions import Act, NewFinding, Subject
from tesserabench.collector.core.spec import GateSpec, Revision
from tesserabench.collector.store import regressions as store
from tesserabench.collector.store.tables import Project, Regression
from tesserabench.collector.store.words import FindingKind, Severity

BOTH = Conditions(factors={"gemm[n=512]": 1.10, "copy[n=1]": 1.10})
AT_ONCE = Request(revision=Revision(branch="main"), gate=GateSpec(confirm=False))
DEVICE = NewFinding(
    subject=Subject(project_id=1, kind=FindingKind.SLOW_DEVICE, id="devices/GPU-1"),
    summary="GPU-1 is 8 % slower than its siblings.",
    severity=Severity.MAJOR,
)


def act(laboratory: Laboratory) -> Act:
    return Act(actor="ann", comment="so it is", now=laboratory.clock())


async def reopen(laboratory: Laboratory) -> None:
    async with laboratory.database.transaction() as session:
        await triage.reopen(session, 1, act=act(laboratory))


async def duplicate(laboratory: Laboratory) -> None:
    async with laboratory.database.transaction() as session:
        doing = act(laboratory)
        await triage.resolve(session, 2, resolution="duplicate", duplicate_of=1, act=doing)


async def wake(laboratory: Laboratory) -> None:
    laboratory.clock.advance(86_400)
    async with laboratory.database.transaction() as session:
        assert await regressions.wake_ignored(session, laboratory.clock()) == 1


async def find_causes(laboratory: Laboratory) -> None:
    asking = Asking(database=laboratory.database, offload=at_once, clock=laboratory.clock)
    assert await finding_causes.look(asking) > 0


async def judge(laboratory: Laboratory) -> None:
    await laboratory.judge((await laboratory.get(3)).id)


async def open_about_a_device(laboratory: Laboratory) -> None:
    async with laboratory.database.transaction() as session:
        await regressions.open_finding(session, DEVICE, now=laboratory.clock())


async def close_about_a_device(laboratory: Laboratory) -> None:
    async with laboratory.database.transaction() as session:
        found = await regressions.close_finding(session, DEVICE.subject, comment="well", now=laboratory.clock())
        assert found is not None


@pytest.mark.parametrize(
    "change", [reopen, wake, duplicate, find_causes, judge, open_about_a_device, close_about_a_device]
)
async def test_who_waits_for_the_projects_lock_holds_no_finding(
    laboratory: Laboratory, change: Callable[[Laboratory], Coroutine[None, None, None]]
) -> None:
    await laboratory.run(branch("main"))
    await laboratory.run(AT_ONCE, BOTH)
    await laboratory.measure(await laboratory.ask(AT_ONCE), BOTH)
    await take_in(laboratory)
    async with laboratory.database.transaction() as session:
        await regressions.open_finding(session, DEVICE, now=laboratory.clock())
    if change in {reopen, wake}:
        until = laboratory.clock() + timedelta(days=1)
        async with laboratory.database.transaction() as session:
            await triage.ignore(session, 1, until=until, act=act(laboratory))

    async def waiting() -> bool:
        async with laboratory.database.transaction() as session:
            found = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            return bool(await session.scalar(found))

    async with asyncio.TaskGroup() as group:
        async with laboratory.database.transaction() as session:
            project = (await session.scalars(select(Project))).one()
            await store.lock_project(session, project.id)
            changing = group.create_task(change(laboratory))
            await wait_until_async(waiting, seconds=30, what="the change waits for the lock")
            # What whoever holds the project's lock does next; with a finding in the other's hands both would wait.
            held = (
                await session.scalars(select(Regression.id).order_by(Regression.id).with_for_update(nowait=True))
            ).all()
        await changing
    assert held == [1, 2, 3]
