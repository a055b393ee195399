"""`tbctl explain CODE`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import click
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import UsageProblem
from tesserabench.cli.exit_codes import MEANINGS, ExitCode
from tesserabench.cli.explanations import OUTCOMES, REASONS
from tesserabench.cli.grammar import command
from tesserabench.cli.measuring_words import KINDS
from tesserabench.cli.output.table import Column
from tesserabench.cli.settings.schema import near


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A code or word, what it means, and what to do."""

    code: str
    kind: str
    meaning: str
    remedy: str


COLUMNS: Sequence[Column[Explanation]] = (
    Column(title="CODE", value=lambda item: item.code),
    Column(title="KIND", value=lambda item: item.kind),
    Column(title="MEANING", value=lambda item: item.meaning, shrink=True),
    Column(title="REMEDY", value=lambda item: item.remedy, wide=True),
)


def explanations() -> list[Explanation]:
    """Everything that can be explained: exit codes, reasons of errors, outcomes."""
    codes = [
        Explanation(
            code=str(int(code)),
            kind="exit code",
            meaning=MEANINGS[code].text,
            remedy=f"retry sensible: {MEANINGS[code].retry}",
        )
        for code in ExitCode
    ]
    reasons = [
        Explanation(code=str(word), kind="reason", meaning=text[0], remedy=text[1]) for word, text in REASONS.items()
    ]
    outcomes = [
        Explanation(code=word, kind="outcome", meaning=text[0], remedy=text[1]) for word, text in OUTCOMES.items()
    ]
    return [*codes, *reasons, *outcomes]


@command(
    "explain",
    examples=(
        ("tbctl explain", "every exit code, reason and outcome"),
        ("tbctl explain 14", "what exit status 14 means"),
        ("tbctl explain BASELINE_PINNED", "what an error's reason means, and what to do"),
        ("tbctl explain low_clock", "what a flag of a result means; tbctl bench explain lists those"),
    ),
)
@click.argument("code", required=False)
def explain_command(context: CommandContext, code: str | None) -> None:
    """Explain an exit code, the reason of an error, the outcome or a flag of a case; the first three without CODE."""
    everything = explanations()
    if code is None:
        context.printer.items("Explanation", everything, COLUMNS, body=asdict, nothing="")
        return
    everything += [
        Explanation(code=word, kind=kind, meaning=meaning, remedy=remedy)
        for kind, table in KINDS.items()
        for word, (meaning, remedy) in table.items()
    ]
    found = next((item for item in everything if item.code.lower() == code.strip().lower()), None)
    if found is None:
        hint = near(code.upper(), [item.code for item in everything]) or near(code, [item.code for item in everything])
        raise UsageProblem(f"{code!r} is no exit code, reason or outcome{hint}; tbctl explain lists them")
    text = f"{found.kind} {found.code}: {found.meaning}\n{found.remedy}"
    context.printer.thing("Explanation", found, COLUMNS, body=asdict, text=text)
