"""The gRPC server: services, health, reflection, TLS."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection
from tesserabench.collector.api.interceptor import CallInterceptor
from tesserabench.wire import MAX_MESSAGE_BYTES
from tesserabench.wire.channel import server_options

_OVERALL = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service with its full name and the generated function that adds it to a server."""

    name: str
    servicer: Any
    add: Callable[[Any, grpc.aio.Server], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Certificate chain and key in PEM."""

    cert: Path
    key: Path


class GrpcServer:
    """The gRPC port of a collector, from `start` to `stop`."""

    def __init__(
        self, services: Sequence[Service], interceptor: CallInterceptor, *, listen: str, tls: TlsFiles | None
    ) -> None:
        self._services = services
        self._listen = listen
        self._tls = tls
        self._health = HealthServicer()
        self._server = grpc.aio.server(interceptors=[interceptor], options=_options())
        self.serving = False

    async def start(self) -> int:
        """Begin to serve, and give the port.

        Raises:
            OSError: the address is taken or not ours, or a TLS file cannot be read.
        """
        for service in self._services:
            service.add(service.servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [service.name for service in self._services]
        reflection.enable_server_reflection(
            (*names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME), self._server
        )
        port = self._bind()
        await self._server.start()
        await self._tell(health_pb2.HealthCheckResponse.SERVING)
        self.serving = True
        return port

    async def drain(self) -> None:
        """Tell probes that this replica takes no more calls."""
        self.serving = False
        await self._tell(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def stop(self, grace_seconds: float) -> None:
        """End: running calls have this time, new ones are refused."""
        self.serving = False
        await self._server.stop(grace_seconds)

    def _bind(self) -> int:
        try:
            if self._tls is None:
                return self._server.add_insecure_port(self._listen)
            credentials = grpc.ssl_server_credentials([(self._tls.key.read_bytes(), self._tls.cert.read_bytes())])
            return self._server.add_secure_port(self._listen, credentials)
        except RuntimeError as error:
            message = f"grpc_listen = {self._listen}: {error}; choose another address, or free this one"
            raise OSError(message) from error

    async def _tell(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in (_OVERALL, *(service.name for service in self._services)):
            await self._health.set(name, status)


def _options() -> list[tuple[str, int | str]]:
    # The transport lets through twice what we take, so that a message over the limit is refused by us, with a sentence
    # that says what to do, and not by the transport.
    changed = {"grpc.max_receive_message_length": 2 * MAX_MESSAGE_BYTES}
    return list((dict(server_options()) | changed).items())
