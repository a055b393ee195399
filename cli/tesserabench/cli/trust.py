"""TLS to a collector: whose certificates are believed, and which one we show."""

import socket
import ssl
from pathlib import Path
from tempfile import NamedTemporaryFile

import grpc
from tesserabench.cli.address import Address
from tesserabench.cli.errors import CallError, SettingsError
from tesserabench.cli.settings.resolve import Settings

Options = list[tuple[str, int | str]]

_HANDSHAKE_SECONDS = 10.0


def channel_credentials(settings: Settings, address: Address) -> tuple[grpc.ChannelCredentials, Options]:
    """Credentials and channel options for a TLS connection.

    Raises:
        SettingsError: a certificate file is missing or unreadable, or a certificate stands without its key.
        CallError: with insecure-skip-verify, the server did not show a certificate.
    """
    if bool(settings.cert_file) != bool(settings.key_file):
        raise SettingsError("a client certificate needs both --cert and --key; give both or neither")
    chain = _read(settings.cert_file, "cert", settings)
    key = _read(settings.key_file, "key", settings)
    roots = _read(settings.ca_file, "ca-file", settings)
    options: Options = []
    if settings.insecure_skip_verify:
        roots, name = _shown_certificate(address)
        options.append(("grpc.ssl_target_name_override", name))
    return grpc.ssl_channel_credentials(root_certificates=roots, private_key=key, certificate_chain=chain), options


def _read(path: str | None, setting: str, settings: Settings) -> bytes | None:
    if path is None:
        return None
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{settings.origins[setting]}: {setting} {path} cannot be read ({error.strerror}); check the path"
        ) from error
    if b"-----BEGIN" not in content:
        raise SettingsError(f"{settings.origins[setting]}: {setting} {path} is no PEM file; convert it to PEM")
    return content


def _shown_certificate(address: Address) -> tuple[bytes, str]:
    """The certificate that the server shows, as the only root, and a name that it holds for.

    gRPC cannot skip the check, so that the check is given what it will find. It protects from nobody, as the flag says.
    """
    try:
        pem = _fetch(address)
        return pem.encode(), _name_in(pem, address)
    except OSError as error:
        raise CallError(
            f"{address.text} showed no certificate ({error}); check the address, and that the collector speaks TLS",
            status="UNAVAILABLE",
        ) from error


def _fetch(address: Address) -> str:
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE
    blind.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((address.host, address.port), timeout=_HANDSHAKE_SECONDS) as plain,
        blind.wrap_socket(plain, server_hostname=address.host) as secured,
    ):
        certificate = secured.getpeercert(binary_form=True)
    if certificate is None:
        raise OSError("no certificate")
    return ssl.DER_cert_to_PEM_cert(certificate)


def _name_in(pem: str, address: Address) -> str:
    """A name of the certificate; the standard library decodes one only while it verifies it."""
    with NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(pem)
        file.flush()
        trusting = ssl.create_default_context(cafile=file.name)
    trusting.check_hostname = False
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    trusting.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((address.host, address.port), timeout=_HANDSHAKE_SECONDS) as plain,
        trusting.wrap_socket(plain, server_hostname=address.host) as secured,
    ):
        facts = secured.getpeercert() or {}
    for entry in facts.get("subjectAltName", ()):
        return str(entry[1]).replace("*", "any")
    return address.host
