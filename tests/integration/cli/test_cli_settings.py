"""Where settings come from, which of them wins, and what is said about broken ones."""

import json
import stat
from pathlib import Path

import pytest
from support.fake_services import FakeCollector
from support.tbctl import Tbctl
from tesserabench.cli.settings.schema import SETTINGS


@pytest.fixture
def tbctl(home: Path, capsys: pytest.CaptureFixture[str]) -> Tbctl:
    return Tbctl(capture=capsys)


def user_file(home: Path, text: str) -> Path:
    path = home / "config" / "tesserabench" / "tbctl.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def in_force(tbctl: Tbctl, *flags: str) -> dict[str, dict[str, object]]:
    said = tbctl("config", "view", "-o", "json", *flags)
    assert said.status == 0, said.err
    settings: dict[str, dict[str, object]] = json.loads(said.out)["settings"]
    return settings


def test_each_layer_covers_the_one_below(tbctl: Tbctl, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_force(tbctl)["project"] == {"value": "default", "origin": "built-in"}
    path = user_file(home, "defaults: {project: in-defaults}\n")
    assert in_force(tbctl)["project"] == {"value": "in-defaults", "origin": f"defaults in {path}"}
    user_file(home, "current-context: lab\ncontexts: {lab: {project: in-context}}\ndefaults: {project: in-defaults}\n")
    assert in_force(tbctl)["project"] == {"value": "in-context", "origin": f"context lab in {path}"}
    (home / "tessera.yaml").write_text("project: in-project-file\n")
    assert in_force(tbctl)["project"] == {"value": "in-project-file", "origin": str(home / "tessera.yaml")}
    monkeypatch.setenv("TBCTL_PROJECT", "in-environment")
    assert in_force(tbctl)["project"] == {"value": "in-environment", "origin": "environment TBCTL_PROJECT"}
    assert in_force(tbctl, "--project", "typed")["project"] == {"value": "typed", "origin": "flag --project"}


def test_context_that_was_typed_covers_the_project_file(
    tbctl: Tbctl, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_file(home, "contexts: {lab: {project: in-context}}\n")
    (home / "tessera.yaml").write_text("project: in-project-file\n")
    assert in_force(tbctl)["project"]["value"] == "in-project-file"
    assert in_force(tbctl, "--context", "lab")["project"]["value"] == "in-context"
    monkeypatch.setenv("TBCTL_CONTEXT", "lab")
    assert in_force(tbctl)["project"]["value"] == "in-context"


def test_project_file_is_searched_upward_to_the_root_of_the_tree(
    tbctl: Tbctl, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "tessera.yaml").write_text("project: outside\n")
    deep = home / "tree" / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert in_force(tbctl)["project"]["value"] == "outside"
    (home / "tree" / ".git").mkdir()
    assert in_force(tbctl)["project"]["value"] == "default"
    (home / "tree" / "tessera.yaml").write_text("project: inside\n")
    assert in_force(tbctl)["project"]["value"] == "inside"


def test_flags_stand_before_or_after_the_command_and_the_last_wins(tbctl: Tbctl) -> None:
    before = tbctl("--project", "one", "config", "view", "-o", "csv")
    assert "project,one,flag --project" in before.out
    between = tbctl("config", "--project", "two", "view", "-o", "csv")
    assert "project,two,flag --project" in between.out
    both = tbctl("--project", "one", "config", "view", "--project", "three", "-o", "csv")
    assert "project,three,flag --project" in both.out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("server: [1, 2]\n", "server: [1, 2] is no plain value"),
        ("servr: x\n", "unknown key servr (did you mean 'server'?)"),
        ("project: Big Words\n", "project: 'Big Words' is no project"),
        ("timeout: soon\n", "timeout: 'soon' is no duration; write it like 90s"),
        ("output: markdown\n", "'markdown' is not one of table, wide, json, yaml, csv"),
        ("fail-on: moderate\n", "'moderate' is not one of none, minor, major, critical, any"),
        ("token: secret\n", "token may not stand here; set TBCTL_TOKEN or a context"),
        ("insecure: true\n", "insecure may not stand here"),
        ("a: b: c\n", "no valid YAML at line 1, column 5"),
        ("- a\n- b\n", "the file is ['a', 'b']"),
        ("server: \n", "server: None is no plain value"),
    ],
)
def test_broken_project_file_is_one_clear_error(text: str, says: str, tbctl: Tbctl, home: Path) -> None:
    (home / "tessera.yaml").write_text(text)
    said = tbctl("run", "list")
    assert said.status == 2
    assert said.err.startswith(f"exit 2: {home / 'tessera.yaml'}: ")
    assert says in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("server: x\n", "put settings below 'defaults'"),
        ("context: {}\n", "did you mean 'contexts'?"),
        ("contexts: [lab]\n", "contexts is ['lab']"),
        ("contexts: {lab: {retries: 3}}\n", "contexts.lab.retries may not stand here"),
        ("contexts: {lab: {token: 'two words'}}\n", "contexts.lab.token: it holds no token"),
        ("current-context: lba\ncontexts: {lab: {}}\n", "no context 'lba'"),
        ("defaults: {token: x}\n", "defaults.token may not stand here"),
    ],
)
def test_broken_user_file_is_one_clear_error(text: str, says: str, tbctl: Tbctl, home: Path) -> None:
    path = user_file(home, text)
    said = tbctl("run", "list")
    assert said.status == 2
    assert str(path) in said.err
    assert says in said.err
    assert "two words" not in said.err


