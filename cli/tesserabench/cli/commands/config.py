"""`tbctl config view|validate|get-contexts|use-context|set-context`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import SettingsError, UsageProblem
from tesserabench.cli.grammar import command
from tesserabench.cli.output.table import Column
from tesserabench.cli.settings.files import (
    PROJECT_FILE,
    find_project_file,
    raw_user_file,
    read_project_file,
    read_user_file,
    read_value,
    user_file_path,
    write_user_file,
)
from tesserabench.cli.settings.schema import BY_KEY, SETTINGS, Value, near


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRow:
    """A setting in force."""

    key: str
    value: Value
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextRow:
    """A context of the user file."""

    name: str
    current: bool
    server: str
    project: str
    token: str


CONTEXT_COLUMNS: Sequence[Column[ContextRow]] = (
    Column(title="CURRENT", value=lambda row: row.current, text=lambda row: "*" if row.current else " "),
    Column(title="CONTEXT", value=lambda row: row.name),
    Column(title="SERVER", value=lambda row: row.server, shrink=True),
    Column(title="PROJECT", value=lambda row: row.project),
    Column(title="TOKEN", value=lambda row: row.token),
)


@command(
    "view",
    examples=(
        ("tbctl config view", "the settings in force"),
        ("tbctl config view --show-origin", "and where each of them comes from"),
    ),
)
@click.option("--show-origin", is_flag=True, help="Say where each value comes from.")
def view_command(context: CommandContext, show_origin: bool) -> None:  # noqa: FBT001 - click passes by name
    """Show the settings in force. Secrets are never shown."""
    settings = context.settings
    rows = [
        SettingRow(
            key=item.key, value=_shown(item.secret, settings.values[item.key]), origin=settings.origins[item.key]
        )
        for item in SETTINGS
    ]
    columns = [
        Column[SettingRow](title="SETTING", value=lambda row: row.key),
        Column[SettingRow](title="VALUE", value=lambda row: row.value),
    ]
    if show_origin or context.printer.output != "table":
        columns.append(Column[SettingRow](title="ORIGIN", value=lambda row: row.origin))
    body = {
        "context": settings.context,
        "settings": {row.key: {"value": row.value, "origin": row.origin} for row in rows},
    }
    if context.printer.output in {"json", "yaml"}:
        context.printer.thing("Settings", body, (), body=lambda item: item)
    else:
        # Origins are long paths; whoever asks for them wants them whole.
        widest = max(len(row.origin) + len(str(row.value)) for row in rows) + 30
        context.printer.write(_table(context, columns, rows, widest))
    for note in settings.notes:
        context.printer.warn(note)


def _table(
    context: CommandContext, columns: Sequence[Column[SettingRow]], rows: Sequence[SettingRow], width: int
) -> str:
    from tesserabench.cli.output.table import render_csv, render_table  # noqa: PLC0415 - for this table alone

    if context.printer.output == "csv":
        return render_csv(columns, rows)
    return render_table(columns, rows, wide=True, width=width, color=context.printer.color)


def _shown(secret: bool, value: Value) -> Value:  # noqa: FBT001 - private
    return "(set)" if secret and value else value


@command(
    "validate",
    examples=(
        ("tbctl config validate", "check the project file and the user file"),
        ("tbctl config validate tessera.yaml", "check one file"),
    ),
)
@click.argument("file", required=False, type=click.Path(dir_okay=False))
def validate_command(context: CommandContext, file: str | None) -> None:
    """Check settings files. A file is taken for a user file when it holds contexts, defaults or current-context."""
    paths = [Path(file)] if file else _files_in_use(context)
    for path in paths:
        if not path.is_file():
            raise UsageProblem(f"{str(path)!r} is no file; give the path of a settings file")
        _check(path)
    checked = [str(path) for path in paths]
    text = "\n".join(f"{path}: good" for path in checked) or "there is no settings file; the built-in settings hold"
    # The settings in force may be the broken ones, so that only the file that was named is read.
    click.echo(text)


def _files_in_use(context: CommandContext) -> list[Path]:
    user = _user_path(context)
    project = find_project_file(Path.cwd())
    return [path for path in (project, user if user.is_file() else None) if path]


def _check(path: Path) -> None:
    if path.name == PROJECT_FILE:
        read_project_file(path)
        return
    user = read_user_file(path)
    if user.current_context and user.current_context not in user.contexts:
        raise SettingsError(
            f"{path}: current-context is {user.current_context!r}, and there is no such context"
            f"{near(user.current_context, sorted(user.contexts))}; tbctl config use-context chooses another"
        )


@command("get-contexts", examples=(("tbctl config get-contexts", "the contexts, with a star at the current one"),))
def get_contexts_command(context: CommandContext) -> None:
    """List the contexts of the user file."""
    user = read_user_file(_user_path(context))
    rows = [
        ContextRow(
            name=name,
            current=name == user.current_context,
            server=str(values.get("server") or BY_KEY["server"].default),
            project=str(values.get("project") or BY_KEY["project"].default),
            token=_token_source(values),
        )
        for name, values in user.contexts.items()
    ]
    nothing = f"no contexts in {user.path}; create one with: tbctl config set-context NAME --server ADDRESS"
    context.printer.items("Context", rows, CONTEXT_COLUMNS, body=_context_body, nothing=nothing)


def _context_body(row: ContextRow) -> dict[str, Any]:
    return {"name": row.name, "current": row.current, "server": row.server, "project": row.project, "token": row.token}


def _token_source(values: Any) -> str:
    return "file" if values.get("token-file") else "set" if values.get("token") else "none"


@command("use-context", examples=(("tbctl config use-context lab", "use lab from now on"),))
@click.argument("name")
def use_context_command(context: CommandContext, name: str) -> None:
    """Choose the context to use from now on."""
    path = _user_path(context)
    user = read_user_file(path)
    if name not in user.contexts:
        known = f"known: {', '.join(sorted(user.contexts))}" if user.contexts else "there are none yet"
        raise UsageProblem(f"no context {name!r} in {path}{near(name, sorted(user.contexts))}; {known}")
    content = raw_user_file(path)
    content["current-context"] = name
    write_user_file(path, content)
    click.echo(f"context: {user.current_context or 'none'} -> {name}")


@command(
    "set-context",
    examples=(
        (
            "tbctl config set-context lab --server https://bench.example.org --project kernels --token-file lab.token",
            "create or change it; the first one becomes the current one",
        ),
    ),
)
@click.argument("name")
@click.option("--token-file", metavar="PATH", help="File that holds the token; relative to the user file.")
def set_context_command(context: CommandContext, name: str, token_file: str | None) -> None:
    """Create or change a context from --server, --project, --output, --token-file, --ca-file, --cert, --key.

    The file is written anew: comments in it are lost.
    """
    path = _user_path(context)
    allowed = {item.key for item in SETTINGS if item.in_context}
    values = {key: text for key, text in context.flags.items() if key in allowed}
    if token_file is not None:
        values["token-file"] = str(Path(token_file).expanduser())
    if not values:
        raise UsageProblem(
            "nothing to set; give --server, --project, --output, --token-file, --ca-file, --cert, --key or --insecure"
        )
    for key, text in values.items():
        read_value(BY_KEY[key], text, place=f"--{key}", folder=path.parent)
    content = raw_user_file(path)
    contexts = content.setdefault("contexts", {})
    assert isinstance(contexts, dict)
    created = name not in contexts
    written = {key: _plain(key, text) for key, text in values.items()}
    contexts[name] = {**(contexts.get(name) or {}), **written}
    content.setdefault("current-context", name)
    write_user_file(path, content)
    click.echo(f"context {name}: {'created' if created else 'changed'} ({', '.join(sorted(values))}) in {path}")


def _plain(key: str, text: str) -> str | bool:
    return text == "true" if isinstance(BY_KEY[key].default, bool) else text


def _user_path(context: CommandContext) -> Path:
    given = context.flags.get("config") or os.environ.get("TBCTL_CONFIG")
    return Path(given).expanduser() if given else user_file_path(os.environ)
