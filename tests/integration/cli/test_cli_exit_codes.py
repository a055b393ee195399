"""Every exit code of the published table, reached through tbctl's real entry point."""

from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
import pytest
from support.contract_values import a_comparison, a_result, a_run, an_entry
from support.fake_services import FakeCollector
from support.tbctl import Tbctl
from tesserabench.cli.exit_codes import ExitCode
from tesserabench.wire.reasons import Reason

WAIT = ("run", "trigger", "--suite", "gemm", "--wait")


@dataclass(frozen=True, kw_only=True)
class Situation:
    code: ExitCode
    line: tuple[str, ...]
    prepare: Callable[[FakeCollector], None] = field(default=lambda fake: None)
    says: str = ""
    shared: tuple[str, ...] = ("--retries", "0")


def ended(fake: FakeCollector, **facts: object) -> None:
    """Let the run of the next trigger end like this."""
    verdict, severity = str(facts.get("verdict", "")), str(facts.get("severity", ""))
    fake.watch["runs/42"] = [a_run(state="running"), a_run(**facts)]  # type: ignore[arg-type]
    fake.results["runs/42"] = [a_result()]
    if verdict:
        reason = str(facts.get("why", ""))
        entry = an_entry(verdict=verdict, severity=severity, reason=reason)
        fake.comparisons["runs/42"] = a_comparison(entry, verdict=verdict, severity=severity)


def judged_inconclusive(fake: FakeCollector, reason: str) -> None:
    ended(fake, verdict="inconclusive")
    entry = an_entry(verdict="inconclusive", reason=reason)
    fake.comparisons["runs/42"] = a_comparison(entry, verdict="inconclusive")


def pending(fake: FakeCollector) -> None:
    fake.runs["runs/42"] = a_run(state="running")


