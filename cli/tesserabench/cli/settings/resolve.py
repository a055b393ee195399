"""Settings put together from their layers, each value with its origin.

The order: flag, environment, project file, context of the user file, defaults of the user file, built-in. A context
that was chosen by `--context` or TBCTL_CONTEXT counts as typed: its values stand above the project file's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tesserabench.cli.errors import SettingsError, UsageProblem
from tesserabench.cli.exit_codes import ExitMode
from tesserabench.cli.settings.files import (
    UserFile,
    find_project_file,
    read_project_file,
    read_user_file,
    user_file_path,
)
from tesserabench.cli.settings.schema import BY_KEY, SETTINGS, Value, near, read_token

BUILT_IN = "built-in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Settings from one place. `label` names it to people; `kind` to programs."""

    kind: str
    label: str
    values: Mapping[str, Value]
    labels: Mapping[str, str]

    def origin(self, key: str) -> str:
        """Where the value of `key` stands."""
        return self.labels.get(key, self.label)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting with its value and origin."""

    server: str
    project: str
    output: str
    timeout_seconds: float
    request_timeout_seconds: float
    retries: int
    ca_file: str | None
    cert_file: str | None
    key_file: str | None
    insecure: bool
    insecure_skip_verify: bool
    exit_mode: ExitMode
    wait: bool
    fail_on: str | None
    suite: str | None
    base: str | None
    no_color: bool
    token: str | None
    context: str | None
    origins: Mapping[str, str]
    values: Mapping[str, Value]
    notes: tuple[str, ...]


def resolve(*, flags: Mapping[str, str], environment: Mapping[str, str], folder: Path) -> Settings:
    """The settings for a command that was called in `folder`.

    `flags` holds the texts of the flags that were given, by key, and `context` and `config` when given.

    Raises:
        SettingsError: a layer holds something that cannot be right.
    """
    user = _user_file(flags, environment)
    layers = [_flag_layer(flags), _environment_layer(environment)]
    chosen, typed = _chosen_context(flags, environment, user)
    context = _context_layer(user, chosen)
    project_path = find_project_file(folder)
    project = _project_layer(project_path) if project_path else None
    layers += [layer for layer in ((context, project) if typed else (project, context)) if layer]
    layers += [
        Layer(kind="user", label=f"defaults in {user.path}", values=user.defaults, labels={}),
        Layer(kind=BUILT_IN, label=BUILT_IN, values={setting.key: setting.default for setting in SETTINGS}, labels={}),
    ]
    return _merge(layers, context=chosen or None)


def _user_file(flags: Mapping[str, str], environment: Mapping[str, str]) -> UserFile:
    given = flags.get("config") or environment.get("TBCTL_CONFIG") or ""
    if not given:
        return read_user_file(user_file_path(environment))
    path = Path(given).expanduser()
    if not path.is_file():
        origin = "--config" if flags.get("config") else "TBCTL_CONFIG"
        raise SettingsError(f"{origin}: {given!r} is no file; give the path of an existing settings file")
    return read_user_file(path)


def _flag_layer(flags: Mapping[str, str]) -> Layer:
    values: dict[str, Value] = {}
    for key, text in flags.items():
        if key in BY_KEY:
            values[key] = _read(key, text, place=f"--{key}")
    return Layer(kind="flag", label="flag", values=values, labels={key: f"flag --{key}" for key in values})


def _environment_layer(environment: Mapping[str, str]) -> Layer:
    values: dict[str, Value] = {}
    for setting in SETTINGS:
        # CI systems export empty variables for what is not set.
        if text := environment.get(setting.variable, ""):
            values[setting.key] = _read(setting.key, text, place=setting.variable)
    labels = {key: f"environment {BY_KEY[key].variable}" for key in values}
    if environment.get("NO_COLOR"):
        values["no-color"] = True
        labels["no-color"] = "environment NO_COLOR"
    return Layer(kind="environment", label="environment", values=values, labels=labels)


def _read(key: str, text: str, *, place: str) -> Value:
    try:
        return BY_KEY[key].read(text)
    except UsageProblem as problem:
        raise SettingsError(f"{place}: {problem.sentence}") from None


def _chosen_context(flags: Mapping[str, str], environment: Mapping[str, str], user: UserFile) -> tuple[str, bool]:
    for origin, name in (("--context", flags.get("context")), ("TBCTL_CONTEXT", environment.get("TBCTL_CONTEXT"))):
        if name:
            _require_context(user, name, origin=origin)
            return name, True
    if user.current_context:
        _require_context(user, user.current_context, origin=f"{user.path}: current-context")
    return user.current_context, False


def _require_context(user: UserFile, name: str, *, origin: str) -> None:
    if name in user.contexts:
        return
    names = sorted(user.contexts)
    known = f"known: {', '.join(names)}" if names else "there are none yet"
    remedy = f"create it with: tbctl config set-context {name} --server ADDRESS"
    raise SettingsError(f"{origin}: no context {name!r} in {user.path}{near(name, names)}; {known}; {remedy}")


def _context_layer(user: UserFile, name: str) -> Layer | None:
    if not name:
        return None
    return Layer(kind="context", label=f"context {name} in {user.path}", values=user.contexts[name], labels={})


def _project_layer(path: Path) -> Layer:
    return Layer(kind="project", label=str(path), values=read_project_file(path), labels={})


def _merge(layers: list[Layer], *, context: str | None) -> Settings:
    values: dict[str, Value] = {}
    origins: dict[str, str] = {}
    kinds: dict[str, str] = {}
    for layer in reversed(layers):
        for key, value in layer.values.items():
            values[key], origins[key], kinds[key] = value, layer.origin(key), layer.kind
    notes = _drop_foreign_token(layers, values, origins, kinds)
    token = _token(layers, values, origins)
    return Settings(
        server=_text(values["server"]),
        project=_text(values["project"]),
        output=_text(values["output"]),
        timeout_seconds=_number(values["timeout"]),
        request_timeout_seconds=_number(values["request-timeout"]),
        retries=int(_number(values["retries"])),
        ca_file=_optional(values["ca-file"]),
        cert_file=_optional(values["cert"]),
        key_file=_optional(values["key"]),
        insecure=bool(values["insecure"]),
        insecure_skip_verify=bool(values["insecure-skip-verify"]),
        exit_mode=ExitMode(_text(values["exit-mode"])),
        wait=bool(values["wait"]),
        fail_on=_optional(values["fail-on"]),
        suite=_optional(values["suite"]),
        base=_optional(values["base"]),
        no_color=bool(values["no-color"]),
        token=token,
        context=context,
        origins=origins,
        values=values,
        notes=notes,
    )


def _drop_foreign_token(
    layers: list[Layer], values: dict[str, Value], origins: dict[str, str], kinds: dict[str, str]
) -> tuple[str, ...]:
    """A context's token goes to the context's own server: a checked-out project file must not lead it elsewhere."""
    keys = [key for key in ("token", "token-file") if kinds[key] == "context"]
    own = next((layer.values.get("server") for layer in layers if layer.kind == "context"), None)
    if not keys or kinds["server"] != "project" or values["server"] == own:
        return ()
    for key in keys:
        values[key], origins[key] = None, BUILT_IN
    note = (
        f"the server {values['server']} comes from {origins['server']}, so the context's token is not sent to it; "
        "to send one, set TBCTL_TOKEN or TBCTL_TOKEN_FILE, or name the context with --context"
    )
    return (note,)


def _token(layers: list[Layer], values: Mapping[str, Value], origins: Mapping[str, str]) -> str | None:
    for layer in layers:
        if layer.values.get("token") and values["token"] is not None:
            return _text(values["token"])
        if layer.values.get("token-file") and values["token-file"] is not None:
            return _token_from(Path(_text(values["token-file"])), origins["token-file"])
    return None


def _token_from(path: Path, origin: str) -> str:
    try:
        return read_token(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"{origin}: token file {path} cannot be read ({reason}); check the path") from error
    except UsageProblem as problem:
        raise SettingsError(f"{origin}: token file {path}: {problem.sentence}") from None


def _text(value: Value) -> str:
    assert isinstance(value, str)
    return value


def _optional(value: Value) -> str | None:
    return None if value is None else str(value)


def _number(value: Value) -> float:
    assert isinstance(value, int | float)
    return float(value)
