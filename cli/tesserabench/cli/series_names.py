"""Completion of names of benchmarks and cases that have a history: asked from the collector, and never in the way."""

import click
from click.shell_completion import CompletionItem
from tesserabench.cli.context import CommandContext

_PATIENCE_SECONDS = 1.5
_MOST = 1000


def complete_series(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Benchmarks that were measured; once one is typed whole, its cases. Nothing where no collector answers."""
    del parameter
    from tesserabench.cli.errors import CliError  # noqa: PLC0415 - completion must be quick where it gives nothing

    keeper = context.find_object(CommandContext) or CommandContext()
    try:
        names = _names(keeper)
    except CliError:
        # Completion answers with nothing rather than with an error in the middle of somebody's line.
        return []
    finally:
        keeper.close()
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _names(keeper: CommandContext) -> list[str]:
    from tesserabench.v1.history_service_pb2 import ListSeriesRequest  # noqa: PLC0415 - slow to import

    collector = keeper.collector
    collector.request_timeout_seconds, collector.retries = _PATIENCE_SECONDS, 0
    request = ListSeriesRequest(project=keeper.settings.project, page_size=_MOST)
    found = collector.call(collector.stubs.histories.ListSeries, request).series
    return [*sorted({series.benchmark for series in found}), *sorted({series.case_id for series in found})]
