"""What a person can do about a finding in its state, and how it is typed: the same on its page and in a terminal."""

from collections.abc import Iterator
from dataclasses import dataclass

from tesserabench.collector.core.finding_life import TRANSITIONS, VERIFYING_RUNS, Event
from tesserabench.collector.store.tables import Regression
from tesserabench.collector.store.words import FindingKind, RegressionState

_S = RegressionState


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """Something to do, or to wait for."""

    what: str
    command: str = ""
    """Empty when there is nothing to do but wait."""


_WAITS = {
    _S.SUSPECTED: "it is being measured again, which settles it; nothing needs to be done",
    _S.FIXED: f"{VERIFYING_RUNS} further runs at the level of before verify it; nothing needs to be done",
    _S.ACCEPTED: "runs at this level pass; what comes on top of it is a new finding",
    _S.WONT_FIX: "runs at this level pass; what comes on top of it opens this one again",
    _S.VERIFIED: "it is over: later runs were at the level of before",
    _S.RESOLVED: "it is over, by itself",
}
_ANSWERS = (
    (Event.ACKNOWLEDGED, "you look after it: its alert ends, it stays open", "ack {} --comment 'what you know'"),
    (Event.ASSIGNED, "somebody else is to look after it", "assign {} --owner NAME"),
    (Event.FIXED, "it is fixed: later runs verify it", "resolve {} --as fixed --comment 'how'"),
    (Event.ACCEPTED, "the new level is wanted: it is the normal one from now on", "accept {} --comment 'why'"),
    (Event.IGNORED, "not now: its alert ends until then", "ignore {} --until 14d --comment 'why'"),
    (Event.FALSE_POSITIVE, "there is nothing: the detector was wrong", "resolve {} --as false-positive"),
    (Event.INFRASTRUCTURE, "a machine was at fault", "resolve {} --as infrastructure --comment 'which'"),
    (Event.REOPENED, "it is not over", "reopen {} --comment 'why'"),
)


def next_steps(regression: Regression) -> list[NextStep]:
    """What can be done about a finding now, the likeliest first."""
    return [*_waiting(regression), *_answers(regression), *_again(regression)]


def _waiting(regression: Regression) -> Iterator[NextStep]:
    state = RegressionState(regression.state)
    if state in _WAITS:
        yield NextStep(what=_WAITS[state])
    elif state is _S.DUPLICATE and regression.duplicate_of is not None:
        yield NextStep(what="the same as this one, which is to be answered", command=_shown(regression.duplicate_of))
    elif state is _S.IGNORED:
        ends = regression.ignored_until
        until = f"until {ends:%Y-%m-%d %H:%M} UTC, when it alerts again" if ends else "for good"
        yield NextStep(what=f"it is ignored {until}, unless it gets worse by a severity")


def _shown(number: int) -> str:
    return f"tbctl regression get {number}"


def possible(regression: Regression) -> str:
    """The commands that answer a finding in its state, in short."""
    commands = [step.command.split()[:4] for step in next_steps(regression)]
    return ", ".join(dict.fromkeys(" ".join(words) for words in commands if words[:2] == ["tbctl", "regression"]))


def _answers(regression: Regression) -> Iterator[NextStep]:
    state = RegressionState(regression.state)
    for event, what, words in _ANSWERS:
        # Only results have a level, and a drill's is not meant to stay.
        has_none = event is Event.ACCEPTED and (regression.kind != FindingKind.REGRESSION or regression.drill)
        if (state, event) in TRANSITIONS and not has_none and not _is_done(state, event):
            yield NextStep(what=what, command=f"tbctl regression {words.format(regression.id)}")


def _is_done(state: RegressionState, event: Event) -> bool:
    """Whether it can happen again and changes nothing."""
    return (state, event) in {(_S.ACKNOWLEDGED, Event.ACKNOWLEDGED), (_S.ASSIGNED, Event.ACKNOWLEDGED)}


def _again(regression: Regression) -> Iterator[NextStep]:
    if regression.run_id is not None:
        yield NextStep(what="measure it again", command=f"tbctl run retry {regression.run_id} --wait")
