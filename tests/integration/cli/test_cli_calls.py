"""What is asked of the collector, how often, and with whose name."""

import json
import shutil
import subprocess
from pathlib import Path

import grpc
import pytest
from support.contract_values import a_run
from support.fake_services import FakeCollector
from support.tbctl import Tbctl

TRIGGER = ("run", "trigger", "--suite", "gemm")


def test_trigger_sends_everything_that_was_typed(collector: FakeCollector, tbctl: Tbctl) -> None:
    said = tbctl(
        *TRIGGER,
        *("--tier", "smoke", "-l", "gpu=h100,driver>=570", "--selector", "rack=a1", "--nodes", "gpu-07,gpu-09"),
        *("--device", "cuda:1", "--set", "matmul.m=256", "--benchmark", "matmul", "--skip", "float64", "--repeat", "5"),
        *("--mode", "cold", "--seed", "9", "--case-timeout", "90s", "--run-timeout", "1h30m"),
        *("--drill", "gemm/matmul=1.12", "--commit", "abc1234", "--branch", "faster", "--base", "main", "--pr", "17"),
        *("--build-url", "https://ci.example.org/1", "--repository", "owner/name", "--baseline", "branch:main"),
        *("--no-confirm", "--label", "team=kernels", "--priority", "5", "--deadline", "2h"),
        *("--idempotency-key", "once", "--project", "kernels"),
    )
    assert said.status == 0, said.err
    request = collector.calls_of("CreateRun")[0].request
    spec = request.spec
    assert (request.project, spec.suite, spec.tier, spec.device, spec.mode) == ("kernels", "gemm", 1, "cuda:1", 1)
    assert list(spec.selector.conditions) == ["gpu=h100", "driver>=570", "rack=a1"]
    assert (list(spec.selector.hosts), spec.selector.count) == (["gpu-07", "gpu-09"], 2)
    assert [(item.parameter, item.value) for item in spec.overrides] == [("matmul.m", "256")]
    assert (list(spec.include), list(spec.exclude)) == (["matmul"], ["float64"])
    assert (spec.trials, spec.seed, dict(spec.drill)) == (5, 9, {"gemm/matmul": 1.12})
    assert (spec.case_timeout.seconds, spec.timeout.seconds) == (90, 5400)
    revision = request.revision
    assert (revision.commit, revision.branch, revision.base_branch) == ("abc1234", "faster", "main")
    assert (revision.pull_request, revision.build_url) == ("17", "https://ci.example.org/1")
    assert revision.repository == "owner/name"
    assert (request.gate.baseline, request.gate.HasField("confirm"), request.gate.confirm) == (
        "branch:main",
        True,
        False,
    )
    assert (dict(request.labels), request.priority, request.request_id) == ({"team": "kernels"}, 5, "once")
    assert request.HasField("deadline")
    assert request.trigger == 1


