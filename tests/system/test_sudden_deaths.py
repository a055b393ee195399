"""Agent, collector and PostgreSQL are killed in the middle of a run: every measurement arrives exactly once."""

import os
import signal
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.fleet import Fleet
from support.waiting import wait_until
from tesserabench.collector.store.folder import Folder, running_dsn

pytestmark = pytest.mark.system

# Virtual time passes at a pace that makes a trial last about a second, so that there is a middle to be killed in.
SCENARIO = 'name = "lasting"\nreal_time_factor = 0.5\n'
SETTINGS = {
    "TESSERABENCH_COLLECTOR_FLEET__HEARTBEAT_SECONDS": "1",
    "TESSERABENCH_COLLECTOR_FLEET__LEASE_SECONDS": "4",
    "TESSERABENCH_COLLECTOR_FLEET__ORPHAN_GRACE_SECONDS": "2",
    "TESSERABENCH_COLLECTOR_FLEET__LOST_AFTER_SECONDS": "6",
}
AGENT = {"TESSERABENCH_AGENT_LINK__RETRY_MAX": "1"}
FINISH_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Log:
    """How much of an attempt's epoch there is."""

    attempt: str
    epoch: int
    records: int
    cases: int


@pytest.fixture
def fleet(tmp_path: Path) -> Any:
    with Fleet(tmp_path, collector_settings=SETTINGS, durable=True) as fleet:
        fleet.start_collector()
        start_agent(fleet)
        fleet.wait_for_hosts("alpha")
        yield fleet


def test_an_agent_killed_in_a_run_repeats_it_and_loses_nothing(fleet: Fleet) -> None:
    run = trigger(fleet)
    wait_for_cases(fleet, run, at_least=3)
    fleet.agents["alpha"].kill()
    start_agent(fleet)

    finished = wait_for_end(fleet, run)
    assert finished["outcome"] == "ok"
    assert [attempt["epoch"] for attempt in finished["attempts"]] == [2]
    assert_each_record_arrived_once(fleet)
    # What was measured before the death is kept, and told apart.
    results = fleet.tbctl_json("result", "list", run)["items"]
    assert {result["epoch"] for result in results if not result.get("late")} == {2}


def test_a_collector_killed_during_an_upload_gets_everything_after_its_return(fleet: Fleet) -> None:
    run = trigger(fleet)
    wait_for_cases(fleet, run, at_least=3)
    assert fleet.collector is not None
    fleet.collector.kill()
    journal_before = sum(log.cases for log in spooled(fleet))
    # The agent measures on while there is nobody to send to.
    wait_until(lambda: sum(log.cases for log in spooled(fleet)) > journal_before, seconds=30, what="more cases on disk")
    fleet.start_collector()

    finished = wait_for_end(fleet, run)
    assert finished["outcome"] == "ok"
    assert [attempt["epoch"] for attempt in finished["attempts"]] == [1]
    assert_each_record_arrived_once(fleet)


def test_a_database_killed_during_an_upload_gets_everything_after_its_return(fleet: Fleet) -> None:
    run = trigger(fleet)
    wait_for_cases(fleet, run, at_least=3)
    postmaster = Folder(root=fleet.collector_state / "postgres").running_pid()
    assert postmaster is not None
    os.kill(postmaster, signal.SIGKILL)

    finished = wait_for_end(fleet, run)
    assert finished["outcome"] == "ok"
    assert [attempt["epoch"] for attempt in finished["attempts"]] == [1]
    assert_each_record_arrived_once(fleet)


def test_a_run_whose_host_never_comes_back_ends_with_an_outcome_and_a_reason(fleet: Fleet) -> None:
    done = fleet.tbctl(*TRIGGER, "--deadline", "12s", "-o", "json")
    assert done.returncode == 0, done.stderr
    run = newest_run(fleet)
    wait_for_cases(fleet, run, at_least=1)
    fleet.agents["alpha"].kill()

    finished = wait_for_end(fleet, run)
    assert finished["outcome"] in {"interrupted", "no_eligible_host"}
    assert "alpha" in finished["reason"]
    watched = fleet.tbctl("run", "watch", run)
    assert watched.returncode in {12, 13}, watched.stderr
    assert "alpha" in watched.stdout + watched.stderr


TRIGGER = (
    "run",
    "trigger",
    "--suite",
    "core",
    "--tier",
    "smoke",
    "--device",
    "simulated",
    "--repeat",
    "6",
    "--no-wait",
)


def start_agent(fleet: Fleet) -> None:
    scenario = fleet.directory / "scenario.toml"
    scenario.write_text(SCENARIO)
    fleet.start_agent("alpha", TESSERABENCH_AGENT_SIMULATED_SCENARIO=str(scenario), **AGENT)


def trigger(fleet: Fleet) -> str:
    done = fleet.tbctl(*TRIGGER, "--branch", "main", "--commit", "abcdef12")
    assert done.returncode == 0, done.stderr
    return newest_run(fleet)


def newest_run(fleet: Fleet) -> str:
    name: str = fleet.tbctl_json("run", "list")["items"][0]["name"]
    return name.removeprefix("runs/")


def wait_for_cases(fleet: Fleet, run: str, *, at_least: int) -> None:
    wait_until(
        lambda: fleet.tbctl_json("run", "get", run)["progress"].get("cases_done", 0) >= at_least,
        seconds=60,
        what=f"{at_least} cases of run {run}",
    )


def wait_for_end(fleet: Fleet, run: str) -> Any:
    def ended() -> Any:
        found = fleet.tbctl("run", "get", run, "-o", "json", "--retries", "0")
        if found.returncode:
            return None
        told = fleet.tbctl_json("run", "get", run)
        return told if told["state"] == "finished" else None

    return wait_until(ended, seconds=FINISH_SECONDS, what=f"the end of run {run}", every=0.5)


def spooled(fleet: Fleet) -> list[Log]:
    """What the agent ever wrote to its disk, by its own book."""
    book = sqlite3.connect(f"file:{fleet.directory / 'agent-alpha' / 'spool.db'}?mode=ro", uri=True)
    try:
        rows = book.execute("SELECT name, epoch, records_written, cases_written FROM journal").fetchall()
    finally:
        book.close()
    return sorted((Log(*row) for row in rows), key=lambda log: (log.attempt, log.epoch))


def stored(fleet: Fleet) -> list[Log]:
    """What the database holds."""
    dsn = running_dsn(fleet.collector_state / "postgres")
    assert dsn is not None
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT format('runs/%s/attempts/%s', a.run_id, a.id), l.epoch, l.committed_sequence,"
            " (SELECT count(*) FROM case_result c WHERE c.attempt_id = l.attempt_id AND c.epoch = l.epoch)"
            " FROM ingest_log l JOIN attempt a ON a.id = l.attempt_id"
        ).fetchall()
        twice = connection.execute(
            "SELECT attempt_id, epoch, trial, case_id, mode FROM case_result GROUP BY 1, 2, 3, 4, 5 HAVING count(*) > 1"
        ).fetchall()
    assert twice == []
    return sorted((Log(*row) for row in rows), key=lambda log: (log.attempt, log.epoch))


def assert_each_record_arrived_once(fleet: Fleet) -> None:
    written = spooled(fleet)
    assert sum(log.cases for log in written) >= 30
    wait_until(lambda: stored(fleet) == spooled(fleet), seconds=30, what="the database to hold what the disk logs held")
