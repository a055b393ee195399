# ruff: noqa: N802 - the methods of services are named by the contract
"""A collector that only pretends: the services of the contract over values in memory, with failures on demand."""

import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from tesserabench.v1 import (
    baseline_service_pb2,
    baseline_service_pb2_grpc,
    comparison_pb2,
    host_pb2,
    host_service_pb2,
    host_service_pb2_grpc,
    measurement_pb2,
    regression_service_pb2,
    regression_service_pb2_grpc,
    result_service_pb2,
    result_service_pb2_grpc,
    run_pb2,
    run_service_pb2,
    run_service_pb2_grpc,
    schedule_service_pb2,
    schedule_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
)
from tesserabench.wire.channel import server_options
from tesserabench.wire.reasons import DOMAIN, Reason

Run = run_pb2.Run
FINISHED = run_pb2.RunState.RUN_STATE_FINISHED


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How a call fails. `fields` are the violations of a bad request."""

    status: grpc.StatusCode
    message: str = "no"
    reason: str = ""
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call as it arrived."""

    method: str
    request: Any
    metadata: dict[str, str]


@dataclass(kw_only=True)
class FakeCollector:
    """State that a test sets up and looks at. `start` serves it; it may be stopped and started on the same port again.

    `watch` holds, by run, the states that a stream gives one after the other; a stream whose last state is not finished
    stays open. `created` is what CreateRun and RetryRun give.
    """

    runs: dict[str, Run] = field(default_factory=dict)
    watch: dict[str, list[Run]] = field(default_factory=dict)
    created: Run | None = None
    results: dict[str, list[result_service_pb2.Result]] = field(default_factory=dict)
    comparisons: dict[str, comparison_pb2.Comparison] = field(default_factory=dict)
    compared: comparison_pb2.Comparison = field(default_factory=comparison_pb2.Comparison)
    logs: list[run_service_pb2.LogEntry] = field(default_factory=list)
    baselines: dict[str, baseline_service_pb2.Baseline] = field(default_factory=dict)
    regressions: dict[str, regression_service_pb2.Regression] = field(default_factory=dict)
    score: regression_service_pb2.DetectorScore = field(default_factory=regression_service_pb2.DetectorScore)
    hosts: dict[str, host_pb2.Host] = field(default_factory=dict)
    suites: list[host_service_pb2.Suite] = field(default_factory=list)
    device_comparisons: list[host_service_pb2.DeviceComparison] = field(default_factory=list)
    noise: list[host_service_pb2.NoiseEntry] = field(default_factory=list)
    schedules: dict[str, schedule_service_pb2.Schedule] = field(default_factory=dict)
    info: system_service_pb2.ServerInfo = field(default_factory=system_service_pb2.ServerInfo)
    failures: defaultdict[str, deque[Failure]] = field(default_factory=lambda: defaultdict(deque))
    calls: list[Call] = field(default_factory=list)
    port: int = 0
    credentials: grpc.ServerCredentials | None = None
    _server: grpc.Server | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> "FakeCollector":
        """Serve, on the port of before when there was one."""
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=server_options())
        run_service_pb2_grpc.add_RunServiceServicer_to_server(_Runs(self), server)
        result_service_pb2_grpc.add_ResultServiceServicer_to_server(_Results(self), server)
        baseline_service_pb2_grpc.add_BaselineServiceServicer_to_server(_Baselines(self), server)
        regression_service_pb2_grpc.add_RegressionServiceServicer_to_server(_Regressions(self), server)
        host_service_pb2_grpc.add_HostServiceServicer_to_server(_Hosts(self), server)
        schedule_service_pb2_grpc.add_ScheduleServiceServicer_to_server(_Schedules(self), server)
        system_service_pb2_grpc.add_SystemServiceServicer_to_server(_System(self), server)
        where = f"127.0.0.1:{self.port}"
        if self.credentials is None:
            self.port = server.add_insecure_port(where)
        else:
            self.port = server.add_secure_port(where, self.credentials)
        server.start()
        self._server = server
        return self

    def stop(self) -> None:
        """Cut every connection."""
        if self._server is not None:
            self._server.stop(0).wait()
            self._server = None
            with self._changed:
                self._changed.notify_all()

    def fail(self, method: str, status: grpc.StatusCode, message: str = "no", **more: Any) -> None:
        """Let the next call of a method fail."""
        self.failures[method].append(Failure(status=status, message=message, **more))

    def calls_of(self, method: str) -> list[Call]:
        """The calls of a method so far."""
        return [call for call in list(self.calls) if call.method == method]

    def put_watch(self, run: str, states: Sequence[Run]) -> None:
        """Give streams more states."""
        with self._changed:
            self.watch[run] = list(states)
            self._changed.notify_all()

    def enter(self, context: Any, method: str, request: Any) -> None:
        """Record a call, and abort it when a failure is due."""
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        self.calls.append(Call(method=method, request=request, metadata=metadata))
        if self.failures[method]:
            abort(context, self.failures[method].popleft())

    def find(self, context: Any, collection: dict[str, Any], name: str, reason: Reason) -> Any:
        """A thing by name, or the error that says that there is none."""
        if name not in collection:
            abort(context, Failure(status=grpc.StatusCode.NOT_FOUND, message=f"{name} does not exist", reason=reason))
        return collection[name]

    def states_from(self, name: str, cursor: int, context: Any) -> Iterator[tuple[int, Run]]:
        """The states of a run after `cursor`, waiting for more until the run has finished or the call is over."""
        while context.is_active() and self._server is not None:
            with self._changed:
                states = self.watch.get(name) or [self.runs[name]]
                if cursor >= len(states):
                    self._changed.wait(timeout=0.1)
                    continue
            cursor += 1
            yield cursor, states[cursor - 1]
            if states[cursor - 1].state == FINISHED:
                self.runs[name] = states[cursor - 1]
                return


