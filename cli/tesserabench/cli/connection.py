"""The connection to a collector: address, trust, deadlines, and retries of calls that may be repeated."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import grpc
from tesserabench.cli.address import Address, parse_address
from tesserabench.cli.call_errors import call_error
from tesserabench.cli.commands.version import client_version
from tesserabench.cli.errors import SettingsError
from tesserabench.cli.settings.resolve import Settings
from tesserabench.cli.stubs import Stubs
from tesserabench.cli.trust import channel_credentials
from tesserabench.wire.channel import client_options

Request = TypeVar("Request")
Response = TypeVar("Response")
Metadata = tuple[tuple[str, str], ...]

_FIRST_BACKOFF_SECONDS = 0.2
_LONGEST_BACKOFF_SECONDS = 5.0
_REPEATABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED})


@dataclass(kw_only=True)
class Collector:
    """Calls to one collector. Every call has a deadline; those that may be repeated are, with full jitter between."""

    address: Address
    channel: grpc.Channel
    metadata: Metadata
    request_timeout_seconds: float
    retries: int
    sleep: Callable[[float], None] = field(default=time.sleep)

    @cached_property
    def stubs(self) -> Stubs:
        """The services of the collector."""
        return Stubs(self.channel)

    def call(
        self, method: "grpc.UnaryUnaryMultiCallable[Request, Response]", request: Request, *, repeatable: bool = True
    ) -> Response:
        """The answer to one call. `repeatable` calls are idempotent, by their nature or by a request id.

        Raises:
            CallError: the collector refused, or did not answer in time after the retries.
        """
        attempt = 0
        while True:
            try:
                return method(request, timeout=self.request_timeout_seconds, metadata=self.metadata)
            except grpc.RpcError as error:
                if not repeatable or attempt >= self.retries or error.code() not in _REPEATABLE:
                    raise call_error(error, address=self.address, attempts=attempt + 1) from error
            self.sleep(backoff_seconds(attempt))
            attempt += 1

    def close(self) -> None:
        """Close the channel."""
        self.channel.close()


def backoff_seconds(attempt: int) -> float:
    """How long to wait after failure number `attempt` (from 0): full jitter below a bound that doubles."""
    bound = min(_LONGEST_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2.0 ** min(attempt, 30))
    return random.uniform(0.1 * bound, bound)  # noqa: S311 - spreads load, keeps no secret


def connect(settings: Settings, *, warn: Callable[[str], None]) -> Collector:
    """A connection as the settings say. Nothing is sent before the first call.

    Raises:
        SettingsError: the address, or a certificate file, cannot be right.
    """
    address = parse_address(
        settings.server, insecure=settings.insecure, origin=settings.origins.get("server", "server")
    )
    options: list[tuple[str, int | str]] = [
        *client_options(),
        ("grpc.primary_user_agent", f"tbctl/{client_version()}"),
        # The retries are ours; the channel must be ready to try again when they are.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]
    metadata: Metadata = (("authorization", f"Bearer {settings.token}"),) if settings.token else ()
    if address.tls:
        credentials, more = channel_credentials(settings, address)
        channel = grpc.secure_channel(address.target, credentials, options=[*options, *more])
    else:
        _check_plaintext(settings, address, warn)
        channel = grpc.insecure_channel(address.target, options=options)
    return Collector(
        address=address,
        channel=channel,
        metadata=metadata,
        request_timeout_seconds=settings.request_timeout_seconds,
        retries=settings.retries,
    )


def _check_plaintext(settings: Settings, address: Address, warn: Callable[[str], None]) -> None:
    for key, value in (("cert", settings.cert_file), ("ca-file", settings.ca_file)):
        if value and settings.origins[key].startswith("flag"):
            raise SettingsError(f"--{key} means TLS, and {address.text} is plaintext; write the server as https://...")
    if settings.token and not address.loopback:
        warn(f"the token goes to {address.text} unencrypted; use https://")