SITUATIONS = {
    "passed": Situation(
        code=ExitCode.DONE,
        line=(*WAIT, "--fail-on", "major"),
        prepare=lambda fake: ended(fake, verdict="pass"),
    ),
    "below the gate": Situation(
        code=ExitCode.DONE,
        line=(*WAIT, "--fail-on", "major"),
        prepare=lambda fake: ended(fake, verdict="regressed", severity="minor"),
    ),
    "no gate asked for": Situation(
        code=ExitCode.DONE,
        line=WAIT,
        prepare=lambda fake: ended(fake, verdict="regressed", severity="critical"),
    ),
    "the collector's own fault": Situation(
        code=ExitCode.FAILURE,
        line=("run", "list"),
        prepare=lambda fake: fake.fail("ListRuns", grpc.StatusCode.INTERNAL, "a fault", reason=Reason.INTERNAL),
        says="a fault (INTERNAL)",
    ),
    "unknown option": Situation(code=ExitCode.USAGE, line=("run", "list", "--colour"), says="--colour"),
    "unknown command": Situation(code=ExitCode.USAGE, line=("run", "lst"), says="did you mean 'list'?"),
    "no command": Situation(code=ExitCode.USAGE, line=("run",), says="no command was given"),
    "not an output": Situation(
        code=ExitCode.USAGE, line=("run", "list", "-o", "xml"), says="--output: 'xml' is not one of"
    ),
    "unknown suite": Situation(
        code=ExitCode.USAGE,
        line=("run", "trigger", "--suite", "gem"),
        prepare=lambda fake: fake.fail(
            "CreateRun",
            grpc.StatusCode.INVALID_ARGUMENT,
            "no host knows the suite 'gem'",
            reason=Reason.UNKNOWN_SUITE,
            fields=(("spec.suite", "'gem' is unknown; known: gemm"),),
        ),
        says="no host knows the suite 'gem' (UNKNOWN_SUITE)",
    ),
    "pinned": Situation(
        code=ExitCode.USAGE,
        line=("baseline", "set", "v1", "42"),
        prepare=lambda fake: fake.fail(
            "SetBaseline", grpc.StatusCode.FAILED_PRECONDITION, "v1 is pinned", reason=Reason.BASELINE_PINNED
        ),
        says="BASELINE_PINNED",
    ),
    "not logged in": Situation(
        code=ExitCode.FORBIDDEN,
        line=("run", "list"),
        prepare=lambda fake: fake.fail("ListRuns", grpc.StatusCode.UNAUTHENTICATED, "a token is wanted"),
        says="TBCTL_TOKEN",
    ),
    "forbidden": Situation(
        code=ExitCode.FORBIDDEN,
        line=("node", "cordon", "gpu-07", "--reason", "x"),
        prepare=lambda fake: fake.fail(
            "GetHost", grpc.StatusCode.PERMISSION_DENIED, "the role admin is wanted", reason=Reason.ROLE_MISSING
        ),
        says="ROLE_MISSING",
    ),
    "no such run": Situation(code=ExitCode.NOT_FOUND, line=("run", "get", "43"), says="runs/43 does not exist"),
    "no results": Situation(
        code=ExitCode.NOT_FOUND,
        line=("result", "list", "42"),
        prepare=lambda fake: fake.runs.update({"runs/42": a_run()}),
        says="has no results",
    ),
    "a run without results": Situation(
        code=ExitCode.NOT_FOUND,
        line=WAIT,
        prepare=lambda fake: fake.watch.update({"runs/42": [a_run()]}),
        says="--allow-empty",
    ),
    "a gate on a run that was never judged": Situation(
        code=ExitCode.NOT_FOUND,
        line=("gate", "--run", "42"),
        prepare=lambda fake: fake.runs.update({"runs/42": a_run()}),
        says="was never judged",
    ),
    "a gate on a run that was cancelled": Situation(
        code=ExitCode.CANCELLED,
        line=("gate", "--run", "42"),
        prepare=lambda fake: fake.runs.update({"runs/42": a_run(outcome="cancelled")}),
    ),
    "waited too long": Situation(
        code=ExitCode.WAIT_TIMEOUT,
        line=(*WAIT, "--timeout", "300ms"),
        prepare=lambda fake: fake.watch.update({"runs/42": [a_run(state="running")]}),
        says="tbctl run watch 42",
    ),
    "not reachable": Situation(
        code=ExitCode.UNREACHABLE,
        line=("run", "list"),
        prepare=lambda fake: fake.stop(),
        says="cannot be reached",
    ),
    "no database": Situation(
        code=ExitCode.UNREACHABLE,
        line=("run", "list"),
        prepare=lambda fake: fake.fail(
            "ListRuns", grpc.StatusCode.UNAVAILABLE, "no database", reason=Reason.DATABASE_UNAVAILABLE
        ),
        says="no database (DATABASE_UNAVAILABLE)",
    ),
    "gate on a pending run": Situation(
        code=ExitCode.PENDING, line=("gate", "--run", "42"), prepare=pending, says="run 42 is running"
    ),
    "results of a pending run": Situation(
        code=ExitCode.PENDING, line=("result", "list", "42"), prepare=pending, says="has no results yet"
    ),
    "comparison with a pending run": Situation(
        code=ExitCode.PENDING,
        line=("compare", "41", "42"),
        prepare=lambda fake: fake.fail(
            "Compare", grpc.StatusCode.FAILED_PRECONDITION, "run 42 is running", reason=Reason.RUN_PENDING
        ),
    ),
    "cancelled": Situation(
        code=ExitCode.CANCELLED,
        line=WAIT,
        prepare=lambda fake: ended(fake, outcome="cancelled", reason="wrong branch"),
        says="wrong branch",
    ),
    "regressed": Situation(
        code=ExitCode.REGRESSION,
        line=(*WAIT, "--fail-on", "major"),
        prepare=lambda fake: ended(fake, verdict="regressed", severity="critical"),
        says="gate failed: 1 regression",
    ),
    "regressed, by gate": Situation(
        code=ExitCode.REGRESSION,
        line=("gate", "--run", "42"),
        prepare=lambda fake: (
            fake.runs.update({"runs/42": a_run(verdict="regressed", severity="minor")}),
            fake.comparisons.update(
                {
                    "runs/42": a_comparison(
                        an_entry(verdict="regressed", severity="minor"), verdict="regressed", severity="minor"
                    )
                }
            ),
        )[0],
    ),
    "regressed, by comparison": Situation(
        code=ExitCode.REGRESSION,
        line=("compare", "41", "42", "--exit-code"),
        prepare=lambda fake: fake.compared.CopyFrom(
            a_comparison(an_entry(verdict="regressed", severity="major"), verdict="regressed", severity="major")
        ),
    ),
    "regression beats a failed case": Situation(
        code=ExitCode.REGRESSION,
        line=(*WAIT, "--fail-on", "any"),
        prepare=lambda fake: ended(fake, verdict="regressed", severity="critical", failures={"incorrect": 1}),
    ),
    "inconclusive": Situation(
        code=ExitCode.INCONCLUSIVE,
        line=(*WAIT, "--fail-on-inconclusive"),
        prepare=lambda fake: judged_inconclusive(fake, "too_noisy"),
        says="1 too_noisy",
    ),
    "inconclusive is no failure by itself": Situation(
        code=ExitCode.DONE, line=WAIT, prepare=lambda fake: judged_inconclusive(fake, "too_noisy")
    ),
    "a wrong result": Situation(
        code=ExitCode.BENCHMARK_FAILED,
        line=WAIT,
        prepare=lambda fake: ended(fake, failures={"incorrect": 2}),
        says="2 incorrect",
    ),
    "a wrong result that does not matter": Situation(
        code=ExitCode.DONE,
        line=(*WAIT, "--no-fail-on-error"),
        prepare=lambda fake: ended(fake, failures={"incorrect": 2}),
    ),
    "no host": Situation(
        code=ExitCode.NO_HOST,
        line=WAIT,
        prepare=lambda fake: ended(fake, outcome="no_eligible_host", reason="no host matches gpu=h100"),
        says="no host matches gpu=h100",
    ),
    "throttled": Situation(
        code=ExitCode.ENVIRONMENT,
        line=WAIT,
        prepare=lambda fake: ended(fake, failures={"throttled": 1}),
        says="1 throttled",
    ),
    "environments that do not compare": Situation(
        code=ExitCode.ENVIRONMENT,
        line=(*WAIT, "--fail-on-inconclusive"),
        prepare=lambda fake: judged_inconclusive(fake, "environment_mismatch"),
        says="1 environment_mismatch",
    ),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_situation_ends_with_its_code_and_names_it(name: str, collector: FakeCollector, tbctl: Tbctl) -> None:
    situation = SITUATIONS[name]
    situation.prepare(collector)
    said = tbctl(*situation.shared, *situation.line)
    assert said.status == situation.code, said.err
    if situation.code:
        assert said.last_line.startswith(f"exit {int(situation.code)}: ")
    assert situation.says in said.err
    assert "Traceback" not in said.err


def test_table_reaches_every_code_but_the_interrupt_which_needs_a_signal() -> None:
    reached = {situation.code for situation in SITUATIONS.values()}
    assert reached == set(ExitCode) - {ExitCode.INTERRUPTED}


@pytest.mark.parametrize(
    ("mode", "line", "prepare", "status"),
    [
        ("simple", WAIT, lambda fake: ended(fake, verdict="regressed", severity="major"), 0),
        ("simple", (*WAIT, "--fail-on", "any"), lambda fake: ended(fake, verdict="regressed", severity="major"), 1),
        ("severity", WAIT, lambda fake: ended(fake, verdict="pass"), 0),
        ("severity", WAIT, lambda fake: ended(fake, verdict="regressed", severity="minor"), 1),
        ("severity", WAIT, lambda fake: ended(fake, verdict="regressed", severity="major"), 2),
        ("severity", WAIT, lambda fake: ended(fake, verdict="regressed", severity="critical"), 3),
        ("severity", WAIT, lambda fake: ended(fake, failures={"incorrect": 1}), 4),
        ("severity", ("run", "lst"), lambda fake: None, 4),
    ],
)
def test_other_scales_of_the_status(
    mode: str,
    line: tuple[str, ...],
    prepare: Callable[[FakeCollector], None],
    status: int,
    collector: FakeCollector,
    tbctl: Tbctl,
) -> None:
    prepare(collector)
    said = tbctl(*line, "--exit-mode", mode)
    assert said.status == status, said.err
    if status:
        assert f"({mode} mode; standard " in said.last_line or said.status == 1


def test_unexpected_fault_is_one_line_without_a_traceback(tbctl: Tbctl, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **keywords: object) -> None:
        raise ZeroDivisionError("a\nfault")

    monkeypatch.setattr("tesserabench.cli.commands.run.read_pages", broken)
    said = tbctl("run", "list")
    assert said.status == 1
    assert said.err == "exit 1: unexpected ZeroDivisionError: a fault; run it again with -v to see where\n"
    assert "Traceback" in tbctl("run", "list", "-v").err
