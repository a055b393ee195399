"""Wrong requests, settings and records against real processes: each is answered clearly, and nothing good is lost."""

import datetime as dt
import math
import socket
import subprocess
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from support import uploads
from support.fleet import BIN, Fleet
from tesserabench.collector.store.folder import running_dsn
from tesserabench.v1 import agent_service_pb2, host_pb2, run_pb2, run_service_pb2
from tesserabench.v1 import ingest_service_pb2 as pb
from tesserabench.v1.agent_service_pb2_grpc import AgentServiceStub
from tesserabench.v1.ingest_service_pb2_grpc import IngestServiceStub
from tesserabench.v1.run_service_pb2_grpc import RunServiceStub
from tesserabench.wire import MAX_MESSAGE_BYTES, SCHEMA_VERSION

pytestmark = pytest.mark.system

SECONDS = 30
SIMULATED = ("--device", "simulated", "--tier", "smoke")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A collector and one agent for the whole module; nothing that is asked of them may leave a traceback behind."""
    with Fleet(tmp_path_factory.mktemp("bad_input")) as fleet:
        fleet.start_collector()
        fleet.start_agent("alpha")
        fleet.wait_for_hosts("alpha")
        yield fleet
        assert fleet.collector is not None
        for daemon in (fleet.collector, fleet.agents["alpha"]):
            assert daemon.running
            log = daemon.log.read_text()
            assert "Traceback" not in log, log


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a caller is told on the wire."""

    code: grpc.StatusCode
    reason: str
    sentence: str


class Stranger:
    """An agent of another make: a host with a suite of its own, whose attempts nobody else takes."""

    def __init__(self, address: str) -> None:
        # A client that sets no limit of its own.
        self._channel = grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)])
        self.agents, self.ingest = AgentServiceStub(self._channel), IngestServiceStub(self._channel)
        self.runs = RunServiceStub(self._channel)
        self.host = f"stranger-{uuid.uuid4().hex[:8]}"
        self.process_id = uuid.uuid4().hex

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def register(self, *, schema_version: int = SCHEMA_VERSION) -> None:
        """Announce the host."""
        suite = host_pb2.SuiteInfo(name=self.host, benchmarks=[host_pb2.BenchmarkInfo(name="matmul", devices=["cpu"])])
        inventory = host_pb2.Inventory(devices=[host_pb2.Device(uuid="cpu-0", kind="cpu")], suites=[suite])
        request = agent_service_pb2.RegisterRequest(
            host=self.host,
            process_id=self.process_id,
            agent_version="9.9.9",
            schema_version=schema_version,
            inventory=inventory,
        )
        self.agents.Register(request, timeout=SECONDS)

    def take_attempt(self) -> pb.UploadHeader:
        """Ask for a run that only this host can take, and hold its attempt."""
        spec = run_pb2.RunSpec(suite=self.host, device="cpu")
        self.runs.CreateRun(run_service_pb2.CreateRunRequest(spec=spec), timeout=SECONDS)
        beat = agent_service_pb2.SyncRequest(
            host=self.host, process_id=self.process_id, max_wait=Duration(seconds=SECONDS - 5)
        )
        (assignment,) = self.agents.Sync(beat, timeout=SECONDS).assignments
        held = agent_service_pb2.HeldAttempt(name=assignment.name, epoch=assignment.epoch)
        self.agents.Sync(
            agent_service_pb2.SyncRequest(host=self.host, process_id=self.process_id, held=[held]), timeout=SECONDS
        )
        return pb.UploadHeader(
            host=self.host, attempt=assignment.name, epoch=assignment.epoch, schema_version=SCHEMA_VERSION
        )

    def upload(self, header: pb.UploadHeader, *batches: pb.RecordBatch) -> tuple[int, Refusal | None]:
        """Upload batches on one stream: the last committed sequence, and how the stream was refused."""
        requests = [pb.UploadRequest(header=header), *(pb.UploadRequest(batch=batch) for batch in batches)]
        committed = 0
        try:
            for answer in self.ingest.Upload(iter(requests), timeout=SECONDS):
                committed = answer.committed_sequence
        except grpc.RpcError as error:
            return committed, refusal(error)
        return committed, None


@pytest.fixture
def stranger(fleet: Fleet) -> Iterator[Stranger]:
    with closing(Stranger(fleet.addresses.grpc)) as stranger:
        yield stranger