def test_trigger_reads_the_variables_of_ci(
    collector: FakeCollector, tbctl: Tbctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("CI_COMMIT_SHA", "abc1234def")
    monkeypatch.setenv("CI_COMMIT_REF_NAME", "main")
    monkeypatch.setenv("CI_JOB_URL", "https://gitlab.example.org/1")
    assert tbctl(*TRIGGER, "--branch", "mine").status == 0
    request = collector.calls_of("CreateRun")[0].request
    assert (request.revision.commit, request.revision.branch) == ("abc1234def", "mine")
    assert request.trigger == 2


def test_trigger_reads_commit_and_branch_of_the_checkout(collector: FakeCollector, tbctl: Tbctl, home: Path) -> None:
    git = ["git", "-C", str(home), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run([*git, "init", "-q", "-b", "topic"], check=True)
    (home / "kernel.cu").write_text("1")
    subprocess.run([*git, "add", "kernel.cu"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    (home / "kernel.cu").write_text("2")
    said = tbctl(*TRIGGER)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    request = collector.calls_of("CreateRun")[0].request
    assert (request.revision.commit, request.revision.branch) == (head, "topic")
    assert request.labels["git.changed"] == "true"
    assert "git.changed=true" in said.err


def test_trigger_repeats_a_lost_call_with_the_same_request_id(collector: FakeCollector, tbctl: Tbctl) -> None:
    collector.fail("CreateRun", grpc.StatusCode.UNAVAILABLE)
    collector.fail("CreateRun", grpc.StatusCode.UNAVAILABLE)
    assert tbctl(*TRIGGER).status == 0
    identities = [call.request.request_id for call in collector.calls_of("CreateRun")]
    assert len(identities) == 3
    assert len(set(identities)) == 1


def test_two_triggers_are_two_runs(collector: FakeCollector, tbctl: Tbctl) -> None:
    tbctl(*TRIGGER)
    tbctl(*TRIGGER)
    assert len({call.request.request_id for call in collector.calls_of("CreateRun")}) == 2


def test_refusals_are_not_repeated(collector: FakeCollector, tbctl: Tbctl) -> None:
    collector.fail("CreateRun", grpc.StatusCode.PERMISSION_DENIED)
    assert tbctl(*TRIGGER).status == 4
    assert len(collector.calls_of("CreateRun")) == 1


def test_retries_can_be_switched_off(collector: FakeCollector, tbctl: Tbctl) -> None:
    collector.fail("ListRuns", grpc.StatusCode.UNAVAILABLE)
    said = tbctl("run", "list", "--retries", "0")
    assert said.status == 7
    assert len(collector.calls_of("ListRuns")) == 1


def test_dry_run_creates_nothing_and_shows_the_plan(collector: FakeCollector, tbctl: Tbctl) -> None:
    collector.created = a_run(state="queued", reason="2 hosts match: gpu-07, gpu-09")
    said = tbctl(*TRIGGER, "--dry-run")
    assert said.status == 0
    assert "2 hosts match: gpu-07, gpu-09" in said.out
    assert collector.calls_of("CreateRun")[0].request.dry_run
    assert collector.runs == {}


def test_wait_may_be_the_default_and_be_overridden(
    collector: FakeCollector, tbctl: Tbctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TBCTL_WAIT", "true")
    assert tbctl(*TRIGGER, "--no-wait").status == 0
    assert not collector.calls_of("WatchRun")
    collector.watch["runs/42"] = [a_run(outcome="cancelled")]
    assert tbctl(*TRIGGER).status == 9


def test_default_suite_comes_from_the_project_file(collector: FakeCollector, tbctl: Tbctl, home: Path) -> None:
    (home / "tessera.yaml").write_text("suite: memory\nproject: kernels\n")
    assert tbctl("run", "trigger").status == 0
    request = collector.calls_of("CreateRun")[0].request
    assert (request.spec.suite, request.project) == ("memory", "kernels")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run", "trigger"), "give --suite NAME"),
        ((*TRIGGER, "--suite", "memory"), "a run measures one suite"),
        ((*TRIGGER, "--set", "m"), "--set BENCH.PARAM=VALUE"),
        ((*TRIGGER, "--drill", "matmul=0.5"), "give 1 to 100, for example matmul=1.10"),
        ((*TRIGGER, "--drill", "matmul=slow"), "the factor is 'slow'"),
        ((*TRIGGER, "--nodes", "all"), "give a number of hosts, or their names"),
        ((*TRIGGER, "--nodes", "0"), "give 1 to 10000 hosts"),
        ((*TRIGGER, "--benchmark", "("), "is no regular expression"),
        ((*TRIGGER, "--deadline", "2001-01-01T00:00:00Z"), "lies in the past"),
        ((*TRIGGER, "--timeout", "soon"), "--timeout: 'soon' is no duration"),
        (("run", "get", "forty"), "'forty' is no run"),
        (("regression", "get", "x"), "'x' is no regression"),
        (("node", "describe", "GPU 7"), "'GPU 7' is no host"),
        (("suite", "describe", "a b"), "'a b' is no suite"),
        (("baseline", "show", " x"), "is no baseline"),
        (("schedule", "create", "n", "--every", "5s", "--suite", "gemm"), "at least 1m"),
        (("schedule", "pause", "Night"), "'Night' is no schedule"),
        (("gate",), "one of --run RUN and --head REF"),
        (("gate", "--head", "branch:x"), "give --base REF"),
        (("gate", "--run", "42", "--base", "x"), "--base goes with --head"),
        (("run", "list", "--server", "ftp://x"), "has the scheme 'ftp'"),
        (("run", "list", "--server", "host:99999"), "has the port '99999'"),
        (("run", "list", "--retries", "many"), "--retries: 'many' is no number of retries"),
        (("run", "list", "--cert", "x.pem", "--server", "https://h"), "needs both --cert and --key"),
        (("run", "list", "--ca-file", "no.pem", "--server", "https://h"), "no.pem cannot be read"),
    ],
)
def test_bad_usage_is_refused_before_anything_is_sent(
    words: tuple[str, ...], says: str, collector: FakeCollector, tbctl: Tbctl
) -> None:
    said = tbctl(*words)
    assert said.status == 2
    assert says in said.err
    assert said.last_line.startswith("exit 2: ")
    assert collector.calls == []


def test_error_names_the_fields_that_were_wrong(collector: FakeCollector, tbctl: Tbctl) -> None:
    collector.fail(
        "CreateRun",
        grpc.StatusCode.INVALID_ARGUMENT,
        "the request cannot be right",
        reason="INVALID_FIELD",
        fields=(("spec.trials", "is 5000; give 1 to 1000"),),
    )
    said = tbctl(*TRIGGER)
    assert said.err.splitlines()[-2:] == [
        "  spec.trials: is 5000; give 1 to 1000",
        "exit 2: the request cannot be right (INVALID_FIELD)",
    ]


def test_token_comes_from_the_environment_or_a_file_and_from_no_flag(
    collector: FakeCollector, tbctl: Tbctl, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tbctl("run", "list")
    monkeypatch.setenv("TBCTL_TOKEN_FILE", str(home / "token"))
    (home / "token").write_text("from-file\n")
    tbctl("run", "list")
    monkeypatch.setenv("TBCTL_TOKEN", "from-variable")
    tbctl("run", "list")
    sent = [call.metadata.get("authorization") for call in collector.calls_of("ListRuns")]
    assert sent == [None, "Bearer from-file", "Bearer from-variable"]
    assert tbctl("run", "list", "--token", "x").status == 2


def test_lists_are_read_page_by_page_up_to_the_limit(collector: FakeCollector, tbctl: Tbctl) -> None:
    collector.runs = {f"runs/{number}": a_run(number=number) for number in range(1, 2502)}
    said = tbctl("run", "list", "--all", "-o", "csv")
    assert len(said.out.splitlines()) == 2502
    assert len(collector.calls_of("ListRuns")) == 3
    short = tbctl("run", "list", "--limit", "7")
    assert len(short.out.splitlines()) == 8
    assert "--limit N or --all" in short.err


def test_slow_collector_ends_the_call_at_its_deadline(
    collector: FakeCollector, tbctl: Tbctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading  # noqa: PLC0415 - for this test alone

    release = threading.Event()
    monkeypatch.setattr(FakeCollector, "enter", lambda self, context, method, request: release.wait(30))
    said = tbctl("run", "list", "--request-timeout", "300ms", "--retries", "0")
    release.set()
    assert said.status == 7
    assert "did not answer in time" in said.err


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for a name that is not the address, and its key."""
    openssl = shutil.which("openssl")
    assert openssl, "openssl is needed for this test; Debian's ca-certificates brings it"
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=bench.test"]
    words += ["-addext", "subjectAltName=DNS:bench.test,IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(words, check=True, capture_output=True)
    return cert, key


def test_tls_checks_the_certificate_unless_told_otherwise(
    certificate: tuple[Path, Path], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cert, key = certificate
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    fake = FakeCollector(credentials=credentials).start()
    try:
        tbctl = Tbctl(capture=capsys, always=("--server", f"https://{fake.address}", "--retries", "0"))
        assert tbctl("run", "list").status == 7
        assert tbctl("run", "list", "--ca-file", str(cert)).status == 0
        assert tbctl("run", "list", "--insecure-skip-verify").status == 0
        assert len(fake.calls_of("ListRuns")) == 2
    finally:
        fake.stop()


def test_version_shows_both_and_can_do_without_a_collector(collector: FakeCollector, tbctl: Tbctl) -> None:
    collector.info.version = "9.8.7"
    assert "9.8.7" in tbctl("version").out
    collector.stop()
    said = tbctl("version", "--client", "-o", "json")
    assert said.status == 0
    assert set(json.loads(said.out)) == {"apiVersion", "kind", "client"}
