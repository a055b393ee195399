"""A finding's whole life as a person at a terminal sees it: each answer says what follows, and what to type next."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from support.histories import take_in
from support.judging_services import Stubs
from support.laboratory import Conditions, Laboratory, Request, at_once
from support.tbctl import Said, Tbctl, clean_environment
from tesserabench.collector.core import finding_causes, regressions
from tesserabench.collector.core.finding_causes import Asking
from tesserabench.collector.core.spec import Revision

Type = Callable[[str], Awaitable[Said]]
ABOUT = "regression {} (gemm[n=512]): "


@pytest.fixture
def typed(stubs: Stubs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Type:
    """Types a line, words parted by blanks and `_` for a blank within one, and gives what was said."""
    tbctl = Tbctl(capture=capsys, always=("--server", stubs.address))

    async def line(text: str) -> Said:
        words = [word.replace("_", " ") for word in text.split()]
        with clean_environment(tmp_path):
            return await asyncio.to_thread(tbctl, "regression", *words)

    return line


def lines(said: Said) -> list[str]:
    """What was written, without the log of the collector in this process."""
    return [line for line in said.out.splitlines() if "[info" not in line]


def following(said: Said) -> list[str]:
    return [line.removeprefix("Next:").strip() for line in said.out.splitlines() if line.startswith("Next:")]


async def test_a_finding_is_answered_from_suspicion_to_verification(laboratory: Laboratory, typed: Type) -> None:
    commits = itertools.count(1)

    async def measured(times: float, *, again: bool = False) -> None:
        slow = Conditions(factors={"gemm[n=512]": times})
        laboratory.clock.advance(3600)
        request = Request(revision=Revision(branch="main", commit=f"{next(commits):07x}abc"))
        run = await laboratory.run(request, slow)
        if again:
            await laboratory.confirm(run, slow)

    await measured(1.0)
    await measured(1.06, again=True)
    await take_in(laboratory)
    await finding_causes.look(Asking(database=laboratory.database, offload=at_once, clock=laboratory.clock))
    shown = await typed("get 1")
    assert "State:        confirmed" in shown.out
    assert "accept it: tbctl regression accept 1 --comment 'why'." in shown.out
    assert following(shown)[0] == (
        "tbctl regression ack 1 --comment 'what you know'  # you look after it: its alert ends, it stays open"
    )
    assert lines(await typed("ack 1 --owner ann --comment bisecting")) == [
        ABOUT.format(1) + "confirmed -> acknowledged, owner ann"
    ]
    assert lines(await typed("assign 1 --owner bob")) == [ABOUT.format(1) + "acknowledged -> assigned, owner bob"]
    ignored, until = lines(await typed("ignore 1 --until 14d --comment after_the_release"))
    assert ignored == ABOUT.format(1) + "assigned -> ignored"
    assert until.startswith("  it is ignored until ")
    assert until.endswith(" UTC, when it alerts again, unless it gets worse by a severity")
    shown = await typed("get 1")
    assert "Advice:" not in shown.out, "it is closed"
    assert following(shown)[1] == "tbctl regression reopen 1 --comment 'why'  # it is not over"

    # What comes on top of what is ignored is news, and can be wanted, or not after all.
    await measured(1.06)
    await measured(1.3, again=True)
    accepted = lines(await typed("accept 2 --comment the_safer_algorithm"))
    assert accepted[0] == ABOUT.format(2) + "confirmed -> accepted, the detector was right"
    assert [line.split(" with ")[0].strip() for line in accepted[1:2]] == ["core runs are compared"]
    assert accepted[2] == "  runs at this level pass; what comes on top of it is a new finding"
    reopened = lines(await typed("reopen 2 --comment not_safer"))
    assert reopened[0] == ABOUT.format(2) + "accepted -> confirmed"
    assert reopened[1].endswith(" again")
    assert lines(await typed("resolve 2 --comment fixed_in_abc1234")) == [
        ABOUT.format(2) + "confirmed -> fixed, the detector was right",
        "  2 further runs at the level of before verify it; nothing needs to be done",
    ]
    for _ in range(3):
        await measured(1.06)
    shown = await typed("get 2")
    assert "State:        verified" in shown.out
    assert "verified by detector, the fix holds" in shown.out
    refused = await typed("resolve 2")
    says = "regressions/2 is closed (verified) and cannot be called fixed now; possible: tbctl regression reopen 2"
    assert (refused.status, says in refused.err) == (2, True)

    laboratory.clock.advance(15 * 86_400)
    async with laboratory.database.transaction() as session:
        await regressions.wake_ignored(session, laboratory.clock())
    listed = await typed("list")
    assert [line.split()[:3] for line in lines(listed)[1:]] == [["1", "major", "confirmed"]]
