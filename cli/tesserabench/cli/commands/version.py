"""`tbctl version`."""

from importlib import metadata
from typing import TYPE_CHECKING, Any

import click
from tesserabench.cli.context import CommandContext
from tesserabench.cli.grammar import command

if TYPE_CHECKING:
    from collections.abc import Mapping


def client_version() -> str:
    """The version of this tbctl; `unknown` when it runs from a tree that was never installed."""
    try:
        return metadata.version("tesserabench")
    except metadata.PackageNotFoundError:
        return "unknown"


@command(
    "version",
    examples=(
        ("tbctl version", "both versions"),
        ("tbctl version --client -o json", "tbctl's alone, without asking a collector"),
    ),
)
@click.option("--client", is_flag=True, help="Do not ask the collector.")
def version_command(context: CommandContext, client: bool) -> None:  # noqa: FBT001 - click passes by name
    """Show the versions of tbctl and of the collector."""
    versions: dict[str, Any] = {"client": client_version()}
    if not client:
        from tesserabench.v1.system_service_pb2 import GetServerInfoRequest  # noqa: PLC0415 - --client needs no contract

        info = context.collector.call(context.collector.stubs.system.GetServerInfo, GetServerInfoRequest())
        versions["server"] = info.version
        versions["schema_versions"] = list(info.schema_versions)
        versions["database_revision"] = info.database_revision
    _show(context, versions)


def _show(context: CommandContext, versions: "Mapping[str, Any]") -> None:
    from tesserabench.cli.output.table import Column  # noqa: PLC0415 - see above

    columns = [
        Column[Any](title="CLIENT", value=lambda item: item["client"]),
        Column[Any](title="SERVER", value=lambda item: item.get("server")),
    ]
    labels = {
        "client": "tbctl",
        "server": "collector",
        "schema_versions": "record schemas",
        "database_revision": "database",
    }
    pairs = [
        (labels[key], ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for key, value in versions.items()
        if value
    ]
    context.printer.thing("Version", versions, columns, body=dict, text=context.printer.details(pairs))
