"""The example settings are true: the daemons accept them, and every default that they quote is the real one."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tesserabench.agent.origins
import tesserabench.collector.origins
from support.prometheus_stack import REPOSITORY

CONFIG = REPOSITORY / "deploy" / "config"
LOADERS: dict[str, Callable[[Path], Any]] = {
    "agent": tesserabench.agent.origins.load_settings,
    "collector": tesserabench.collector.origins.load_settings,
}


def with_defaults_spelt_out(text: str) -> str:
    """The example with every commented-out setting taken as said."""
    return re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE)


def flattened(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and key != "labels":
            found |= flattened(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TESSERABENCH_AGENT_CONFIG", raising=False)
    # As root, the default state folders are those of an installation.
    monkeypatch.setattr("os.geteuid", lambda: 0)


@pytest.mark.parametrize("daemon", LOADERS)
def test_daemon_accepts_its_example(daemon: str) -> None:
    loaded = LOADERS[daemon](CONFIG / f"{daemon}.toml")
    assert loaded.path == CONFIG / f"{daemon}.toml"


@pytest.mark.parametrize("daemon", LOADERS)
def test_defaults_quoted_in_the_example_are_the_real_ones(daemon: str, tmp_path: Path) -> None:
    text = (CONFIG / f"{daemon}.toml").read_text()
    said = flattened(tomllib.loads(text))
    quoted = {
        key: value for key, value in flattened(tomllib.loads(with_defaults_spelt_out(text))).items() if key not in said
    }
    assert len(quoted) >= 5
    placeholders = {"host", "tls.cert", "tls.key"} if daemon == "agent" else set()
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    settings = LOADERS[daemon](empty).settings
    for key, value in quoted.items():
        if key in placeholders:
            continue
        real: Any = settings
        for part in key.split("."):
            real = getattr(real, part)
        shown = list(real) if isinstance(real, tuple) else str(real) if isinstance(real, Path) else real
        assert shown == value, key


@pytest.mark.parametrize("daemon", LOADERS)
def test_no_setting_of_an_example_is_misspelt_in_a_comment(daemon: str, tmp_path: Path) -> None:
    spelt_out = tmp_path / f"{daemon}.toml"
    spelt_out.write_text(with_defaults_spelt_out((CONFIG / f"{daemon}.toml").read_text()))
    assert LOADERS[daemon](spelt_out).path == spelt_out
