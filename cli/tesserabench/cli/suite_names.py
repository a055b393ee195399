"""Completion of what a shell is typing: suites, benchmarks, folders, and the words of measuring."""

from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem
from tesserabench.cli.measuring_words import KINDS

_MANIFEST = "tesserabench.toml"


def complete_suites(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Suites that are installed here, bundles beside, and folders."""
    del context, parameter
    if incomplete.startswith((".", "/", "~")):
        return [CompletionItem(incomplete, type="dir")]
    return [*_items(_installed(), incomplete), *_items(_bundles_here(), incomplete)]


def complete_benchmarks(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Benchmarks of the suite that was typed, as patterns that match them."""
    del parameter
    suite = str(context.params.get("suite") or "")
    return _items((name.rpartition("/")[2] for name in _benchmarks(suite)), incomplete)


def complete_words(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Words that can be explained."""
    del context, parameter
    return _items(dict.fromkeys(word for words in KINDS.values() for word in words), incomplete)


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _installed() -> list[str]:
    try:
        from tesserabench.bench import suites  # noqa: PLC0415 - slow to import, and may be missing
        from tesserabench.bench.bundle import installed_bundles  # noqa: PLC0415 - likewise
    except ImportError:
        return []
    return [*(suite.name for suite in suites()), *installed_bundles()]


def _bundles_here() -> list[str]:
    return [f"./{path.parent.name}" for path in sorted(Path().glob(f"*/{_MANIFEST}"))]


def _benchmarks(suite: str) -> list[str]:
    from tesserabench.cli.bench_library import find_suite, load_library  # noqa: PLC0415 - slow to import
    from tesserabench.cli.errors import CliError  # noqa: PLC0415 - with it

    try:
        library = load_library()
        found = find_suite(library, suite)
        return [item.name for item in found.registry.find_suite(found.name).benchmarks]
    except (CliError, LookupError, ValueError):
        return []
    except Exception as error:
        # Completion answers with nothing rather than with an error in the middle of somebody's line.
        if type(error).__module__.startswith("tesserabench.bench"):
            return []
        raise
