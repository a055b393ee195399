"""Finding, reading and writing the settings files.

The project file `tessera.yaml` holds settings at its top level. The user file holds

    current-context: lab
    contexts:
      lab: {server: "https://bench.example.org:7710", project: kernels, token-file: lab.token}
    defaults: {output: wide}
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tesserabench.cli.errors import SettingsError, UsageProblem
from tesserabench.cli.settings.schema import BY_KEY, SETTINGS, Setting, Value, near

PROJECT_FILE = "tessera.yaml"
_USER_KEYS = ("current-context", "contexts", "defaults")
_LARGEST_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFile:
    """What the user file says; every value is checked already."""

    path: Path
    current_context: str = ""
    contexts: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    defaults: Mapping[str, Value] = field(default_factory=dict)


def user_file_path(environment: Mapping[str, str]) -> Path:
    """Where the user file stands: `$XDG_CONFIG_HOME/tesserabench/tbctl.yaml`, by default below `~/.config`."""
    base = environment.get("XDG_CONFIG_HOME", "")
    # The specification says that a relative path there is to be ignored.
    folder = Path(base) if Path(base).is_absolute() else Path(environment.get("HOME") or "~").expanduser() / ".config"
    return folder / "tesserabench" / "tbctl.yaml"


def find_project_file(start: Path) -> Path | None:
    """The nearest `tessera.yaml` from `start` upward, no further than the root of the git working tree."""
    for folder in (start, *start.parents):
        candidate = folder / PROJECT_FILE
        if candidate.is_file():
            return candidate
        if (folder / ".git").exists():
            return None
    return None


def read_project_file(path: Path) -> dict[str, Value]:
    """The settings in a project file.

    Raises:
        SettingsError: naming the file, the key, the value and the remedy.
    """
    allowed = [setting for setting in SETTINGS if setting.in_project_file]
    return _section(_load(path), path=path, where="", allowed=allowed)


def read_user_file(path: Path) -> UserFile:
    """The user file; an absent one is empty.

    Raises:
        SettingsError: naming the file, the key, the value and the remedy.
    """
    if not path.exists():
        return UserFile(path=path)
    content = _load(path)
    for key in content:
        if key not in _USER_KEYS:
            hint = near(key, list(_USER_KEYS))
            remedy = f"put settings below 'defaults' or into a context; allowed here: {', '.join(_USER_KEYS)}"
            raise SettingsError(f"{path}: unknown key {key!r}{hint}; {remedy}")
    current = content.get("current-context") or ""
    if not isinstance(current, str):
        raise SettingsError(f"{path}: current-context is {current!r}; give the name of one of the contexts")
    in_context = [setting for setting in SETTINGS if setting.in_context]
    contexts = {
        str(name): _section(section, path=path, where=f"contexts.{name}.", allowed=in_context)
        for name, section in _mapping(content.get("contexts"), path=path, key="contexts").items()
    }
    in_defaults = [setting for setting in SETTINGS if not setting.key.startswith("token")]
    defaults = _section(content.get("defaults"), path=path, where="defaults.", allowed=in_defaults)
    return UserFile(path=path, current_context=current, contexts=contexts, defaults=defaults)


def write_user_file(path: Path, content: Mapping[str, object]) -> None:
    """Replace the user file in one step, readable by its owner alone.

    Raises:
        SettingsError: the file cannot be written.
    """
    import yaml  # noqa: PLC0415 - slow to import, and many commands never need it

    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            yaml.safe_dump(dict(content), stream, sort_keys=False, allow_unicode=True)
        temporary.replace(path)
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be written ({error.strerror}); check the folder's owner and space"
        ) from error


def raw_user_file(path: Path) -> dict[str, object]:
    """The user file as it is written, checked, for changing it; empty when absent."""
    if not path.exists():
        return {}
    read_user_file(path)
    return _load(path)


def _load(path: Path) -> dict[str, object]:
    import yaml  # noqa: PLC0415 - slow to import, and needed only when there is a file

    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise SettingsError(f"{path}: larger than 1 MiB; this is no settings file")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise SettingsError(f"{path}: no valid YAML{place}: {problem}; correct that line") from error
    if content is None:
        return {}
    return _mapping(content, path=path, key="the file")


def _mapping(content: object, *, path: Path, key: str) -> dict[str, object]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: {key} is {content!r}; write 'key: value' lines there")
    return {str(name): value for name, value in content.items()}


def _section(content: object, *, path: Path, where: str, allowed: list[Setting]) -> dict[str, Value]:
    section = _mapping(content, path=path, key=where.rstrip(".") or "the file")
    names = [setting.key for setting in allowed]
    values: dict[str, Value] = {}
    for key, value in section.items():
        if key not in names:
            raise SettingsError(_unknown(path, where, key, names))
        values[key] = read_value(BY_KEY[key], value, place=f"{path}: {where}{key}", folder=path.parent)
    return values


def _unknown(path: Path, where: str, key: str, names: list[str]) -> str:
    if key in BY_KEY:
        return (
            f"{path}: {where}{key} may not stand here; set {BY_KEY[key].variable} or a context of the user file instead"
        )
    return f"{path}: unknown key {where}{key!s}{near(key, names)}; allowed here: {', '.join(names)}"


def read_value(setting: Setting, value: object, *, place: str, folder: Path) -> Value:
    """A value of a settings file, checked.

    Raises:
        SettingsError: naming `place`, the value and the remedy.
    """
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str | int | float):
        text = str(value)
    else:
        raise SettingsError(
            f"{place}: {'it' if setting.secret else repr(value)} is no plain value; write one text or number"
        )
    try:
        read = setting.read(text)
    except UsageProblem as problem:
        raise SettingsError(f"{place}: {problem.sentence}") from None
    if setting.is_path and isinstance(read, str):
        return str(folder / read)
    return read