# What people type


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (("--suite", "cpre"), ("spec.suite", "'cpre'", "did you mean core", "UNKNOWN_SUITE")),
        (
            ("--suite", "core", "--set", "matmul.nn=64"),
            (
                "spec.overrides[0].parameter",
                "'matmul.nn'",
                "has no parameter 'nn'",
                "did you mean",
                "UNKNOWN_PARAMETER",
            ),
        ),
        (
            ("--suite", "core", "--set", "matmull.n=64"),
            ("spec.overrides[0].parameter", "'matmull.n'", "did you mean", "UNKNOWN_PARAMETER"),
        ),
        (
            ("--suite", "core", "--selector", "gpu>>h100"),
            ("spec.selector.conditions[0]", "'gpu>>h100'", "INVALID_FIELD"),
        ),
        (("--suite", "core", "--device", "tpu"), ("spec.device", "'tpu'", "give auto, cpu, cuda", "INVALID_FIELD")),
        (("--suite", "core", "--commit", "HEAD~1"), ("revision.commit", "'HEAD~1'", "hexadecimal", "INVALID_FIELD")),
    ],
)
def test_a_wrong_request_is_refused_with_field_value_and_remedy(
    fleet: Fleet, typed: tuple[str, ...], told: tuple[str, ...]
) -> None:
    before = run_count(fleet)
    done = fleet.tbctl("run", "trigger", *typed)
    assert_told(done, 2, *told)
    assert run_count(fleet) == before


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (("--set", "matmul.n=-5"), ("gemm/matmul.n is '-5'", "a whole number above zero")),
        (("--set", "matmul.dtype=int3"), ("gemm/matmul.dtype is 'int3'", "must be one of: float32")),
        (
            ("--benchmark", "nothing_of_ours"),
            ("include 'nothing_of_ours'", "leaves none of the 5 cases", "first is gemm"),
        ),
        (("--benchmark", "(.*.*.*.*.*.*.*.*.*.*)*ZZZ$"), ("include is", "more than 2 s", "nested repetitions")),
    ],
)
def test_a_request_that_only_the_host_can_judge_ends_its_run_with_the_reason(
    fleet: Fleet, typed: tuple[str, ...], told: tuple[str, ...]
) -> None:
    done = fleet.tbctl("run", "trigger", "--suite", "core", *SIMULATED, *typed, "--wait")
    assert_told(done, 12, "UNSUPPORTED", *told)


def test_after_all_these_requests_the_host_measures(fleet: Fleet) -> None:
    done = fleet.tbctl("run", "trigger", "--suite", "core", *SIMULATED, "--benchmark", "triad", "--wait")
    assert done.returncode == 0, done.stderr


def test_an_unreachable_collector_is_named_with_its_address_and_what_to_check(fleet: Fleet) -> None:
    with socket.socket() as taken:
        # Bound, so that nobody else takes the port, and not listening.
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = fleet.tbctl("run", "list", "--server", address, "--retries", "1")
    assert_told(done, 7, f"the collector at http://{address} cannot be reached after 2 attempts", "tbctl doctor")