def abort(context: Any, failure: Failure) -> None:
    """End a call with a status, an ErrorInfo and the violations of its fields."""
    details = []
    if failure.reason:
        details.append(_any(error_details_pb2.ErrorInfo(reason=failure.reason, domain=DOMAIN)))
    if failure.fields:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=name, description=text) for name, text in failure.fields
        ]
        details.append(_any(error_details_pb2.BadRequest(field_violations=violations)))
    code = failure.status.value[0]
    status = status_pb2.Status(code=code, message=failure.message, details=details)
    context.abort_with_status(rpc_status.to_status(status))


def _any(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _page(items: Sequence[Any], request: Any) -> tuple[Sequence[Any], str]:
    size, start = request.page_size or 50, int(request.page_token or 0)
    end = start + size
    return items[start:end], str(end) if end < len(items) else ""


@dataclass
class _Runs(run_service_pb2_grpc.RunServiceServicer):
    fake: FakeCollector

    def CreateRun(self, request: Any, context: Any) -> Run:
        self.fake.enter(context, "CreateRun", request)
        return self._new(request)

    def RetryRun(self, request: Any, context: Any) -> Run:
        self.fake.enter(context, "RetryRun", request)
        self.fake.find(context, self.fake.runs, request.name, Reason.RUN_NOT_FOUND)
        return self._new(None)

    def GetRun(self, request: Any, context: Any) -> Run:
        self.fake.enter(context, "GetRun", request)
        run: Run = self.fake.find(context, self.fake.runs, request.name, Reason.RUN_NOT_FOUND)
        return run

    def ListRuns(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "ListRuns", request)
        page, token = _page(list(self.fake.runs.values()), request)
        return run_service_pb2.ListRunsResponse(runs=page, next_page_token=token)

    def CancelRun(self, request: Any, context: Any) -> Run:
        self.fake.enter(context, "CancelRun", request)
        found: Run = self.fake.find(context, self.fake.runs, request.name, Reason.RUN_NOT_FOUND)
        run = Run()
        run.CopyFrom(found)
        if run.state != FINISHED:
            run.state, run.outcome = FINISHED, measurement_pb2.Outcome.OUTCOME_CANCELLED
        self.fake.runs[request.name] = run
        return run

    def WatchRun(self, request: Any, context: Any) -> Iterator[Any]:
        self.fake.enter(context, "WatchRun", request)
        for cursor, run in self.fake.states_from(request.name, int(request.cursor or 0), context):
            yield run_service_pb2.WatchRunResponse(run=run, cursor=str(cursor))

    def ListRunLogs(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "ListRunLogs", request)
        start = int(request.page_token or 0)
        entries = self.fake.logs[start : start + 2]
        return run_service_pb2.ListRunLogsResponse(entries=entries, next_page_token=str(start + len(entries)))

    def _new(self, request: Any) -> Run:
        created = self.fake.created or Run(name="runs/42", state=run_pb2.RunState.RUN_STATE_QUEUED)
        run = Run()
        run.CopyFrom(created)
        if request is not None:
            run.spec.CopyFrom(request.spec)
            run.revision.CopyFrom(request.revision)
        if not (request is not None and request.dry_run):
            self.fake.runs[run.name] = run
        return run


@dataclass
class _Results(result_service_pb2_grpc.ResultServiceServicer):
    fake: FakeCollector

    def ListResults(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "ListResults", request)
        page, token = _page(self.fake.results.get(request.run, []), request)
        return result_service_pb2.ListResultsResponse(results=page, next_page_token=token)

    def Compare(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "Compare", request)
        return self.fake.compared

    def GetRunComparison(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "GetRunComparison", request)
        return self.fake.find(context, self.fake.comparisons, request.run, Reason.RUN_NOT_FOUND)


@dataclass
class _Baselines(baseline_service_pb2_grpc.BaselineServiceServicer):
    fake: FakeCollector

    def ListBaselines(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "ListBaselines", request)
        page, token = _page(list(self.fake.baselines.values()), request)
        return baseline_service_pb2.ListBaselinesResponse(baselines=page, next_page_token=token)

    def GetBaseline(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "GetBaseline", request)
        return self.fake.find(context, self.fake.baselines, request.name, Reason.BASELINE_NOT_FOUND)

    def SetBaseline(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "SetBaseline", request)
        before = self.fake.baselines.get(request.name)
        if before is not None and before.pinned:
            abort(
                context,
                Failure(
                    status=grpc.StatusCode.FAILED_PRECONDITION,
                    message=f"{request.name} is pinned",
                    reason=Reason.BASELINE_PINNED,
                ),
            )
        baseline = baseline_service_pb2.Baseline(
            name=request.name, suite="gemm", run=request.run, comment=request.comment, pinned=request.pin
        )
        self.fake.baselines[request.name] = baseline
        return baseline

    def PinBaseline(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "PinBaseline", request)
        return self._pinned(request, context, pinned=True)

    def UnpinBaseline(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "UnpinBaseline", request)
        return self._pinned(request, context, pinned=False)

    def _pinned(self, request: Any, context: Any, *, pinned: bool) -> Any:
        baseline = self.fake.find(context, self.fake.baselines, request.name, Reason.BASELINE_NOT_FOUND)
        baseline.pinned = pinned
        return baseline


@dataclass
class _Regressions(regression_service_pb2_grpc.RegressionServiceServicer):
    fake: FakeCollector

    def ListRegressions(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "ListRegressions", request)
        page, token = _page(list(self.fake.regressions.values()), request)
        return regression_service_pb2.ListRegressionsResponse(regressions=page, next_page_token=token)

    def GetRegression(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "GetRegression", request)
        return self._find(request, context)

    def AcknowledgeRegression(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "AcknowledgeRegression", request)
        return self._to(request, context, "ACKNOWLEDGED", owner=request.owner or "caller")

    def IgnoreRegression(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "IgnoreRegression", request)
        return self._to(request, context, "IGNORED")

    def ResolveRegression(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "ResolveRegression", request)
        resolution = regression_service_pb2.Resolution.Name(request.resolution).removeprefix("RESOLUTION_")
        return self._to(request, context, "FIXED" if resolution == "UNSPECIFIED" else resolution)

    def AssignRegression(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "AssignRegression", request)
        return self._to(request, context, "ASSIGNED", owner=request.owner)

    def AcceptRegression(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "AcceptRegression", request)
        return self._to(request, context, "ACCEPTED")

    def CommentRegression(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "CommentRegression", request)
        return self._find(request, context)

    def GiveRegressionFeedback(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "GiveRegressionFeedback", request)
        after = regression_service_pb2.Regression()
        after.CopyFrom(self._find(request, context))
        after.feedback, after.feedback_by = request.right, "caller"
        self.fake.regressions[request.name] = after
        return after

    def GetDetectorScore(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "GetDetectorScore", request)
        return self.fake.score

    def ReopenRegression(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "ReopenRegression", request)
        return self._to(request, context, "CONFIRMED")

    def _find(self, request: Any, context: Any) -> Any:
        return self.fake.find(context, self.fake.regressions, request.name, Reason.REGRESSION_NOT_FOUND)

    def _to(self, request: Any, context: Any, state: str, owner: str = "") -> Any:
        after = regression_service_pb2.Regression()
        after.CopyFrom(self._find(request, context))
        after.state = regression_service_pb2.RegressionState.Value(f"REGRESSION_STATE_{state}")
        after.owner = owner or after.owner
        self.fake.regressions[request.name] = after
        return after


@dataclass
class _Hosts(host_service_pb2_grpc.HostServiceServicer):
    fake: FakeCollector

    def ListHosts(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "ListHosts", request)
        page, token = _page(list(self.fake.hosts.values()), request)
        return host_service_pb2.ListHostsResponse(hosts=page, next_page_token=token)

    def GetHost(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "GetHost", request)
        return self.fake.find(context, self.fake.hosts, request.name, Reason.HOST_NOT_FOUND)

    def CordonHost(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "CordonHost", request)
        return self._set(request, context, cordoned=True, reason=request.reason)

    def UncordonHost(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "UncordonHost", request)
        return self._set(request, context, cordoned=False, reason="")

    def ListSuites(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "ListSuites", request)
        return host_service_pb2.ListSuitesResponse(suites=self.fake.suites)

    def GetSuite(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "GetSuite", request)
        suites = {suite.name: suite for suite in self.fake.suites}
        return self.fake.find(context, suites, request.name, Reason.SUITE_NOT_FOUND)

    def CompareDevices(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "CompareDevices", request)
        wanted = [one for one in self.fake.device_comparisons if request.model in {"", one.device_model}]
        return host_service_pb2.CompareDevicesResponse(comparisons=wanted)

    def RankNoise(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "RankNoise", request)
        return host_service_pb2.RankNoiseResponse(entries=self.fake.noise[: request.limit])

    def _set(self, request: Any, context: Any, *, cordoned: bool, reason: str) -> Any:
        host = host_pb2.Host()
        host.CopyFrom(self.fake.find(context, self.fake.hosts, request.name, Reason.HOST_NOT_FOUND))
        host.cordoned, host.cordon_reason = cordoned, reason
        self.fake.hosts[request.name] = host
        return host


@dataclass
class _Schedules(schedule_service_pb2_grpc.ScheduleServiceServicer):
    fake: FakeCollector

    def CreateSchedule(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "CreateSchedule", request)
        self.fake.schedules[request.schedule.name] = request.schedule
        return request.schedule

    def ListSchedules(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "ListSchedules", request)
        page, token = _page(list(self.fake.schedules.values()), request)
        return schedule_service_pb2.ListSchedulesResponse(schedules=page, next_page_token=token)

    def PauseSchedule(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "PauseSchedule", request)
        return self._set(request, context, paused=True)

    def ResumeSchedule(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "ResumeSchedule", request)
        return self._set(request, context, paused=False)

    def DeleteSchedule(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "DeleteSchedule", request)
        self.fake.find(context, self.fake.schedules, request.name, Reason.SCHEDULE_NOT_FOUND)
        del self.fake.schedules[request.name]
        return schedule_service_pb2.DeleteScheduleResponse()

    def _set(self, request: Any, context: Any, *, paused: bool) -> Any:
        schedule = self.fake.find(context, self.fake.schedules, request.name, Reason.SCHEDULE_NOT_FOUND)
        schedule.paused = paused
        return schedule


@dataclass
class _System(system_service_pb2_grpc.SystemServiceServicer):
    fake: FakeCollector

    def GetServerInfo(self, request: Any, context: Any) -> Any:
        self.fake.enter(context, "GetServerInfo", request)
        info = system_service_pb2.ServerInfo()
        info.CopyFrom(self.fake.info)
        if not info.HasField("server_time"):
            info.server_time.GetCurrentTime()
        return info
