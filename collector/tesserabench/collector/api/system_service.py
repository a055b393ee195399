"""SystemService: what this collector is, and who the caller is to it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tesserabench.collector.api.actor import current_actor
from tesserabench.collector.api.calls import Context
from tesserabench.collector.api.translation import timestamp
from tesserabench.collector.core.fleet import SCHEMA_VERSIONS
from tesserabench.collector.core.version import VERSION
from tesserabench.v1 import run_pb2, system_service_pb2, system_service_pb2_grpc


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a collector tells of itself."""

    web_url: str
    database_revision: str


class SystemService(system_service_pb2_grpc.SystemServiceServicer):
    """Serves everybody who wants to know whom they talk to."""

    def __init__(self, about: About, clock: Callable[[], datetime]) -> None:
        self._about = about
        self._clock = clock

    async def GetServerInfo(  # noqa: N802 - named by the contract
        self,
        request: system_service_pb2.GetServerInfoRequest,  # noqa: ARG002
        context: Context,  # noqa: ARG002
    ) -> system_service_pb2.ServerInfo:
        """What this collector is."""
        actor = current_actor()
        return system_service_pb2.ServerInfo(
            version=VERSION,
            schema_versions=SCHEMA_VERSIONS,
            server_time=timestamp(self._clock()),
            actor=run_pb2.Actor(name=actor.name),
            roles=sorted(actor.roles),
            projects=[actor.project] if actor.project else [],
            web_url=self._about.web_url,
            database_revision=self._about.database_revision,
        )
