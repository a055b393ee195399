"""`tbctl regression ack|assign|ignore|resolve|accept|reopen|comment|feedback`: what people do, to one or several."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import click
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import CliError, UsageProblem
from tesserabench.cli.grammar import command
from tesserabench.cli.options import MOMENT, REGRESSION, options
from tesserabench.cli.output.table import clean
from tesserabench.cli.output.words import number_of, words_of
from tesserabench.cli.parsing import short_id
from tesserabench.cli.views.findings import about, regression_columns, state_of
from tesserabench.v1.regression_service_pb2 import (
    AcceptRegressionRequest,
    AcknowledgeRegressionRequest,
    AssignRegressionRequest,
    CommentRegressionRequest,
    GetRegressionRequest,
    GiveRegressionFeedbackRequest,
    IgnoreRegressionRequest,
    Regression,
    ReopenRegressionRequest,
    Resolution,
    ResolveRegressionRequest,
)

_comment = click.option("--comment", default="", metavar="TEXT", help="What to remember.")
_reason = click.option("--comment", required=True, metavar="TEXT", help="Why; required.")
_which = options(click.argument("regressions", type=REGRESSION, nargs=-1, required=True))
_ANSWERS = tuple(answer.replace("_", "-") for answer in words_of(Resolution))


@command(
    "ack",
    examples=(
        ("tbctl regression ack 7 --comment 'bisecting' --owner ann", "its alert ends, it stays open"),
        ("tbctl regression ack 7 8 9", "several at once"),
    ),
)
@_which
@_comment
@click.option("--owner", default="", metavar="NAME", help="Who looks after it. Default: you.")
def ack_command(context: CommandContext, regressions: Sequence[str], comment: str, owner: str) -> None:
    """Somebody has seen it: its alert ends, it stays open."""
    call, method = context.collector.call, context.collector.stubs.regressions.AcknowledgeRegression
    _change(
        context,
        regressions,
        lambda name: call(method, AcknowledgeRegressionRequest(name=name, comment=comment, owner=owner)),
    )


@command("assign", examples=(("tbctl regression assign 7 --owner ann", "ann looks after it; its alert ends"),))
@_which
@click.option("--owner", required=True, metavar="NAME", help="Who is to look after it.")
@_comment
def assign_command(context: CommandContext, regressions: Sequence[str], owner: str, comment: str) -> None:
    """Say who looks after it: its alert ends, it stays open."""
    call, method = context.collector.call, context.collector.stubs.regressions.AssignRegression
    _change(
        context,
        regressions,
        lambda name: call(method, AssignRegressionRequest(name=name, comment=comment, owner=owner)),
    )


@command(
    "ignore",
    examples=(
        ("tbctl regression ignore 7 --comment 'benchmark will be removed'", "for good"),
        ("tbctl regression ignore 7 --until 14d --comment 'after the release'", "it wakes in two weeks"),
    ),
)
@_which
@_reason
@click.option("--until", type=MOMENT, metavar="TIME", help="14d, or 2030-01-31T18:00:00Z. Default: for good.")
def ignore_command(context: CommandContext, regressions: Sequence[str], comment: str, until: datetime | None) -> None:
    """It does not matter, for good or for a while: its alert ends, it is closed."""
    call, method = context.collector.call, context.collector.stubs.regressions.IgnoreRegression

    def ignore(name: str) -> Regression:
        request = IgnoreRegressionRequest(name=name, comment=comment)
        if until is not None:
            request.until.FromDatetime(until)
        return call(method, request)

    _change(context, regressions, ignore)


@command(
    "resolve",
    examples=(
        ("tbctl regression resolve 7 --comment 'fixed in abc1234'", "later runs verify it"),
        ("tbctl regression resolve 7 --as false-positive", "there is nothing; counted in the detector's score"),
        ("tbctl regression resolve 7 --as infrastructure --comment 'fan of node-3'", "a machine was at fault"),
        ("tbctl regression resolve 8 9 --as duplicate --of 7", "the same as 7"),
    ),
)
@_which
@click.option("--as", "answer", type=click.Choice(_ANSWERS), default="fixed", show_default=True, help="What it was.")
@click.option("--of", "original", type=REGRESSION, metavar="REGRESSION", help="The other one, of a duplicate.")
@_comment
def resolve_command(
    context: CommandContext, regressions: Sequence[str], answer: str, original: str | None, comment: str
) -> None:
    """Say what it was: its alert ends; what is fixed waits for later runs to verify it."""
    if (answer == "duplicate") != (original is not None):
        raise UsageProblem("a duplicate needs the other one, and nothing else does: --as duplicate --of REGRESSION")
    call, method = context.collector.call, context.collector.stubs.regressions.ResolveRegression
    resolution = Resolution.ValueType(number_of(Resolution, answer.replace("-", "_")))
    _change(
        context,
        regressions,
        lambda name: call(
            method,
            ResolveRegressionRequest(name=name, comment=comment, resolution=resolution, duplicate_of=original or ""),
        ),
    )


@command(
    "accept",
    examples=(("tbctl regression accept 7 --comment 'the safer algorithm'", "the new level is the normal one"),),
)
@_which
@_reason
def accept_command(context: CommandContext, regressions: Sequence[str], comment: str) -> None:
    """The new level is wanted: runs at it pass, and histories begin anew there."""
    call, method = context.collector.call, context.collector.stubs.regressions.AcceptRegression
    _change(context, regressions, lambda name: call(method, AcceptRegressionRequest(name=name, comment=comment)))


@command("reopen", examples=(("tbctl regression reopen 7 --comment 'still slow'", "it is open again"),))
@_which
@_comment
def reopen_command(context: CommandContext, regressions: Sequence[str], comment: str) -> None:
    """It is open again after all."""
    call, method = context.collector.call, context.collector.stubs.regressions.ReopenRegression
    _change(context, regressions, lambda name: call(method, ReopenRegressionRequest(name=name, comment=comment)))


@command("comment", examples=(("tbctl regression comment 7 'seen on the B200 too'", "written into its history"),))
@click.argument("regression", type=REGRESSION)
@click.argument("text")
def comment_command(context: CommandContext, regression: str, text: str) -> None:
    """Write something into its history; nothing else changes."""
    call, method = context.collector.call, context.collector.stubs.regressions.CommentRegression
    _change(context, [regression], lambda name: call(method, CommentRegressionRequest(name=name, comment=text)))


@command(
    "feedback",
    examples=(
        ("tbctl regression feedback 7 true", "the detector was right"),
        ("tbctl regression feedback 7 false --comment 'noise of a shared host'", "it was wrong"),
    ),
)
@_which
@click.argument("verdict", type=click.Choice(("true", "false")))
@_comment
def feedback_command(context: CommandContext, regressions: Sequence[str], verdict: str, comment: str) -> None:
    """Say whether the detector was right; `tbctl regression score` counts it."""
    call, method = context.collector.call, context.collector.stubs.regressions.GiveRegressionFeedback
    right = verdict == "true"
    _change(
        context,
        regressions,
        lambda name: call(method, GiveRegressionFeedbackRequest(name=name, right=right, comment=comment)),
    )


def _change(context: CommandContext, names: Sequence[str], call: Callable[[str], Regression]) -> None:
    """Change each and say what changed; one that cannot be changed keeps no other one from it, and ends the command."""
    changed: list[tuple[Regression, Regression]] = []
    refused: list[CliError] = []
    for name in dict.fromkeys(names):
        try:
            before = context.collector.call(
                context.collector.stubs.regressions.GetRegression, GetRegressionRequest(name=name)
            )
            changed.append((before, call(name)))
        except CliError as error:
            refused.append(error)
    columns = regression_columns(datetime.now(UTC))
    if len(names) == 1 and changed:
        ((before, after),) = changed
        context.printer.message("Regression", after, columns, text=_sentence(before, after))
    elif changed and context.printer.for_people:
        context.printer.write("\n".join(_sentence(before, after) for before, after in changed))
    elif changed:
        context.printer.message_list("Regression", [after for _, after in changed], columns, nothing="")
    for further in refused[1:]:
        context.printer.warn(further.sentence)
    if refused:
        raise refused[0]


def _sentence(before: Regression, after: Regression) -> str:
    """What changed, what followed from it, and what happens now by itself."""
    old, new = state_of(before), state_of(after)
    parts = [f"{old} -> {new}" if old != new else f"stays {new}"]
    if before.owner != after.owner:
        parts.append(f"owner {after.owner or 'nobody'}")
    if after.HasField("feedback") and (not before.HasField("feedback") or before.feedback != after.feedback):
        parts.append("the detector was right" if after.feedback else "the detector was wrong")
    # The first new event is the answer itself.
    followed = [event.comment for event in after.events[len(before.events) + 1 :] if event.comment]
    waits = [step.what for step in after.next_steps if not step.command and old != new]
    sentence = f"regression {short_id(after.name)} ({about(after)}): {', '.join(parts)}"
    return "\n  ".join(map(clean, (sentence, *followed, *waits)))
