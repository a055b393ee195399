"""The address of a collector: where it is, and whether the way there is encrypted."""

import ipaddress
import re
from dataclasses import dataclass

from tesserabench.cli.errors import SettingsError
from tesserabench.wire import DEFAULT_PORT

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?")
_FORMS = "HOST:PORT, http://HOST:PORT or https://HOST:PORT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A collector's address. IPv6 hosts are kept without brackets."""

    host: str
    port: int
    tls: bool

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(self.host)

    @property
    def target(self) -> str:
        """The address as gRPC wants it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def text(self) -> str:
        """The address as people write it."""
        return f"{'https' if self.tls else 'http'}://{self.target}"


def parse_address(text: str, *, insecure: bool, origin: str) -> Address:
    """The address in `HOST`, `HOST:PORT`, `http://...` or `https://...`.

    Without a scheme, loopback is plaintext and everything else TLS, unless `insecure`.

    Raises:
        SettingsError: naming `origin`, the text and the remedy.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "", text.strip()
    if scheme not in {"", "http", "https"}:
        raise SettingsError(f"{origin}: server {text!r} has the scheme {scheme!r}; write {_FORMS}")
    host, port = _split(rest.rstrip("/"), text=text, origin=origin)
    if scheme == "https" and insecure:
        raise SettingsError(
            f"{origin}: server {text!r} asks for TLS and --insecure for plaintext; leave one of them out"
        )
    plaintext = scheme == "http" or (not scheme and (insecure or is_loopback(host)))
    return Address(host=host, port=port, tls=not plaintext)


def is_loopback(host: str) -> bool:
    """Whether a host name or IP address means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(rest: str, *, text: str, origin: str) -> tuple[str, int]:
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::(.*))?", rest)
    if bracketed:
        host, port = bracketed[1], bracketed[2]
    else:
        host, colon, after = rest.partition(":")
        port = after if colon else None
    if not (bracketed or _HOST.fullmatch(host)):
        raise SettingsError(f"{origin}: server {text!r} names no host; write {_FORMS}")
    if port is None:
        return host, DEFAULT_PORT
    if not port.isdigit() or not 0 < int(port) < 65_536:
        raise SettingsError(
            f"{origin}: server {text!r} has the port {port!r}; give a number from 1 to 65535, usually 7710"
        )
    return host, int(port)
