"""The attempts in hand, and who is told when that changes."""

from tesserabench.agent.roster import Progress, Roster
from tesserabench.agent.spool.views import AttemptKey

A, B = (AttemptKey(name=f"runs/{run}/attempts/1", epoch=1) for run in (1, 2))


async def test_taking_and_ending_are_urgent_and_progress_is_not() -> None:
    roster = Roster()
    roster.add(A)
    assert roster.urgent.is_set()
    mark = roster.mark()
    assert not roster.changed.is_set()
    roster.report(A, Progress(cases_done=1))
    assert roster.changed.is_set()
    assert not roster.urgent.is_set()
    roster.close(A)
    assert roster.urgent.is_set()
    assert roster.ended_since(mark) == frozenset()


async def test_same_progress_twice_is_no_news() -> None:
    roster = Roster()
    roster.add(A)
    roster.report(A, Progress(cases_done=1))
    roster.mark()
    roster.report(A, Progress(cases_done=1))
    assert not roster.changed.is_set()


async def test_only_what_ended_after_the_question_is_named() -> None:
    roster = Roster()
    roster.add(A)
    roster.add(B)
    roster.remove(A)
    mark = roster.mark()
    assert roster.ended_since(mark) == frozenset()
    roster.remove(B)
    assert roster.ended_since(mark) == {B}


async def test_running_is_the_one_that_is_not_closing() -> None:
    roster = Roster()
    roster.add(A, closing=True)
    assert roster.running is None
    roster.add(B)
    assert roster.running == B
    roster.close(B)
    assert roster.running is None
    assert [item.closing for item in roster.held()] == [True, True]


async def test_progress_of_what_is_not_held_is_ignored() -> None:
    roster = Roster()
    roster.report(A, Progress(cases_done=1))
    roster.reject(A, rejected=True)
    assert roster.entries() == ()


async def test_an_attempt_that_is_committed_before_it_is_closed_is_gone() -> None:
    roster = Roster()
    roster.add(A)
    roster.remove(A)
    mark = roster.mark()
    roster.close(A)
    assert roster.entries() == ()
    assert roster.running is None
    assert roster.ended_since(mark) == frozenset()
    assert not roster.changed.is_set()
