"""The pages of docs/ that are written from the code: `python -m support.reference_pages` (make docs) writes them."""

import ast
import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from support.verdict_pictures import pictures
from tesserabench.analysis.rules import written
from tesserabench.analysis.rules.rule import Rule
from tesserabench.analysis.rules.schema import MATCH_HELP
from tesserabench.analysis.rules.settings import SETTINGS
from tesserabench.bench import INSTALLED, METRICS, Benchmark, DeviceKind, Params, Tier
from tesserabench.bench import metric as metric_module
from tesserabench.cli.explanations import OUTCOMES
from tesserabench.cli.measuring_words import KINDS, Words

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
_TITLES = {
    "outcome": "Outcomes",
    "flag": "Flags",
    "stop reason": "Stop reasons",
    "mode": "Modes",
    "back end": "Back ends",
    "cache": "Caches",
    "throttle class": "Throttle classes",
    "flag of a sample": "Flags of a sample",
}
_METRICS_HEAD = """\
# Metrics

What a measurement may tell. Units are SI; *primary* metrics decide a verdict, *secondary* ones explain it. A metric
that cannot be known is absent, never 0. Benchmarks may add metrics of their own.

"""
_SUITES_HEAD = """\
# Suites

What is installed, by suite. Cases are counted for the tiers smoke, regression, full and nightly. Formulas are shown for
the first case of the smallest tier: operations, compulsory bytes (each input once, each output once) and items of one
launch. `tbctl bench list` prints what your installation has.
"""
_POLICY_HEAD = """\
# Policy files

Every key of a policy file. [The guide](../guide/policies.md) explains how rules are read; `tbctl policy explain` tells
what holds for a series, and `tbctl policy schema` prints the same for an editor.

A file begins with `apiVersion: tesserabench/v1` and `kind: Policy`. `project` names the project that it is for; it can
be applied to no other then. `defaults` and each of the `rules` hold settings; a rule has a `name` and a `match` too.

Sizes are written `2 %` or `0.02`, durations `90s`, `20m`, `1h30m`, `3d` or `2w`, days `2030-01-31`.

"""
_BEGIN, _END = "<!-- words: written by `make docs` -->", "<!-- end of words -->"


def pages() -> dict[Path, str]:
    """Every page that is written from the code, as it should be."""
    measuring = DOCS / "guide" / "measuring.md"
    return {
        measuring: with_words(measuring.read_text(encoding="utf-8")),
        DOCS / "reference" / "metrics.md": metrics_page(),
        DOCS / "reference" / "policy.md": policy_page(),
        DOCS / "reference" / "suites.md": suites_page(),
    }


def with_words(text: str) -> str:
    """The guide with its tables of words."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n\n{words_tables()}\n{_END}{after}"


def words_tables() -> str:
    """A table for every kind of word that a result may carry."""
    kinds: Mapping[str, Words] = {"outcome": OUTCOMES, **KINDS}
    parts: list[str] = []
    for kind, title in _TITLES.items():
        rows = [(f"`{word}`", meaning, remedy) for word, (meaning, remedy) in kinds[kind].items()]
        parts.append(f"### {title}\n\n{_table(('word', 'meaning', 'what to do'), rows)}")
    return "\n".join(parts)


def metrics_page() -> str:
    """The reference of metrics, with the sentences that stand beside their definitions."""
    said = _sentences()
    rows = [
        (
            f"`{item.name}`",
            item.unit,
            f"{item.better.value} is better",
            "primary" if item.primary else "secondary",
            said[item.name],
        )
        for item in METRICS
    ]
    return f"{_METRICS_HEAD}{_table(('metric', 'unit', 'direction', 'kind', 'meaning'), rows)}"


def _sentences() -> dict[str, str]:
    """The text that stands below each metric's definition."""
    body = ast.parse(inspect.getsource(metric_module)).body
    found: dict[str, str] = {}
    for definition, text in itertools.pairwise(body):
        match definition, text:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(said))):
                value = getattr(metric_module, name)
                if value in METRICS:
                    found[value.name] = " ".join(said.split())
    return found


def policy_page() -> str:
    """The reference of policy files: what a rule can ask for, and what it can say."""
    asks = [(f"`{key}`", text) for key, text in MATCH_HELP.items()]
    built_in = Rule()
    says = [
        (
            f"`{setting.key}`",
            setting.help + (" Chosen by suite and branch alone." if setting.whole_run else ""),
            written(setting.key, getattr(built_in, setting.field)),
            f"`{setting.example}`",
        )
        for setting in SETTINGS
    ]
    return (
        f"{_POLICY_HEAD}## What a rule asks for (`match`)\n\n"
        "All of it must be so; what is left out does not matter; what is not known matches nothing. `*` stands for any "
        "characters, `?` for one; a list gives alternatives, `!` in front makes an exception, and brackets mean "
        "themselves.\n\n"
        f"{_table(('key', 'meaning'), asks)}\n## What a rule says\n\n"
        f"{_table(('key', 'meaning', 'built in', 'example'), says)}"
    )


def suites_page() -> str:
    """The reference of suites: what they measure, where, and how many cases they have."""
    parts = [_SUITES_HEAD]
    for suite in INSTALLED.suites():
        parts.append(f"## {suite.name}\n\n{suite.summary[:1].upper()}{suite.summary[1:]}.\n")
        own = [item for item in suite.benchmarks if item.suite == suite.name]
        borrowed = [item.name for item in suite.benchmarks if item.suite != suite.name]
        if borrowed:
            parts.append(f"Benchmarks of other suites: {', '.join(f'`{name}`' for name in borrowed)}.\n")
        if own:
            rows = [row for item in own for row in _benchmark_rows(item)]
            titles = ("benchmark", "what", "device", "mode", "cases", "first case", "formulas of it")
            parts.append(_table(titles, rows))
    return "\n".join(parts)


def _benchmark_rows(benchmark: Benchmark) -> Iterable[tuple[str, ...]]:
    for place, kind in enumerate(kind for kind in benchmark.devices if kind is not DeviceKind.SIMULATED):
        tier = next((tier for tier in Tier if benchmark.in_tier(tier, kind)), None)
        if tier is None:
            continue
        case = benchmark.cases(tier, kind)[0]
        counts = [len(benchmark.cases(item, kind)) if benchmark.in_tier(item, kind) else 0 for item in Tier]
        inner = case.id.removeprefix(benchmark.name).strip("[]")
        yield (
            f"`{benchmark.short_name}`" if place == 0 else "",
            benchmark.summary if place == 0 else "",
            kind.value,
            benchmark.default_mode(kind).value,
            " / ".join(map(str, counts)),
            f"`{inner}`" if inner else "-",
            _formulas(benchmark, case.params),
        )


def _formulas(benchmark: Benchmark, params: Params) -> str:
    counts: Sequence[tuple[str, Callable[[Params], int] | None]] = (
        ("FLOP", benchmark.flops),
        ("B", benchmark.bytes),
        ("items", benchmark.items),
    )
    return ", ".join(f"{count(params):.4g} {unit}" for unit, count in counts if count is not None) or "-"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> int:
    """Write the pages and the pictures of verdicts."""
    for path, text in (*pages().items(), *pictures()):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(REPOSITORY)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
