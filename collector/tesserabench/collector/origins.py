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
from tesserabench.collector.errors import SettingsError
from tesserabench.collector.settings import ENV_PREFIX, NESTED_DELIMITER, Settings, toml_file

CONFIG_VARIABLE = f"{ENV_PREFIX}CONFIG"
_HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One effective setting; secrets are masked."""

    key: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where settings come from, the first before the second before the third."""

    flags: Mapping[str, Any]
    path: Path | None
    in_file: Mapping[str, Any]

    def of(self, key: str) -> str:
        """What set a key, for people."""
        if key in self.flags:
            return "flag"
        parents = [key.rsplit(".", depth)[0] for depth in range(key.count(".") + 1)]
        for parent in parents:
            if os.environ.get(variable_of(parent)):
                return f"variable {variable_of(parent)}"
        if self.path is not None and _stands_in(self.in_file, key):
            return f"file {self.path}"
        return "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The settings and how they came about."""

    settings: Settings
    path: Path | None
    effective: tuple[Setting, ...]


def default_path() -> Path | None:
    """The settings file that is read when none is named: the user's, else the machine's, if there is one."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    candidates = [Path("/etc/tesserabench/collector.toml")]
    if os.geteuid() != 0:
        candidates.insert(0, home / "tesserabench" / "collector.toml")
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
    sources = Sources(flags=dict(flags or {}), path=file, in_file=_read_toml(file) if file else {})
    _refuse_unknown_variables()
    reset = toml_file.set(file)
    try:
        settings = Settings(**sources.flags)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(item, sources) for item in error.errors())) from None
    except SourceError as error:
        raise SettingsError(f"settings in the environment cannot be read: {error}; write plain values") from None
    finally:
        toml_file.reset(reset)
    effective = tuple(Setting(key=key, value=_show(_get(settings, key)), origin=sources.of(key)) for key in _keys())
    return Loaded(settings=settings, path=file, effective=effective)


def variable_of(key: str) -> str:
    """The variable that sets `key`."""
    return ENV_PREFIX + key.replace(".", NESTED_DELIMITER).upper()


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"settings file {path} cannot be read: {error.strerror}; check its owner and mode"
        raise SettingsError(message) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path} is no TOML: {error}; mend that place") from None


def _keys(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _refuse_unknown_variables() -> None:
    """A misspelt variable must not be ignored in silence."""
    known = {variable_of(key) for key in _keys()} | {CONFIG_VARIABLE}
    for name in os.environ:
        if name.startswith(ENV_PREFIX) and name.upper() not in known:
            raise SettingsError(f"variable {name}: there is no such setting{_near(name, known)}; correct or unset it")


def _near(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _stands_in(tree: Mapping[str, Any], key: str) -> bool:
    value: Any = tree
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True


def _explain(item: ErrorDetails, sources: Sources) -> str:
    known = set(_keys())
    places = [str(part) for part in item["loc"]]
    prefixes = [".".join(places[:end]) for end in range(len(places), 0, -1)]
    key = next((prefix for prefix in prefixes if prefix in known), ".".join(places))
    if item["type"] == "extra_forbidden":
        key = ".".join(places)
        return f"{sources.of(key)}: key {key}: there is no such setting{_near(key, known)}; remove it"
    text = item["msg"].removeprefix("Value error, ")
    if not key:
        return f"settings: {text}"
    value = _HIDDEN if key == "database_dsn" else repr(item["input"])
    return f"{sources.of(key)}: key {key} is {value}: {text[:1].lower()}{text[1:]}"


def _get(settings: Settings, key: str) -> object:
    value: Any = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _show(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return _HIDDEN if value.get_secret_value() else ""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
