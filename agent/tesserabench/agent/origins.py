"""Loading the settings, and where each of them came from."""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError as SourceError
from tesserabench.agent.errors import SettingsError
from tesserabench.agent.settings import ENV_PREFIX, NESTED_DELIMITER, Settings, toml_file

CONFIG_VARIABLE = f"{ENV_PREFIX}CONFIG"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One effective setting; secrets are masked."""

    key: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The settings and how they came about."""

    settings: Settings
    path: Path | None
    effective: tuple[Setting, ...]


def default_path() -> Path | None:
    """The settings file that is read when none is named: the user's, else the machine's, if there is one."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    candidates = [Path("/etc/tesserabench/agent.toml")]
    if os.geteuid() != 0:
        candidates.insert(0, home / "tesserabench" / "agent.toml")
    return next((path for path in candidates if path.is_file()), None)


def load_settings(path: Path | None = None, flags: Mapping[str, Any] | None = None) -> Loaded:
    """The settings from the file at `path` (or the default one), the environment and `flags`.

    Raises:
        SettingsError: one line for each mistake, with file or variable, key, value and remedy.
    """
    named = path or (Path(value) if (value := os.environ.get(CONFIG_VARIABLE)) else None)
    if named is not None and not named.is_file():
        raise SettingsError(f"settings file {named} does not exist; name an existing one with --config")
    file = named or default_path()
    given = dict(flags or {})
    in_file = _read_toml(file) if file else {}
    _refuse_unknown_variables()
    reset = toml_file.set(file)
    try:
        settings = Settings(**given)
    except ValidationError as error:
        lines = (_explain(item, file, given, in_file) for item in error.errors())
        raise SettingsError("\n".join(dict.fromkeys(lines))) from None
    except SourceError as error:
        raise SettingsError(f"settings in the environment cannot be read: {error}; write plain values") from None
    finally:
        toml_file.reset(reset)
    effective = tuple(_effective(settings, file, given, in_file))
    return Loaded(settings=settings, path=file, effective=effective)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"settings file {path} cannot be read: {error.strerror}; check its owner and mode"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path} is no TOML: {error}; mend that place") from None


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def variable_of(key: str) -> str:
    """The variable that sets `key`."""
    return ENV_PREFIX + key.replace(".", NESTED_DELIMITER).upper()


def _refuse_unknown_variables() -> None:
    """A misspelt variable must not be ignored in silence."""
    known = {variable_of(key) for key in _keys(Settings)} | {CONFIG_VARIABLE}
    for name in os.environ:
        if name.startswith(ENV_PREFIX) and name.upper() not in known:
            raise SettingsError(f"variable {name}: there is no such setting{_near(name, known)}; correct or unset it")


def _near(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _look_up(tree: Mapping[str, Any], key: str) -> tuple[bool, Any]:
    value: Any = tree
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False, None
        value = value[part]
    return True, value


def _origin(key: str, file: Path | None, flags: Mapping[str, Any], in_file: Mapping[str, Any]) -> str:
    if _look_up(flags, key)[0]:
        return "flag"
    if os.environ.get(variable_of(key)):
        return f"variable {variable_of(key)}"
    if _look_up(in_file, key)[0]:
        return f"file {file}"
    return "default"


def _explain(item: ErrorDetails, file: Path | None, flags: Mapping[str, Any], in_file: Mapping[str, Any]) -> str:
    known = set(_keys(Settings))
    places = [str(part) for part in item["loc"]]
    # A location may go deeper than a key (into a list or a table of labels); the key is what people wrote.
    key = next((".".join(places[:end]) for end in range(len(places), 0, -1) if ".".join(places[:end]) in known), None)
    if item["type"] == "extra_forbidden":
        key = ".".join(places)
        return (
            f"{_origin(key, file, flags, in_file)}: key {key}: there is no such setting{_near(key, known)}; remove it"
        )
    key = key or ".".join(places)
    text = item["msg"].removeprefix("Value error, ")
    if not key:
        return f"settings: {text}"
    value = "(hidden)" if key == "token" else repr(item["input"])
    return f"{_origin(key, file, flags, in_file)}: key {key} is {value}: {text[:1].lower()}{text[1:]}"


def _effective(
    settings: Settings, file: Path | None, flags: Mapping[str, Any], in_file: Mapping[str, Any]
) -> Iterator[Setting]:
    for key in _keys(Settings):
        value: Any = settings
        for part in key.split("."):
            value = getattr(value, part)
        yield Setting(key=key, value=_show(value), origin=_origin(key, file, flags, in_file))


def _show(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return "(hidden)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ",".join(f"{name}={item}" for name, item in value.items())
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
