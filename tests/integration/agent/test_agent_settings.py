"""What the agent is told, where it came from, and what it says about mistakes."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tesserabench.agent.errors import SettingsError
from tesserabench.agent.origins import load_settings, variable_of
from tesserabench.agent.settings import Section, Settings, split_address


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tesserabench.agent.origins.default_path", lambda: None)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def write(path: Path, text: str) -> Path:
    file = path / "agent.toml"
    file.write_text(text, encoding="utf-8")
    return file


def origin(file: Path | None, key: str) -> tuple[str, str]:
    found = next(item for item in load_settings(file).effective if item.key == key)
    return found.value, found.origin


def test_flag_beats_variable_beats_file_beats_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, 'drain_seconds = 5\nflush_seconds = 6\nlog_format = "json"\n')
    monkeypatch.setenv("TESSERABENCH_AGENT_FLUSH_SECONDS", "7")
    monkeypatch.setenv("TESSERABENCH_AGENT_LOG_FORMAT", "json")
    settings = load_settings(file, {"log_format": "console"}).settings
    assert (settings.drain_seconds, settings.flush_seconds, settings.log_format) == (5, 7, "console")
    assert settings.device_wait_seconds == 60


def test_each_value_tells_its_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, '[budgets]\nprepare = 7\n[labels]\nrack = "a1"\n')
    monkeypatch.setenv("TESSERABENCH_AGENT_TLS__CA", "/etc/ca.pem")
    assert origin(file, "budgets.prepare") == ("7", f"file {file}")
    assert origin(file, "budgets.verify") == ("60", "default")
    assert origin(file, "labels") == ("rack=a1", f"file {file}")
    assert origin(file, "tls.ca") == ("/etc/ca.pem", "variable TESSERABENCH_AGENT_TLS__CA")


def test_lists_and_pairs_are_plain_text_in_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERABENCH_AGENT_DEVICES", "cpu, simulated")
    monkeypatch.setenv("TESSERABENCH_AGENT_LABELS", "rack=a1,room=b=2")
    monkeypatch.setenv("TESSERABENCH_AGENT_POLICY__SUITES", "core,gemm")
    settings = load_settings().settings
    assert settings.devices == ("cpu", "simulated")
    assert settings.labels == {"rack": "a1", "room": "b=2"}
    assert settings.policy.suites == ("core", "gemm")


def test_token_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERABENCH_AGENT_TOKEN", "very-secret")
    loaded = load_settings()
    assert loaded.settings.token is not None
    assert loaded.settings.token.get_secret_value() == "very-secret"
    assert "very-secret" not in repr(loaded)


MISTAKES = [
    ('collector = "nonsense"', ["key collector", "'nonsense'", "HOST:PORT"]),
    ('host = "UPPER"', ["key host", "'UPPER'", "a-z"]),
    ('devices = ["gpu"]', ["key devices", "'gpu'", "auto, cpu, cuda, simulated"]),
    ("devices = []", ["key devices", "empty"]),
    ("[budgets]\nprepare = -1", ["key budgets.prepare", "-1", "greater than 0"]),
    ('[budgets]\nprepare = "long"', ["key budgets.prepare", "'long'", "number"]),
    ("[budgets]\nprepare = inf", ["key budgets.prepare", "finite"]),
    ("spool_max_bytes = 1", ["key spool_max_bytes", "1", "65536"]),
    ('colector = "a:1"', ["key colector", "did you mean collector?"]),
    ('[policy]\nsuite = ["a"]', ["key policy.suite", "did you mean policy.suites?"]),
    ('[tls]\ncert = "/x"', ["key tls", "cert and key go together"]),
    ('token = "a"\ntoken_file = "/b"', ["token and token_file are both set"]),
    ('runner_user = "nobody-of-this-name"', ["key runner_user", "no such user"]),
    ('log_format = "xml"', ["key log_format", "'xml'", "console"]),
    ("[link]\nwindow = 0", ["key link.window", "0", "greater than or equal to 1"]),
]


@pytest.mark.parametrize(("text", "words"), MISTAKES, ids=[text.replace("\n", " ") for text, _ in MISTAKES])
def test_mistake_names_file_key_value_and_remedy(tmp_path: Path, text: str, words: list[str]) -> None:
    file = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert str(file) in message or "both set" in message


def test_secret_is_not_repeated_in_a_complaint(tmp_path: Path) -> None:
    file = write(tmp_path, "token = 5")
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    assert "(hidden)" in str(caught.value)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, 'collector = "x"\nhost = "UPPER"\n')
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    assert len(str(caught.value).splitlines()) == 2


def test_file_that_is_no_toml_says_where(tmp_path: Path) -> None:
    file = write(tmp_path, "collector = \n")
    with pytest.raises(SettingsError, match=r"no TOML.*line 1"):
        load_settings(file)


def test_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        load_settings(tmp_path / "absent.toml")


def test_variable_with_a_misspelt_name_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERABENCH_AGENT_DRAINSECONDS", "5")
    with pytest.raises(SettingsError, match="did you mean TESSERABENCH_AGENT_DRAIN_SECONDS"):
        load_settings()


def test_variable_with_a_wrong_value_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERABENCH_AGENT_BUDGETS__PREPARE", "soon")
    with pytest.raises(
        SettingsError, match=r"variable TESSERABENCH_AGENT_BUDGETS__PREPARE: key budgets.prepare is 'soon'"
    ):
        load_settings()


def test_pair_without_an_equals_sign_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERABENCH_AGENT_LABELS", "rack")
    with pytest.raises(SettingsError, match="NAME=VALUE"):
        load_settings()


def test_variable_names_follow_the_keys() -> None:
    assert variable_of("budgets.prepare") == "TESSERABENCH_AGENT_BUDGETS__PREPARE"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:7710", ("127.0.0.1", 7710)),
        ("https://c.example:443", ("c.example", 443)),
        ("http://c.example:443/", ("c.example", 443)),
        ("[::1]:7710", ("::1", 7710)),
    ],
)
def test_addresses_are_split(address: str, expected: tuple[str, int]) -> None:
    assert split_address(address) == expected


@pytest.mark.parametrize("address", ["", "host", "host:", ":1", "host:99999", "ftp://host:1", "::1:80", "a b:1"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        split_address(address)


def test_settings_describe_every_key() -> None:
    undescribed = [
        name
        for name, field in Settings.model_fields.items()
        if not field.description and not (isinstance(field.annotation, type) and issubclass(field.annotation, Section))
    ]
    assert undescribed == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"clocks": "fast"}, "lock:MHZ"),
        ({"clocks": "lock:0"}, "lock:MHZ"),
        ({"clocks": "lock:1410", "policy": {"shared": True}}, "on a shared host clocks are not locked"),
        ({"readiness": {"temperature_celsius": -1}}, "temperature_celsius"),
        ({"cooling": {"pause_seconds": 60}}, "pause_seconds"),
    ],
)
def test_measuring_settings_that_cannot_hold_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Settings(**settings)


@pytest.mark.parametrize("clocks", ["observe", "lock:tdp", "lock:1410"])
def test_clock_policies(clocks: str) -> None:
    assert Settings(clocks=clocks).clocks == clocks
