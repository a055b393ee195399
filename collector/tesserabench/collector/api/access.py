"""Which role each method asks for."""

from collections.abc import Mapping

from tesserabench.collector.store.words import Role

_PACKAGE = "tesserabench.v1"

_METHODS: Mapping[str, Mapping[Role, tuple[str, ...]]] = {
    "AgentService": {Role.AGENT: ("Register", "Sync")},
    "IngestService": {Role.AGENT: ("Upload",)},
    "RendezvousService": {Role.AGENT: ("JoinRendezvous", "LeaveRendezvous", "FailRendezvous")},
    "RunService": {
        Role.VIEWER: ("GetRun", "ListRuns", "WatchRun", "ListRunLogs"),
        Role.RUNNER: ("CreateRun", "CancelRun", "RetryRun"),
    },
    "ResultService": {Role.VIEWER: ("ListResults", "Compare", "GetRunComparison")},
    "RegressionService": {
        Role.VIEWER: ("ListRegressions", "GetRegression", "GetDetectorScore"),
        Role.RUNNER: (
            "AcknowledgeRegression",
            "AssignRegression",
            "IgnoreRegression",
            "ResolveRegression",
            "AcceptRegression",
            "ReopenRegression",
            "CommentRegression",
            "GiveRegressionFeedback",
        ),
    },
    "HistoryService": {Role.VIEWER: ("ListSeries", "GetHistory")},
    "BaselineService": {
        Role.VIEWER: ("ListBaselines", "GetBaseline"),
        Role.RUNNER: ("SetBaseline", "PinBaseline", "UnpinBaseline"),
    },
    "HostService": {
        Role.VIEWER: ("ListHosts", "GetHost", "ListSuites", "GetSuite", "CompareDevices", "RankNoise"),
        Role.ADMIN: ("CordonHost", "UncordonHost"),
    },
    "PolicyService": {
        Role.VIEWER: ("GetPolicy", "ListPolicies", "DiffPolicy", "TestPolicy"),
        Role.ADMIN: ("ApplyPolicy",),
    },
    "ScheduleService": {
        Role.VIEWER: ("ListSchedules",),
        Role.RUNNER: ("CreateSchedule", "PauseSchedule", "ResumeSchedule", "DeleteSchedule"),
    },
    # Everybody who is known may ask who they are.
    "SystemService": {Role.VIEWER: ("GetServerInfo",)},
}

METHOD_ROLES: Mapping[str, Role] = {
    f"/{_PACKAGE}.{service}/{method}": role
    for service, roles in _METHODS.items()
    for role, methods in roles.items()
    for method in methods
}
"""Role by full method name. A method of ours that is not here is refused to everybody."""

FOR_ANY_ROLE = frozenset({f"/{_PACKAGE}.SystemService/GetServerInfo"})
"""Methods that an agent's token may call too."""

OPEN_SERVICES = (
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
    "grpc.reflection.v1.ServerReflection",
)
"""Services that ask nobody who they are: probes have no token."""


def is_open(method: str) -> bool:
    """Whether a method may be called without saying who calls."""
    return method.split("/")[1] in OPEN_SERVICES
