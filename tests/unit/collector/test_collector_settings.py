"""The collector's settings."""

from pathlib import Path

import pytest
from tesserabench.collector.errors import SettingsError
from tesserabench.collector.origins import load_settings
from tesserabench.collector.settings import Address, is_loopback, parse_address


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os  # noqa: PLC0415 - only here

    for name in [name for name in os.environ if name.startswith("TESSERABENCH_COLLECTOR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("tesserabench.collector.origins.default_path", lambda: None)
    monkeypatch.setenv("TESSERABENCH_COLLECTOR_STATE_DIR", str(tmp_path))


def file_with(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "collector.toml"
    path.write_text(text)
    return path


def test_defaults_listen_on_loopback_only() -> None:
    settings = load_settings().settings
    assert settings.grpc_address == ("127.0.0.1", 7710)
    assert settings.web_address == ("127.0.0.1", 7711)
    assert settings.auth.mode == "off"


def test_a_variable_goes_before_the_file_and_a_flag_before_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_with(tmp_path, 'log_format = "json"\nmax_series = 100\n[fleet]\nlease_seconds = 77\n')
    monkeypatch.setenv("TESSERABENCH_COLLECTOR_MAX_SERIES", "200")
    loaded = load_settings(path, {"log_format": "console"})
    assert (loaded.settings.log_format, loaded.settings.max_series) == ("console", 200)
    origins = {item.key: item.origin for item in loaded.effective}
    assert origins["log_format"] == "flag"
    assert origins["max_series"] == "variable TESSERABENCH_COLLECTOR_MAX_SERIES"
    assert origins["fleet.lease_seconds"] == f"file {path}"
    assert origins["fleet.heartbeat_seconds"] == "default"


def test_the_password_in_a_dsn_is_never_shown(tmp_path: Path) -> None:
    path = file_with(tmp_path, 'database_dsn = "postgresql://u:hunter2@db/x"')
    assert "hunter2" not in str(load_settings(path).effective)
    broken = file_with(tmp_path, "database_dsn = 5")
    with pytest.raises(SettingsError) as caught:
        load_settings(broken)
    assert "(hidden)" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('grpc_lissen = "x"', ["grpc_lissen", "did you mean grpc_listen?", "collector.toml"]),
        ('grpc_listen = "7710"', ["grpc_listen", "'7710'", "HOST:PORT"]),
        ('grpc_listen = "127.0.0.1:70000"', ["grpc_listen", "70000"]),
        ("metrics_refresh_seconds = 0", ["metrics_refresh_seconds is 0", "greater than 0"]),
        ("[fleet]\nlease_seconds = 5", ["fleet", "at least twice heartbeat_seconds"]),
        ('[auth]\nmode = "password"', ["auth.mode", "'password'", "'token'"]),
        ('[tls]\ncert = "/x"', ["tls", "cert and key go together"]),
        ("= 5", ["is no TOML", "line 1"]),
        ('web_listen = "0.0.0.0:7711"', ["web_listen", "web_public = true"]),
        ('grpc_listen = "0.0.0.0:7710"', ["grpc_listen", "TLS", "tokens", "insecure = true"]),
        (
            'grpc_listen = "0.0.0.0:7710"\n[auth]\nmode = "token"',
            ["without TLS (tls.cert, tls.key);"],
        ),
    ],
)
def test_a_broken_file_gives_a_line_with_key_value_and_remedy(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(file_with(tmp_path, text))
    for part in parts:
        assert part in str(caught.value)


def test_a_misspelt_variable_is_not_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERABENCH_COLLECTOR_DATABASE_DNS", "x")
    with pytest.raises(SettingsError, match="did you mean TESSERABENCH_COLLECTOR_DATABASE_DSN"):
        load_settings()


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        load_settings(tmp_path / "nothing.toml")


def test_insecure_in_so_many_words_opens_up(tmp_path: Path) -> None:
    path = file_with(tmp_path, 'grpc_listen = "0.0.0.0:1"\nweb_listen = "0.0.0.0:2"\ninsecure = true')
    assert load_settings(path).settings.insecure


def test_tls_and_tokens_open_up(tmp_path: Path) -> None:
    text = 'grpc_listen = "[::]:1"\n[tls]\ncert = "/c"\nkey = "/k"\n[auth]\nmode = "token"'
    assert load_settings(file_with(tmp_path, text)).settings.grpc_address == ("::", 1)


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.8.8.8:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("collector.example:1", False),
    ],
)
def test_loopback(text: str, loopback: bool) -> None:
    assert is_loopback(parse_address(text)) is loopback


@pytest.mark.parametrize("text", ["", "host", ":1", "host:", "host:x", "host:-1", "host:65536"])
def test_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_address(text)


def test_an_address_prints_as_it_is_written() -> None:
    assert str(Address("::1", 5)) == "[::1]:5"
    assert str(Address("h", 5)) == "h:5"