def test_files_that_are_no_text_are_refused(tbctl: Tbctl, home: Path) -> None:
    (home / "tessera.yaml").write_bytes(b"project: \xff\xfe\n")
    assert "not UTF-8 at byte 9; save it as UTF-8" in tbctl("run", "list").err


def test_wrong_environment_names_its_variable(tbctl: Tbctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TBCTL_RETRIES", "often")
    assert "TBCTL_RETRIES: 'often' is no number of retries" in tbctl("run", "list").err
    monkeypatch.setenv("TBCTL_RETRIES", "")
    assert tbctl("config", "view").status == 0
    monkeypatch.setenv("TBCTL_CONFIG", "/no/such/file")
    assert "TBCTL_CONFIG: '/no/such/file' is no file" in tbctl("run", "list").err


def test_help_and_version_work_with_broken_settings(tbctl: Tbctl, home: Path) -> None:
    (home / "tessera.yaml").write_text("nonsense: true\n")
    for words in (("--help",), ("run", "list", "--help"), ("--version",), ("completion", "bash")):
        assert tbctl(*words).status == 0
    assert tbctl("doctor").status == 2


def test_exit_mode_is_known_even_when_the_settings_are_broken(
    tbctl: Tbctl, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "tessera.yaml").write_text("nonsense: true\n")
    assert tbctl("run", "list", "--exit-mode=severity").status == 4
    monkeypatch.setenv("TBCTL_EXIT_MODE", "simple")
    assert tbctl("run", "list").status == 1


def test_contexts_are_made_chosen_and_listed(tbctl: Tbctl, home: Path) -> None:
    made = tbctl("config", "set-context", "lab", "--server", "https://lab.example.org", "--token-file", "lab.token")
    assert "context lab: created (server, token-file)" in made.out
    tbctl("config", "set-context", "home", "--server", "127.0.0.1:7710", "--insecure")
    assert tbctl("config", "use-context", "home").out == "context: lab -> home\n"
    listed = json.loads(tbctl("config", "get-contexts", "-o", "json").out)["items"]
    assert [(item["name"], item["current"], item["token"]) for item in listed] == [
        ("lab", False, "file"),
        ("home", True, "none"),
    ]
    path = home / "config" / "tesserabench" / "tbctl.yaml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert tbctl("config", "validate").out == f"{path}: good\n"
    assert "did you mean 'lab'?" in tbctl("config", "use-context", "lap").err
    assert tbctl("config", "set-context", "x").status == 2
    assert tbctl("config", "set-context", "x", "--project", "Big Words").status == 2


def test_tokens_are_never_shown(tbctl: Tbctl, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TBCTL_TOKEN", "very-secret")
    for output in ("table", "json", "yaml", "csv"):
        said = tbctl("config", "view", "--show-origin", "-o", output)
        assert "very-secret" not in said.out + said.err
        assert "(set)" in said.out
    monkeypatch.setenv("TBCTL_TOKEN", "very secret")
    said = tbctl("run", "list")
    assert said.status == 2
    assert "very" not in said.err


def test_token_of_a_context_is_not_led_elsewhere_by_a_project_file(tbctl: Tbctl, home: Path) -> None:
    fake = FakeCollector().start()
    try:
        user_file(home, "current-context: lab\ncontexts: {lab: {server: 'https://lab.example.org', token: secret}}\n")
        (home / "tessera.yaml").write_text(f"server: {fake.address}\n")
        said = tbctl("run", "list")
        assert said.status == 0, said.err
        assert "the context's token is not sent to it" in said.err
        assert "authorization" not in fake.calls_of("ListRuns")[0].metadata
        assert tbctl("run", "list", "--context", "lab", "--server", fake.address).status == 0
        assert fake.calls_of("ListRuns")[1].metadata["authorization"] == "Bearer secret"
    finally:
        fake.stop()


def test_missing_token_file_is_named_with_its_origin(tbctl: Tbctl, home: Path) -> None:
    user_file(home, "current-context: lab\ncontexts: {lab: {token-file: gone.token}}\n")
    said = tbctl("run", "list")
    assert said.status == 2
    assert f"token file {home}/config/tesserabench/gone.token cannot be read (No such file or directory)" in said.err


def test_validate_checks_the_file_that_is_named(tbctl: Tbctl, home: Path) -> None:
    (home / "other.yaml").write_text("contexts: {lab: {serverr: x}}\n")
    said = tbctl("config", "validate", str(home / "other.yaml"))
    assert said.status == 2
    assert "contexts.lab.serverr (did you mean 'server'?)" in said.err
    assert tbctl("config", "validate", "nowhere.yaml").status == 2


def test_every_setting_has_its_own_variable() -> None:
    variables = [setting.variable for setting in SETTINGS]
    assert len(set(variables)) == len(variables)
    assert all(variable.startswith("TBCTL_") for variable in variables)
