"""The services of a collector, each imported when it is first used."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grpc
    from tesserabench.v1.baseline_service_pb2_grpc import BaselineServiceStub
    from tesserabench.v1.history_service_pb2_grpc import HistoryServiceStub
    from tesserabench.v1.host_service_pb2_grpc import HostServiceStub
    from tesserabench.v1.policy_service_pb2_grpc import PolicyServiceStub
    from tesserabench.v1.regression_service_pb2_grpc import RegressionServiceStub
    from tesserabench.v1.result_service_pb2_grpc import ResultServiceStub
    from tesserabench.v1.run_service_pb2_grpc import RunServiceStub
    from tesserabench.v1.schedule_service_pb2_grpc import ScheduleServiceStub
    from tesserabench.v1.system_service_pb2_grpc import SystemServiceStub


@dataclass
class Stubs:
    """The services behind one channel."""

    channel: "grpc.Channel"

    @cached_property
    def runs(self) -> "RunServiceStub":
        """Runs."""
        from tesserabench.v1.run_service_pb2_grpc import RunServiceStub  # noqa: PLC0415 - see the module's docstring

        return RunServiceStub(self.channel)

    @cached_property
    def results(self) -> "ResultServiceStub":
        """Results and comparisons."""
        from tesserabench.v1.result_service_pb2_grpc import ResultServiceStub  # noqa: PLC0415 - see above

        return ResultServiceStub(self.channel)

    @cached_property
    def regressions(self) -> "RegressionServiceStub":
        """Regressions."""
        from tesserabench.v1.regression_service_pb2_grpc import RegressionServiceStub  # noqa: PLC0415 - see above

        return RegressionServiceStub(self.channel)

    @cached_property
    def histories(self) -> "HistoryServiceStub":
        """Histories of series."""
        from tesserabench.v1.history_service_pb2_grpc import HistoryServiceStub  # noqa: PLC0415 - see above

        return HistoryServiceStub(self.channel)

    @cached_property
    def baselines(self) -> "BaselineServiceStub":
        """Baselines."""
        from tesserabench.v1.baseline_service_pb2_grpc import BaselineServiceStub  # noqa: PLC0415 - see above

        return BaselineServiceStub(self.channel)

    @cached_property
    def hosts(self) -> "HostServiceStub":
        """Hosts and suites."""
        from tesserabench.v1.host_service_pb2_grpc import HostServiceStub  # noqa: PLC0415 - see above

        return HostServiceStub(self.channel)

    @cached_property
    def schedules(self) -> "ScheduleServiceStub":
        """Schedules."""
        from tesserabench.v1.schedule_service_pb2_grpc import ScheduleServiceStub  # noqa: PLC0415 - see above

        return ScheduleServiceStub(self.channel)

    @cached_property
    def policies(self) -> "PolicyServiceStub":
        """Policies."""
        from tesserabench.v1.policy_service_pb2_grpc import PolicyServiceStub  # noqa: PLC0415 - see above

        return PolicyServiceStub(self.channel)

    @cached_property
    def system(self) -> "SystemServiceStub":
        """The collector itself."""
        from tesserabench.v1.system_service_pb2_grpc import SystemServiceStub  # noqa: PLC0415 - see above

        return SystemServiceStub(self.channel)