# Settings files


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("listen = [\n", ("is no TOML", "mend that place")),
        ("hots = 'alpha'\n", ("key hots", "there is no such setting", "did you mean host?")),
        ("[link]\nwindow = 'many'\n", ("key link.window is 'many'", "valid integer")),
    ],
)
def test_a_broken_settings_file_of_the_agent_names_file_key_value_and_remedy(
    tmp_path: Path, text: str, told: tuple[str, ...]
) -> None:
    assert_told(daemon(tmp_path, "agent", "run", text), 2, str(tmp_path / "settings.toml"), *told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("grpc_listen = [\n", ("is no TOML", "mend that place")),
        ("grpc_lisen = '127.0.0.1:0'\n", ("key grpc_lisen", "there is no such setting", "did you mean grpc_listen?")),
        ("grpc_listen = 'everywhere'\n", ("key grpc_listen is 'everywhere'", "write HOST:PORT")),
        ("[fleet]\nlease_seconds = -3\n", ("key fleet.lease_seconds is -3", "greater than 0")),
    ],
)
def test_a_broken_settings_file_of_the_collector_names_file_key_value_and_remedy(
    tmp_path: Path, text: str, told: tuple[str, ...]
) -> None:
    assert_told(daemon(tmp_path, "collector", "serve", text), 2, str(tmp_path / "settings.toml"), *told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("defaults: [\n", ("no valid YAML at line 2", "correct that line")),
        ("servr: x\n", ("unknown key 'servr'", "allowed here: current-context, contexts, defaults")),
        ("defaults:\n  retries: many\n", ("retries", "'many'", "whole number from 0 to 20")),
    ],
)
def test_a_broken_settings_file_of_tbctl_names_file_key_value_and_remedy(
    fleet: Fleet, tmp_path: Path, text: str, told: tuple[str, ...]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    assert_told(fleet.tbctl("--config", str(path), "run", "list"), 2, str(path), *told)


def test_a_second_collector_in_the_same_folder_is_refused_and_leaves_the_first_alone(
    fleet: Fleet, tmp_path: Path
) -> None:
    told = (fleet.collector_state / "addresses.json").read_text()
    text = f"state_dir = '{fleet.collector_state}'\ngrpc_listen = '127.0.0.1:0'\nweb_listen = '127.0.0.1:0'\n"
    done = daemon(tmp_path, "collector", "serve", text)
    assert_told(done, 1, str(fleet.collector_state), "belongs to another collector that is running", "stop that one")
    assert (fleet.collector_state / "addresses.json").read_text() == told


# What agents of another make send


def test_an_agent_of_another_schema_is_refused_at_its_registration(stranger: Stranger) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stranger.register(schema_version=99)
    found = refusal(caught.value)
    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SCHEMA_VERSION_UNSUPPORTED")
    assert "schema_version: 99" in found.sentence
    assert "upgrade the collector (agent version 9.9.9)" in found.sentence


def test_an_upload_of_another_schema_is_refused_and_may_be_sent_again(stranger: Stranger) -> None:
    stranger.register()
    header = stranger.take_attempt()
    other = pb.UploadHeader()
    other.CopyFrom(header)
    other.schema_version = 99
    log = uploads.batch(*uploads.whole_log(1))
    committed, found = stranger.upload(other, log)
    assert found is not None
    assert (committed, found.code, found.reason) == (
        0,
        grpc.StatusCode.FAILED_PRECONDITION,
        "SCHEMA_VERSION_UNSUPPORTED",
    )
    assert "schema_version: 99: this collector reads record schema 1" in found.sentence
    assert stranger.upload(header, log) == (4, None)


@pytest.mark.parametrize(
    ("size_bytes", "reason", "told"),
    [
        (MAX_MESSAGE_BYTES + 1_000_000, "MESSAGE_TOO_LARGE", ("at most 16777216 are taken", "send less at a time")),
        # So large that it is not even read: gRPC itself says so.
        (3 * MAX_MESSAGE_BYTES, "", ("message larger than max",)),
    ],
)
def test_a_batch_over_the_size_limit_is_refused_and_what_came_before_it_stays(
    fleet: Fleet, stranger: Stranger, size_bytes: int, reason: str, told: tuple[str, ...]
) -> None:
    stranger.register()
    header = stranger.take_attempt()
    assert stranger.upload(header, uploads.batch(uploads.trial_started(1), uploads.case_finished(2))) == (2, None)
    huge = uploads.batch(uploads.log_lines(3, *(["x" * 10_000] * (size_bytes // 10_000))))
    _, found = stranger.upload(header, huge)
    assert found is not None
    assert (found.code, found.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, reason)
    for words in told:
        assert words in found.sentence
    assert stranger.upload(header, uploads.batch(uploads.attempt_finished(3))) == (3, None)
    assert stored(fleet, header).cases == {"gemm/matmul[n=512]": "ok"}


@pytest.mark.parametrize(
    ("sequences", "told"),
    [
        ((3, 5), "batch.records[1].sequence: 5: expected 4: records ascend by one"),
        ((4, 3), "batch.records[1].sequence: 3: expected 5: records ascend by one"),
        ((3, 3), "batch.records[1].sequence: 3: expected 4: records ascend by one"),
        ((0, 1), "batch.records[0].sequence: 0: count records from 1"),
    ],
)
def test_a_batch_whose_records_do_not_ascend_by_one_is_refused_and_what_came_before_it_stays(
    fleet: Fleet, stranger: Stranger, sequences: tuple[int, int], told: str
) -> None:
    before = batches(fleet, "malformed")
    stranger.register()
    header = stranger.take_attempt()
    start = uploads.batch(uploads.trial_started(1), uploads.case_finished(2))
    wrong = uploads.batch(*(uploads.case_finished(number, f"gemm/wrong-{number}") for number in sequences))
    committed, found = stranger.upload(header, start, wrong)
    assert found is not None
    assert (committed, found.code, found.reason) == (2, grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_BATCH")
    assert found.sentence == told
    assert stored(fleet, header).cases == {"gemm/matmul[n=512]": "ok"}
    assert batches(fleet, "malformed") == before + 1


def test_a_gap_changes_nothing_and_is_answered_with_where_to_go_on(fleet: Fleet, stranger: Stranger) -> None:
    before = batches(fleet, "gap")
    stranger.register()
    header = stranger.take_attempt()
    start = uploads.batch(uploads.trial_started(1), uploads.case_finished(2))
    ahead = uploads.batch(uploads.case_finished(9, "gemm/ahead"))
    assert stranger.upload(header, start, ahead) == (2, None)
    assert stored(fleet, header).cases == {"gemm/matmul[n=512]": "ok"}
    assert batches(fleet, "gap") == before + 1


def test_records_that_cannot_be_taken_are_set_aside_told_and_counted_and_the_others_are_stored(
    fleet: Fleet, stranger: Stranger
) -> None:
    before = batches(fleet, "quarantined")
    stranger.register()
    header = stranger.take_attempt()
    not_a_number = uploads.case_finished(3, "gemm/nan", samples=[1.0, math.nan, 3.0])
    not_a_number.case_finished.result.measurements[0].value = 2.0
    nameless = uploads.case_finished(4)
    nameless.case_finished.result.ClearField("case")
    nul = uploads.case_finished(5, "gemm/nul")
    nul.case_finished.result.reason = "a\x00b"
    future = uploads.case_finished(6, "gemm/future")
    future.time.FromDatetime(dt.datetime(2999, 1, 1, tzinfo=dt.UTC))
    past = uploads.case_finished(7, "gemm/past")
    past.time.FromSeconds(86_400)
    nothing = pb.Record(sequence=8, time=uploads.case_finished(8).time)
    good = [uploads.trial_started(1), uploads.case_finished(2, "gemm/first")]
    rest = [uploads.case_finished(9, "gemm/last"), uploads.trial_finished(10), uploads.attempt_finished(11)]
    bad = [not_a_number, nameless, nul, future, past, nothing]

    assert stranger.upload(header, uploads.batch(*good, *bad, *rest)) == (11, None)

    found = stored(fleet, header)
    assert {case for case, outcome in found.cases.items() if outcome == "ok"} == {"gemm/first", "gemm/last"}
    assert {case for case, outcome in found.cases.items() if outcome == "harness_error"} == {
        "gemm/nan",
        "gemm/nul",
        "gemm/future",
        "gemm/past",
    }
    told = {
        3: ("case_finished", "samples.values[1]: nan", "not a finite number"),
        4: ("case_finished", "case", "missing"),
        5: ("case_finished", "reason: 'a\\x00b'", "holds a NUL character"),
        6: ("time: '32472144000", "more than a day ahead: set the clock of the host"),
        7: ("time: '86400", "before 2020", "set the clock of the host"),
        8: ("event: missing",),
    }
    assert set(found.set_aside) == set(told)
    for sequence, words in told.items():
        assert found.set_aside[sequence].startswith(f"record {sequence}: ")
        for word in words:
            assert word in found.set_aside[sequence]
    assert batches(fleet, "quarantined") == before + 1
    # A person finds them where the run is looked at.
    run = header.attempt.split("/")[1]
    logs = fleet.tbctl("run", "logs", run)
    assert logs.returncode == 0, logs.stderr
    assert logs.stdout.count("put aside by the collector: record ") == len(bad)
    failures = fleet.tbctl_json("run", "get", run)["failures"]
    assert failures == {"harness_error": 4}


# Helpers


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database holds of a log: outcomes by case, and reasons of what was set aside by sequence."""

    cases: dict[str, str]
    set_aside: dict[int, str]


def database(fleet: Fleet) -> "psycopg.Connection[Any]":
    """A connection to the collector's own PostgreSQL."""
    dsn = running_dsn(fleet.collector_state / "postgres")
    assert dsn is not None
    return psycopg.connect(dsn)


def stored(fleet: Fleet, header: pb.UploadHeader) -> Stored:
    attempt = int(header.attempt.rpartition("/")[2])
    with database(fleet) as connection:
        cases = connection.execute("SELECT case_id, outcome FROM case_result WHERE attempt_id = %s", [attempt])
        aside = connection.execute("SELECT sequence, reason FROM quarantined_record WHERE attempt_id = %s", [attempt])
        return Stored(dict(cases.fetchall()), dict(aside.fetchall()))


def batches(fleet: Fleet, outcome: str) -> float:
    """How many batches had this outcome, as the collector counts them."""
    with urllib.request.urlopen(f"http://{fleet.addresses.web}/metrics", timeout=SECONDS) as answer:
        lines = answer.read().decode().splitlines()
    start = f'tesserabench_ingest_batches_total{{outcome="{outcome}"}} '
    return sum(float(line.removeprefix(start)) for line in lines if line.startswith(start))


def run_count(fleet: Fleet) -> int:
    with database(fleet) as connection:
        (count,) = connection.execute("SELECT count(*) FROM run").fetchone() or (0,)
    return int(count)


def refusal(error: grpc.RpcError) -> Refusal:
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status is not None else ():
        detail.Unpack(info)
    call: Any = error
    return Refusal(code=call.code(), reason=info.reason, sentence=call.details())


def daemon(folder: Path, program: str, command: str, text: str) -> "subprocess.CompletedProcess[str]":
    """Start a daemon with a settings file that holds `text`."""
    path = folder / "settings.toml"
    path.write_text(text)
    return subprocess.run(
        [str(BIN / f"tesserabench-{program}"), command, "--config", str(path)],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def assert_told(done: "subprocess.CompletedProcess[str]", status: int, *words: str) -> None:
    """It ended with this exit status and said all of this, and no traceback."""
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    for word in words:
        assert word in said, said
    assert "Traceback" not in said
