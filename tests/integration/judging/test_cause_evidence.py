"""Causes from what stands in the store: runs on several hosts, read as evidence and weighed."""

from collections.abc import Callable

from sqlalchemy import select, update
from support.laboratory import FINISHED, Conditions, Laboratory, Request
from tesserabench.analysis.attribution import Attribution, Cause, attribute
from tesserabench.collector.core.cause_evidence import VISITS_AROUND, ChangeSeen, Question, gather
from tesserabench.collector.core.spec import Revision, RunSpec
from tesserabench.collector.store.tables import Project, Run, Series

HOSTS = ("node-1", "node-2", "node-3", "node-4")
ROUNDS, HAPPENS = 10, 5

Story = Callable[[int, str], Conditions]
"""How a host measures in a round."""


async def _measured(laboratory: Laboratory, story: Story) -> list[list[int]]:
    """By round the runs on each host; every round measures a commit of its own."""
    rounds = []
    for number in range(ROUNDS):
        commit = f"{number:x}" * 12
        request = Request(
            revision=Revision(branch="main", commit=commit),
            spec=RunSpec(suite="core", trials=2),
        )
        runs = []
        for host in HOSTS:
            run_id = await laboratory.ask(request)
            await laboratory.measure(run_id, story(number, host))
            runs.append(run_id)
        rounds.append(runs)
    await _finish(laboratory)
    return rounds


async def _finish(laboratory: Laboratory) -> None:
    """What is measured counts once it has been judged; what the gate said does not matter here."""
    async with laboratory.database.transaction() as session:
        await session.execute(update(Run).values(state=FINISHED))


async def _asked(
    laboratory: Laboratory, rounds: list[list[int]], *cases: str, shown_on: str = "node-1"
) -> tuple[Attribution, ...]:
    async with laboratory.database.transaction() as session:
        project = (await session.scalars(select(Project))).one()
        wanted = select(Series).where(Series.primary, Series.case_id.in_(cases)).order_by(Series.id)
        changes = [
            ChangeSeen(
                key=series.id,
                series_id=series.id,
                change=0.08,
                run_id=rounds[HAPPENS][HOSTS.index(shown_on)],
                earliest_run_id=rounds[HAPPENS - 1][0],
                latest_run_id=rounds[HAPPENS + 1][-1],
            )
            for series in await session.scalars(wanted)
        ]
        evidence = await gather(session, Question(project=project, line="", changes=changes))
    assert len(evidence.tracks) == 3 * len(HOSTS), "primary series alone, one track for each device"
    return attribute(evidence)


def _wobble(number: int, host: str) -> float:
    return 1 + 0.002 * ((number * 7 + len(host) + int(host[-1]) * 3) % 5 - 2)


async def test_a_step_with_a_commit_on_every_host_is_the_code(laboratory: Laboratory) -> None:
    def story(number: int, host: str) -> Conditions:
        factor = 1.08 if number >= HAPPENS else 1.0
        return Conditions(host=host, level=1e6 * _wobble(number, host), factors={"gemm[n=512]": factor})

    rounds = await _measured(laboratory, story)
    (found,) = await _asked(laboratory, rounds, "gemm[n=512]")
    assert found.cause is Cause.CODE
    assert found.commit_range is not None
    assert (found.commit_range.last_good, found.commit_range.first_new) == ("4" * 12, "5" * 12)
    assert found.hosts == HOSTS

    # A run of suite `core` is made of cases of other suites.
    async with laboratory.database.transaction() as session:
        await session.execute(update(Series).values(suite="gemm"))
    assert await _asked(laboratory, rounds, "gemm[n=512]") == (found,)


async def test_one_host_alone_is_the_host(laboratory: Laboratory) -> None:
    def story(number: int, host: str) -> Conditions:
        slow = 1.08 if number >= HAPPENS and host == "node-3" else 1.0
        return Conditions(host=host, level=1e6 * slow * _wobble(number, host))

    rounds = await _measured(laboratory, story)
    found = await _asked(laboratory, rounds, "gemm[n=512]", "copy[n=1]", "reduce[n=1]", shown_on="node-3")
    assert [one.cause for one in found] == [Cause.HOST]
    assert found[0].hosts == ("node-3",)
    assert len(found[0].members) == 3


async def test_a_driver_on_half_of_the_hosts_is_the_environment(laboratory: Laboratory) -> None:
    def story(number: int, host: str) -> Conditions:
        new = number >= HAPPENS and host in {"node-1", "node-2"}
        return Conditions(
            host=host,
            level=1e6 * (1.08 if new else 1.0) * _wobble(number, host),
            comparability="driver 560" if new else "driver 550",
        )

    found = await _asked(laboratory, await _measured(laboratory, story), "gemm[n=512]", "copy[n=1]", "reduce[n=1]")
    assert [one.cause for one in found] == [Cause.ENVIRONMENT]
    (field,) = found[0].fields
    assert (field.fact, field.before, field.after) == ("driver", "driver 550", "driver 560")
    assert field.hosts == ("node-1", "node-2")


async def test_only_what_lies_next_to_the_change_is_read(laboratory: Laboratory) -> None:
    request = Request(spec=RunSpec(suite="core", trials=1))
    runs = []
    for _ in range(2 * VISITS_AROUND + 6):
        run_id = await laboratory.ask(request)
        await laboratory.measure(run_id)
        runs.append(run_id)
    await _finish(laboratory)
    async with laboratory.database.transaction() as session:
        project = (await session.scalars(select(Project))).one()
        series = (await session.scalars(select(Series).where(Series.primary).limit(1))).one()
        middle = runs[len(runs) // 2]
        change = ChangeSeen(key=1, series_id=series.id, change=0.1, run_id=middle)
        evidence = await gather(session, Question(project=project, line="", changes=[change]))
    assert len(evidence.visits) == 2 * VISITS_AROUND + 1
    assert [visit.run for visit in evidence.visits] == sorted(visit.run for visit in evidence.visits)
