"""What happens around every call: who calls, is the request well formed, how is an error told, what is counted."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, NoReturn

import grpc
import structlog
from google.protobuf.message import Message
from tesserabench.collector.api import access, shape
from tesserabench.collector.api.actor import set_actor
from tesserabench.collector.api.calls import Context, Handler
from tesserabench.collector.api.statuses import code_of, internal_status, status_of
from tesserabench.collector.core import metrics
from tesserabench.collector.core.actors import Actor
from tesserabench.collector.core.tokens import Authenticator
from tesserabench.collector.errors import (
    CollectorError,
    PermissionDeniedError,
    ResourceExhaustedError,
)
from tesserabench.wire import MAX_MESSAGE_BYTES
from tesserabench.wire.reasons import Reason

UNTIMED = frozenset(
    {"AgentService/Sync", "IngestService/Upload", "RunService/WatchRun", "RendezvousService/JoinRendezvous"}
)
"""Calls that last as long as they like; their duration says nothing."""

_log = structlog.get_logger(__name__)


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Stands around every call of every service."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The handler of the call, wrapped."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        # Neither probes nor unknown methods are ours to guard.
        if handler is None or access.is_open(method):
            return handler
        return _Call(self._authenticator, method, handler_call_details).wrapped(handler)


class _Call:
    """One call."""

    def __init__(self, authenticator: Authenticator, method: str, details: grpc.HandlerCallDetails) -> None:
        self._authenticator = authenticator
        self._method = method
        self._short = method.rsplit(".", 1)[-1]
        self._metadata = {key: value for key, value in details.invocation_metadata or () if isinstance(value, str)}

    def wrapped(self, handler: Handler) -> Handler:
        if handler.unary_unary is not None:
            make, behaviour = grpc.unary_unary_rpc_method_handler, self._unary(handler.unary_unary)
        elif handler.unary_stream is not None:
            make, behaviour = grpc.unary_stream_rpc_method_handler, self._answers(handler.unary_stream)
        elif handler.stream_stream is not None:
            make, behaviour = grpc.stream_stream_rpc_method_handler, self._dialogue(handler.stream_stream)
        else:
            raise NotImplementedError(f"{self._method}: no such kind of call is served")
        return make(behaviour, handler.request_deserializer, handler.response_serializer)

    def _unary(self, behaviour: Any) -> Any:
        async def call(request: Message, context: Context) -> Any:
            async with self._around(context):
                _check(request)
                return await behaviour(request, context)

        return call

    def _answers(self, behaviour: Any) -> Any:
        async def call(request: Message, context: Context) -> AsyncIterator[Any]:
            async with self._around(context):
                _check(request)
                # An answer that is no longer wanted ends the service's generator at once, not when it is collected.
                async with aclosing(behaviour(request, context)) as answers:
                    async for answer in answers:
                        yield answer

        return call

    def _dialogue(self, behaviour: Any) -> Any:
        async def call(requests: AsyncIterator[Message], context: Context) -> AsyncIterator[Any]:
            async def checked() -> AsyncIterator[Message]:
                async for request in requests:
                    _check(request)
                    yield request

            async with self._around(context), aclosing(behaviour(checked(), context)) as answers:
                async for answer in answers:
                    yield answer

        return call

    @asynccontextmanager
    async def _around(self, context: Context) -> AsyncIterator[None]:
        started = time.monotonic()
        code = grpc.StatusCode.OK
        reference = self._metadata.get("x-request-id", "")[:64] or secrets.token_hex(8)
        structlog.contextvars.bind_contextvars(request=reference, method=self._short)
        try:
            set_actor(await self._admitted())
            yield
        except CollectorError as error:
            code = code_of(error)
            _log.info("call.refused", code=code.name, reason=error.reason, why=error.message)
            await _abort(context, status_of(error))
        except (asyncio.CancelledError, GeneratorExit):
            code = grpc.StatusCode.CANCELLED
            raise
        except Exception:  # noqa: BLE001 - whatever it is, its text belongs into the log and not to the caller
            code = grpc.StatusCode.INTERNAL
            _log.exception("call.failed")
            await _abort(context, internal_status(reference))
        finally:
            metrics.GRPC_HANDLED.labels(method=self._short, code=code.name).inc()
            if self._short not in UNTIMED:
                metrics.GRPC_SECONDS.labels(method=self._short).observe(time.monotonic() - started)

    async def _admitted(self) -> Actor:
        actor = await self._authenticator.actor(self._metadata.get("authorization"))
        structlog.contextvars.bind_contextvars(actor=actor.name)
        role = access.METHOD_ROLES.get(self._method)
        if role is not None and (actor.may(role) or (self._method in access.FOR_ANY_ROLE and actor.roles)):
            return actor
        needed = role or "none: the method has no role"
        message = (
            f"{self._short} needs the role {needed}, and token {actor.name!r} has {_roles(actor)}; use another token"
        )
        raise PermissionDeniedError(message, reason=Reason.ROLE_MISSING)


def _roles(actor: Actor) -> str:
    return ", ".join(sorted(actor.roles)) or "none"


def _check(request: Message) -> None:
    size = request.ByteSize()
    if size > MAX_MESSAGE_BYTES:
        message = f"the message has {size} bytes; at most {MAX_MESSAGE_BYTES} are taken: send less at a time"
        raise ResourceExhaustedError(message, reason=Reason.MESSAGE_TOO_LARGE)
    shape.check(request)


async def _abort(context: Context, status: Any) -> NoReturn:
    await context.abort(status.code, status.details, status.trailing_metadata)
    raise AssertionError
