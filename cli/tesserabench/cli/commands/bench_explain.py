"""`tbctl bench explain`: the words of a result."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import click
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import UsageProblem
from tesserabench.cli.explanations import OUTCOMES
from tesserabench.cli.grammar import command
from tesserabench.cli.measuring_words import KINDS
from tesserabench.cli.output.table import Column
from tesserabench.cli.settings.schema import near
from tesserabench.cli.suite_names import complete_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word of a result, what it means, and what to do."""

    word: str
    kind: str
    meaning: str
    remedy: str


COLUMNS: Sequence[Column[Word]] = (
    Column(title="WORD", value=lambda item: item.word),
    Column(title="KIND", value=lambda item: item.kind),
    Column(title="MEANING", value=lambda item: item.meaning, shrink=True),
    Column(title="WHAT TO DO", field="remedy", value=lambda item: item.remedy, wide=True),
)


def words() -> list[Word]:
    """Every word that a local result may carry."""
    return [
        Word(word=word, kind=kind, meaning=meaning, remedy=remedy)
        for kind, table in {"outcome": OUTCOMES, **KINDS}.items()
        for word, (meaning, remedy) in table.items()
    ]


@command(
    "explain",
    examples=(
        ("tbctl bench explain", "every flag, outcome, stop reason, mode, back end and throttle class"),
        ("tbctl bench explain low_clock", "what a flag means, and what to do about it"),
        ("tbctl bench explain noise_floor", "why measuring stopped"),
    ),
)
@click.argument("word", required=False, shell_complete=complete_words)
def explain_command(context: CommandContext, word: str | None) -> None:
    """Explain a WORD of a result; all of them without WORD. A word may mean several things."""
    everything = words()
    if word is None:
        context.printer.items("Word", everything, COLUMNS, body=asdict, nothing="")
        return
    asked = word.strip().lower().replace("-", "_")
    found = [item for item in everything if item.word == asked]
    if not found:
        hint = near(asked, [item.word for item in everything])
        raise UsageProblem(f"{word!r} is no word of a result{hint}; tbctl bench explain lists them")
    if context.printer.for_people:
        context.printer.write("\n\n".join(f"{item.kind} {item.word}: {item.meaning}\n{item.remedy}" for item in found))
    else:
        context.printer.items("Word", found, COLUMNS, body=asdict, nothing="")
