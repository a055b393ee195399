"""What people and programs read: golden tables, documents, and the words after a change."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.contract_values import START, a_comparison, a_result, a_run, an_entry
from support.fake_services import FakeCollector
from support.golden import assert_golden
from support.tbctl import Tbctl
from tesserabench.cli.output.table import Column, render_details, render_table
from tesserabench.cli.views.detector_score import score_columns
from tesserabench.cli.views.findings import regression_columns, regression_details
from tesserabench.cli.views.fleet import host_columns, host_details, suite_columns, suite_text
from tesserabench.cli.views.keeping import baseline_columns, schedule_columns
from tesserabench.cli.views.runs import run_columns, run_details
from tesserabench.v1.baseline_service_pb2 import Baseline
from tesserabench.v1.comparison_pb2 import CauseKind, ComparisonEntry
from tesserabench.v1.false_alarms_pb2 import FalseAlarmRate
from tesserabench.v1.host_pb2 import BenchmarkInfo, Device, Host, HostState, Inventory, SuiteInfo
from tesserabench.v1.host_service_pb2 import Suite
from tesserabench.v1.regression_service_pb2 import (
    DetectorScore,
    DetectorScoreRow,
    FindingKind,
    Regression,
    RegressionEvent,
    RegressionMember,
    RegressionState,
)
from tesserabench.v1.run_pb2 import Actor, Revision, RunSpec, Severity, Tier
from tesserabench.v1.run_service_pb2 import LogEntry
from tesserabench.v1.schedule_service_pb2 import Schedule

NOW = START + timedelta(minutes=5)
FORMATS = ("table", "wide", "json", "yaml", "csv")


def a_finding_of_the_history() -> Regression:
    """A step of the code that two series show."""
    slower = ComparisonEntry(metric="time", device="NVIDIA H100 80GB HBM3", change=0.08)
    slower.case.id, slower.case.suite, slower.case.benchmark = "gemm/square[n=4096]", "gemm", "gemm/square"
    other = ComparisonEntry(metric="time", device="NVIDIA H100 80GB HBM3", change=0.04)
    other.case.id, other.case.suite, other.case.benchmark = "gemm/batched[n=512]", "gemm", "gemm/batched"
    found = Regression(
        name="regressions/8",
        project="default",
        kind=FindingKind.FINDING_KIND_REGRESSION,
        state=RegressionState.REGRESSION_STATE_IGNORED,
        severity=Severity.SEVERITY_MAJOR,
        cause=CauseKind.CAUSE_KIND_CODE,
        evidence=slower,
        change=0.08,
        run="runs/40",
        member_count=2,
        members=[
            RegressionMember(evidence=slower, change=0.08, severity=Severity.SEVERITY_MAJOR, run="runs/40"),
            RegressionMember(evidence=other, change=0.04, severity=Severity.SEVERITY_MINOR, run="runs/41"),
        ],
        reproduce="tbctl run reproduce 40 --case 'gemm/square[n=4096]'",
        feedback=True,
        feedback_by="ann",
        policy="projects/default/policies/3",
    )
    found.next_steps.add(what="It is ignored until 2030-01-01 10:05 UTC, when it alerts again")
    found.next_steps.add(what="It is not over", command="tbctl regression reopen 8 --comment 'why'")
    found.create_time.FromDatetime(START)
    found.ignore_until.FromDatetime(NOW)
    told = found.attribution
    told.cause, told.confidence = CauseKind.CAUSE_KIND_CODE, 0.97
    told.evidence.extend(["Code: commit def5678; 2 of 6 series moved there by about +6.0 %, on 3 of 3 hosts."])
    told.commits.last_good_run, told.commits.last_good_commit = "runs/38", "abc1234abc"
    told.commits.first_bad_run, told.commits.first_bad_commit = "runs/40", "def5678def"
    told.commits.commits.extend(["1111111aaa", "def5678def"])
    told.commits.runs_between = 1
    told.environment.add(fact="driver", before="550", after="560", hosts=["node-1"])
    return found


def a_score() -> DetectorScore:
    """What people said of five findings, and what the gate said of identical code."""
    row = DetectorScoreRow(
        host_class="NVIDIA H100 80GB HBM3",
        kind=FindingKind.FINDING_KIND_REGRESSION,
        findings=5,
        right=3,
        wrong=1,
        precision=0.75,
        precision_low=0.301,
        precision_high=0.954,
        outcomes={"verified": 3, "false_positive": 1, "confirmed": 1},
        untriaged=1,
    )
    row.median_time_to_triage.FromSeconds(5400)
    rate = FalseAlarmRate(
        host_class="NVIDIA H100 80GB HBM3",
        comparisons=1204,
        false_alarms=3,
        rate=3 / 1204,
        rate_low=0.0008,
        rate_high=0.0073,
        limit_factor=1.0,
    )
    return DetectorScore(rows=[row], false_alarm_rates=[rate], remark="Marks inform people and move no limit.")


def a_regression() -> Regression:
    regression = Regression(
        name="regressions/7",
        project="default",
        state=RegressionState.REGRESSION_STATE_CONFIRMED,
        severity=Severity.SEVERITY_CRITICAL,
        evidence=an_entry(verdict="regressed", severity="critical"),
        run="runs/42",
        revision=Revision(commit="abc1234def5678", branch="main"),
        events=[
            RegressionEvent(
                state=RegressionState.REGRESSION_STATE_SUSPECTED, actor=Actor(name="detector"), run="runs/42"
            )
        ],
    )
    regression.create_time.FromDatetime(START)
    regression.events[0].time.FromDatetime(START)
    return regression


def a_host() -> Host:
    host = Host(
        name="hosts/gpu-07",
        state=HostState.HOST_STATE_READY,
        inventory=Inventory(
            cpu_model="AMD EPYC 9654",
            cpu_count=192,
            memory_bytes=2**40,
            os="Debian 12, 6.1.0",
            labels={"rack": "a1"},
            devices=[
                Device(uuid=f"GPU-{index}", kind="cuda", model="NVIDIA H100", index=index, memory_bytes=80 * 2**30)
                for index in range(2)
            ],
            suites=[SuiteInfo(name="gemm")],
        ),
        agent_version="0.1.0",
        clock_offset_seconds=0.0,
    )
    host.last_seen_time.FromDatetime(NOW - timedelta(seconds=3))
    return host


def a_suite() -> Suite:
    benchmark = BenchmarkInfo(name="matmul", summary="C = A B", devices=["cpu", "cuda"])
    benchmark.parameters["m"].values.extend(("256", "512"))
    info = SuiteInfo(name="gemm", summary="Matrix products", version="1", benchmarks=[benchmark])
    return Suite(name="suites/gemm", info=info, hosts=["gpu-07"])


def a_schedule() -> Schedule:
    schedule = Schedule(
        name="projects/default/schedules/nightly",
        spec=RunSpec(suite="gemm", tier=Tier.TIER_NIGHTLY),
        last_run="runs/42",
    )
    schedule.interval.FromSeconds(86_400)
    schedule.next_time.FromDatetime(NOW + timedelta(hours=2))
    schedule.last_success_time.FromDatetime(START)
    return schedule


def a_baseline() -> Baseline:
    baseline = Baseline(
        name="projects/default/baselines/branch:feature/a",
        suite="gemm",
        run="runs/42",
        revision=Revision(commit="abc1234def5678"),
        automatic=True,
    )
    baseline.update_time.FromDatetime(START)
    return baseline


def table(columns: Sequence[Column[Any]], rows: Sequence[Any], *, wide: bool = False) -> str:
    return render_table(columns, rows, wide=wide, width=100, color=False) + "\n"


RUNS = (
    a_run(state="running", number=43),
    a_run(verdict="regressed", severity="critical", number=42),
    a_run(outcome="no_eligible_host", reason="no host matches gpu=h100", number=41),
)

TABLES: dict[str, Callable[[], str]] = {
    "run_list": lambda: table(run_columns(NOW), RUNS),
    "run_list_wide": lambda: table(run_columns(NOW), RUNS, wide=True),
    "run_get": lambda: render_details(run_details(RUNS[1], NOW), color=False) + "\n",
    "regression_list": lambda: table(regression_columns(NOW), [a_regression()]),
    "regression_cause_get": lambda: (
        render_details(regression_details(a_finding_of_the_history(), NOW), color=False) + "\n"
    ),
    "regression_score": lambda: table(score_columns(), a_score().rows),
    "regression_get": lambda: render_details(regression_details(a_regression(), NOW), color=False) + "\n",
    "baseline_list": lambda: table(baseline_columns(NOW), [a_baseline()]),
    "schedule_list": lambda: table(schedule_columns(NOW), [a_schedule()]),
    "node_list": lambda: table(host_columns(NOW), [a_host()]),
    "node_describe": lambda: render_details(host_details(a_host(), NOW), color=False) + "\n",
    "suite_list": lambda: table(suite_columns(), [a_suite()]),
    "suite_describe": lambda: suite_text(a_suite()) + "\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_table_is_as_it_was(name: str) -> None:
    text = TABLES[name]()
    if not name.endswith(("_wide", "_get", "_describe")):
        assert max(map(len, text.splitlines())) <= 100
    assert_golden(f"cli/{name}.txt", text)


def a_rate(verdict: str, m: int = 512) -> ComparisonEntry:
    entry = an_entry(verdict=verdict, m=m, primary=False)
    entry.metric, entry.unit = "throughput", "FLOP/s"
    return entry


@pytest.fixture
def finished(collector: FakeCollector) -> FakeCollector:
    run = a_run(verdict="regressed", severity="critical", failures={"incorrect": 1})
    run.verdict_reason = "1 of 2 series regressed"
    collector.runs["runs/42"] = run
    collector.watch["runs/42"] = [run]
    collector.results["runs/42"] = [
        *(a_result(trial=trial, median_ns=1_234_000.0 + 10_000 * trial) for trial in range(3)),
        a_result(m=1024, outcome="incorrect"),
    ]
    collector.comparisons["runs/42"] = a_comparison(
        an_entry(verdict="regressed", severity="critical"),
        a_rate("regressed"),
        a_rate("regressed", m=256),
        a_rate("pass", m=1024),
        *(an_entry(m=m, verdict="inconclusive", reason="too_noisy") for m in (1024, 2048, 4096, 8192)),
        verdict="regressed",
        severity="critical",
        summary="1 of 2 series regressed",
    )
    collector.compared.CopyFrom(collector.comparisons["runs/42"])
    return collector


@pytest.mark.parametrize(
    ("name", "words", "status"),
    [
        ("report", ("run", "watch", "42", "--fail-on", "major"), 10),
        ("result_list", ("result", "list", "42"), 0),
        ("result_list_per_trial", ("result", "list", "42", "--per-trial"), 0),
        ("result_samples", ("result", "samples", "42"), 0),
        ("compare", ("compare", "41", "42"), 0),
        ("gate", ("gate", "--run", "42"), 10),
        ("explain_14", ("explain", "14"), 0),
        ("explain", ("explain",), 0),
    ],
)
def test_command_writes_what_it_wrote(
    name: str, words: tuple[str, ...], status: int, finished: FakeCollector, tbctl: Tbctl
) -> None:
    said = tbctl(*words)
    assert said.status == status, said.err
    tables = [line for line in said.out.splitlines() if not line.startswith(("  ", "run 42"))]
    assert max(map(len, tables)) <= 100
    assert_golden(f"cli/{name}.txt", said.out)


@pytest.mark.parametrize(
    "words",
    [
        ("run", "list"),
        ("run", "get", "42"),
        ("run", "watch", "42"),
        ("result", "list", "42"),
        ("result", "samples", "42"),
        ("compare", "41", "42"),
        ("gate", "--run", "42", "--fail-on", "none", "--no-fail-on-error"),
        ("regression", "list"),
        ("regression", "get", "7"),
        ("regression", "score"),
        ("regression", "ack", "7", "8"),
        ("baseline", "list"),
        ("node", "list"),
        ("node", "describe", "gpu-07"),
        ("suite", "list"),
        ("suite", "describe", "gemm"),
        ("schedule", "list"),
        ("version",),
        ("explain",),
        ("explain", "throttled"),
        ("doctor",),
        ("config", "view"),
        ("run", "trigger", "--suite", "gemm"),
        ("run", "cancel", "42"),
    ],
)
@pytest.mark.parametrize("output", FORMATS)
def test_every_format_of_every_command_can_be_read_back(
    words: tuple[str, ...], output: str, finished: FakeCollector, tbctl: Tbctl
) -> None:
    fill(finished)
    said = tbctl(*words, "-o", output)
    assert said.status in {0, 12}, said.err
    assert said.out
    if output == "json":
        document = json.loads(said.out)
        assert document["apiVersion"] == "tesserabench/v1"
        assert document["kind"]
    elif output == "yaml":
        assert yaml.safe_load(said.out)["apiVersion"] == "tesserabench/v1"
    elif output == "csv":
        rows = list(csv.reader(io.StringIO(said.out)))
        assert len({len(row) for row in rows}) == 1


def fill(collector: FakeCollector) -> None:
    collector.runs["runs/41"] = RUNS[2]
    collector.regressions["regressions/7"] = a_regression()
    collector.regressions["regressions/8"] = a_finding_of_the_history()
    collector.score = a_score()
    collector.hosts["hosts/gpu-07"] = a_host()
    collector.suites = [a_suite()]
    collector.schedules["projects/default/schedules/nightly"] = a_schedule()
    collector.baselines["projects/default/baselines/branch:feature/a"] = a_baseline()
    collector.info.roles.append("runner")


def test_stdout_carries_the_result_alone(finished: FakeCollector, tbctl: Tbctl) -> None:
    said = tbctl("run", "watch", "42", "-o", "json")
    assert json.loads(said.out)["gate"]["exit_name"] == "benchmark_failed"
    assert "finished" in said.err
    quiet = tbctl("-q", "run", "watch", "42", "-o", "json")
    assert quiet.err.splitlines() == [said.last_line]


def test_several_findings_are_answered_at_once(collector: FakeCollector, tbctl: Tbctl) -> None:
    fill(collector)
    said = tbctl("regression", "assign", "7", "9", "8", "--owner", "ann")
    assert said.status == 5
    assert said.out.count("-> assigned, owner ann") == 2, "one that is not there keeps no other one from it"
    assert "regressions/9" in said.err


def test_the_detectors_score_tells_what_it_does_to_limits(collector: FakeCollector, tbctl: Tbctl) -> None:
    fill(collector)
    said = tbctl("regression", "score")
    assert "75 % (30 to 95 %)" in said.out
    assert "False alarms of identical code on NVIDIA H100 80GB HBM3: 3 of 1204, 0.2 % (0.1 % to 0.7 %)." in said.out
    assert "Marks inform people and move no limit." in said.out


def test_report_tells_programs_how_it_ended_and_how_to_see_it_again(
    finished: FakeCollector, tbctl: Tbctl, tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    said = tbctl("run", "watch", "42", "--fail-on", "major", "--json", str(path))
    report = json.loads(path.read_text())
    assert said.status == report["gate"]["exit_code"] == 10
    assert report["kind"] == "RunReport"
    assert report["comparison"]["entries"][0]["change"] == 0.12
    (line,) = report["gate"]["reproduce"].values()
    assert line in said.out
    assert report["results"][0]["result"]["measurements"][0]["unit"] == "ns"


def test_report_that_cannot_be_written_is_an_error(finished: FakeCollector, tbctl: Tbctl) -> None:
    said = tbctl("run", "watch", "42", "--json", "/no/such/folder/report.json")
    assert said.status in {1, 2}
    assert "/no/such/folder/report.json" in said.err


def test_csv_of_results_is_plain_numbers(finished: FakeCollector, tbctl: Tbctl) -> None:
    rows = list(csv.DictReader(io.StringIO(tbctl("result", "list", "42", "-o", "csv").out)))
    assert (rows[0]["median"], rows[0]["unit"], rows[0]["trials"]) == ("1244000", "ns", "3")
    assert (rows[1]["outcome"], rows[1]["median"], rows[1]["ci_low"]) == ("incorrect", "", "")


def test_long_ids_are_whole_in_wide(finished: FakeCollector, tbctl: Tbctl) -> None:
    case = "gemm/matmul[m=512,n=512,k=512,dtype=float32]"
    assert case in tbctl("result", "list", "42", "-o", "wide").out
    assert case in tbctl("compare", "41", "42", "-o", "wide").out


def test_metrics_that_do_not_decide_are_for_wide_tables_and_programs(finished: FakeCollector, tbctl: Tbctl) -> None:
    assert len(json.loads(tbctl("compare", "41", "42", "-o", "json").out)["entries"]) == 8
    assert len(tbctl("compare", "41", "42", "-o", "csv").out.splitlines()) == 9
    titles = tbctl("compare", "41", "42", "-o", "csv").out.splitlines()[0].split(",")
    assert {"p_value", "q_value", "confirmed"} <= set(titles)
    assert " FLOP/s" in tbctl("compare", "41", "42", "-o", "wide").out
    assert " FLOP/s" not in tbctl("compare", "41", "42").out


def test_colours_are_for_terminals_alone(finished: FakeCollector, tbctl: Tbctl) -> None:
    assert "\x1b[" not in tbctl("run", "watch", "42").out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("regression", "ack", "7", "--owner", "ann"), "confirmed -> acknowledged, owner ann"),
        (("regression", "ignore", "7", "--comment", "x"), "confirmed -> ignored"),
        (("regression", "resolve", "7"), "confirmed -> fixed"),
        (("regression", "resolve", "7", "--as", "false-positive"), "confirmed -> false_positive"),
        (("regression", "resolve", "7", "--as", "duplicate", "--of", "3"), "confirmed -> duplicate"),
        (("regression", "assign", "7", "--owner", "bob"), "confirmed -> assigned, owner bob"),
        (("regression", "ignore", "7", "--comment", "x", "--until", "14d"), "confirmed -> ignored"),
        (("regression", "accept", "7", "--comment", "x"), "confirmed -> accepted"),
        (("regression", "comment", "7", "seen elsewhere too"), "stays confirmed"),
        (("regression", "feedback", "7", "false"), "stays confirmed, the detector was wrong"),
        (("regression", "reopen", "7"), "stays confirmed"),
        (("node", "cordon", "gpu-07", "--reason", "fan"), "host gpu-07: in use -> cordoned (fan)"),
        (("node", "uncordon", "gpu-07"), "host gpu-07: stays in use"),
        (("baseline", "set", "v1", "42", "--pin"), "baseline v1 (gemm): run 42, pinned"),
        (("baseline", "set", "branch:feature/a", "41"), "baseline branch:feature/a (gemm): run 42 -> run 41"),
        (("baseline", "pin", "branch:feature/a"), "pinned at run 42"),
        (("baseline", "unpin", "branch:feature/a"), "no longer pinned; at run 42"),
        (("baseline", "show", "branch:feature/a"), "Kept by:   collector"),
        (("schedule", "create", "often", "--every", "15m", "--suite", "gemm"), "schedule often: created, every 15m00s"),
        (("schedule", "pause", "nightly"), "schedule nightly: paused"),
        (("schedule", "resume", "nightly"), "schedule nightly: goes on, next "),
        (("schedule", "delete", "nightly"), "schedule nightly: deleted; its runs stay"),
        (("run", "cancel", "42"), "run 42: had finished already (ok); nothing changed"),
        (("run", "cancel", "43"), "run 43: running -> finished (cancelled)"),
        (("run", "retry", "42"), "42   gemm"),
    ],
)
def test_change_says_what_changed(words: tuple[str, ...], says: str, finished: FakeCollector, tbctl: Tbctl) -> None:
    fill(finished)
    finished.runs["runs/43"] = a_run(state="running", number=43)
    finished.created = a_run(state="queued")
    said = tbctl(*words)
    assert said.status == 0, said.err
    assert says in said.out


def test_empty_lists_are_no_error(collector: FakeCollector, tbctl: Tbctl) -> None:
    for noun in ("run", "regression", "baseline", "node", "suite", "schedule"):
        said = tbctl(noun, "list")
        assert (said.status, said.out) == (0, "")
        assert said.err.startswith("no ")
    assert tbctl("regression", "list", "--exit-code").status == 0


def test_regression_list_may_end_as_a_gate(finished: FakeCollector, tbctl: Tbctl) -> None:
    fill(finished)
    assert tbctl("regression", "list").status == 0
    assert tbctl("regression", "list", "--exit-code").status == 10
    assert tbctl("regression", "list", "--exit-code", "--exit-mode", "severity").status == 3


def test_logs_are_lines_for_people_and_objects_for_programs(finished: FakeCollector, tbctl: Tbctl) -> None:
    finished.logs = [LogEntry(host="gpu-07", trial=1, source="stderr", text="a\tb\x1b[2J"), LogEntry(source="agent")]
    said = tbctl("run", "logs", "42")
    assert said.out.splitlines()[0] == "- gpu-07 trial 1 stderr | a   b\N{REPLACEMENT CHARACTER}[2J"
    assert len(json.loads(tbctl("run", "logs", "42", "-o", "json").out)["items"]) == 2
    followed = tbctl("run", "logs", "42", "--follow", "-o", "json").out.splitlines()
    assert json.loads(followed[0])["text"] == "a\tb\x1b[2J"


def test_doctor_names_what_is_wrong_and_the_remedy(collector: FakeCollector, tbctl: Tbctl) -> None:
    collector.info.server_time.FromDatetime(datetime(2020, 1, 1, tzinfo=UTC))
    collector.info.schema_versions.append(99)
    said = tbctl("doctor", "-o", "json")
    checks = {check["name"]: check for check in json.loads(said.out)["items"]}
    assert said.status == 1
    assert "failed: clock, schema" in said.last_line
    assert checks["clock"]["remedy"] == "let NTP set both clocks"
    assert checks["rights"]["status"] == "warn"
    assert checks["hosts"]["status"] == "warn"


def test_doctor_is_content_with_a_healthy_fleet(finished: FakeCollector, tbctl: Tbctl) -> None:
    fill(finished)
    said = tbctl("doctor")
    assert said.status == 0, said.err
    assert "1 ready" in said.out
    assert "answers in" in said.out


def test_doctor_shows_what_it_found_before_it_failed(collector: FakeCollector, tbctl: Tbctl) -> None:
    collector.stop()
    said = tbctl("doctor", "--retries", "0")
    assert said.status == 7
    assert said.out.startswith("ok    settings")
    assert "fail  collector" in said.out
