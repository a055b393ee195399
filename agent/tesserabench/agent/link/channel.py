"""The connection to the collector: TLS, token, deadlines."""

import ipaddress
from collections.abc import Callable
from pathlib import Path

import grpc
from tesserabench.agent.errors import LinkError
from tesserabench.agent.settings import Settings, split_address
from tesserabench.wire.channel import ChannelOption, client_options

Metadata = tuple[tuple[str, str], ...]


TokenSource = Callable[[], str]
"""Gives the bearer token for the next call; empty for none."""


# The transport's own wait between connection attempts; by default it grows to two minutes, past our own back-off.
_LONGEST_RECONNECT_SECONDS = 5.0


def _options(settings: Settings) -> list[ChannelOption]:
    longest = int(1000 * min(settings.link.retry_max, _LONGEST_RECONNECT_SECONDS))
    first = min(longest, int(1000 * settings.link.retry_min))
    reconnect: list[ChannelOption] = [
        ("grpc.initial_reconnect_backoff_ms", first),
        ("grpc.max_reconnect_backoff_ms", longest),
    ]
    return [*client_options(), *reconnect]


def open_channel(settings: Settings) -> grpc.aio.Channel:
    """A channel to the collector of the settings; it connects when it is first used.

    Raises:
        LinkError: a certificate file cannot be read, or the connection would be in the clear beyond this machine.
    """
    host, port = split_address(settings.collector)
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    tls = settings.tls
    if tls.ca is not None or tls.cert is not None or settings.collector.startswith("https://"):
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_read(tls.ca, "tls.ca"),
            private_key=_read(tls.key, "tls.key"),
            certificate_chain=_read(tls.cert, "tls.cert"),
        )
        return grpc.aio.secure_channel(target, credentials, options=_options(settings))
    if not is_loopback(host) and not settings.insecure:
        raise LinkError(
            f"collector is {settings.collector!r}: beyond this machine the connection must be secured; "
            "write https://HOST:PORT or set tls.ca, or allow the clear text with insecure = true"
        )
    return grpc.aio.insecure_channel(target, options=_options(settings))


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_source(settings: Settings) -> TokenSource:
    """Where the token comes from; a file is read at every call, so that a new token needs no restart."""
    if settings.token_file is not None:
        path = settings.token_file
        return lambda: (_read(path, "token_file") or b"").decode().strip()
    token = settings.token.get_secret_value().strip() if settings.token is not None else ""
    return lambda: token


def metadata(token: TokenSource) -> Metadata:
    """The headers of a call.

    Raises:
        LinkError: the token's file cannot be read.
    """
    text = token()
    return (("authorization", f"Bearer {text}"),) if text else ()


def _read(path: Path | None, setting: str) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise LinkError(f"{setting} is {str(path)!r}: {error.strerror}; name a file that the agent can read") from None
