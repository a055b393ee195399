"""The HTTP side: health, metrics and pages, served in the collector's own event loop."""

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence

import uvicorn
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tesserabench.collector.core import metrics
from tesserabench.collector.settings import Address

_STOP_SECONDS = 3


def build(routes: Sequence[BaseRoute]) -> ASGIApp:
    """The application with these routes and `/metrics`, every request counted."""
    everything = [Route("/metrics", _metrics), *routes]
    return _Counted(Starlette(routes=everything), everything)


async def _metrics(request: Request) -> Response:
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(metrics.REGISTRY), media_type=content_type)


class _Counted:
    """Observes each request under the pattern of its route, so that the label stays bounded."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        code = "500"

        async def noted(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            seconds = time.monotonic() - started
            metrics.HTTP_SECONDS.labels(handler=self._handler(scope), code=code).observe(seconds)

    def _handler(self, scope: Scope) -> str:
        for route in self._routes:
            if route.matches(scope)[0] is not Match.NONE:
                return str(getattr(route, "path", "unnamed"))
        return "unknown"


class WebServer:
    """The HTTP port of a collector, from `start` to `stop`."""

    def __init__(self, app: ASGIApp, listen: Address) -> None:
        self._listen = listen
        self._socket: socket.socket | None = None
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        self._server = _QuietServer(config)

    def bind(self) -> int:
        """Take the port, and give its number.

        Raises:
            OSError: the address is taken or not ours.
        """
        family = socket.AF_INET6 if ":" in self._listen.host else socket.AF_INET
        try:
            self._socket = socket.create_server(tuple(self._listen), family=family, backlog=512)
        except OSError as error:
            reason = error.strerror or error
            raise OSError(f"web_listen = {self._listen}: {reason}; choose another address, or free this one") from error
        port: int = self._socket.getsockname()[1]
        return port

    async def run(self) -> None:
        """Serve until stopped."""
        assert self._socket is not None, "bind first"
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Let `run` return soon."""
        self._server.should_exit = True


class _QuietServer(uvicorn.Server):
    """Leaves signals to the program around it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
