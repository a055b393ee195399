"""A failed call in words: what the collector said, its stable reason, and what to do."""

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tesserabench.cli.address import Address
from tesserabench.cli.errors import CallError
from tesserabench.wire.reasons import DOMAIN

_REMEDIES = {
    "UNAUTHENTICATED": "log in: set TBCTL_TOKEN or TBCTL_TOKEN_FILE, or a context with a token-file",
    "PERMISSION_DENIED": "tbctl doctor shows what your token may do",
    "UNIMPLEMENTED": "this collector does not know the call; tbctl doctor compares the versions",
}


def call_error(error: grpc.RpcError, *, address: Address, attempts: int = 1) -> CallError:
    """The error to raise for a failed call that was tried `attempts` times."""
    status = error.code().name
    reason, details = _details(error)
    said = " ".join((error.details() or "").split())
    if status in {"UNAVAILABLE", "DEADLINE_EXCEEDED"} and not reason:
        return CallError(_unreachable(status, said, address, attempts), status=status)
    word = f" ({reason})" if reason else ""
    remedy = _REMEDIES.get(status)
    sentence = f"{said or status.lower()}{word}" + (f"; {remedy}" if remedy else "")
    # A collector that names one wrong field says it in its sentence already.
    told = tuple(f"  {line}" for line in details if line not in said)
    return CallError(sentence, status=status, reason=reason, details=told)


def _unreachable(status: str, said: str, address: Address, attempts: int) -> str:
    tries = "one attempt" if attempts == 1 else f"{attempts} attempts"
    what = "did not answer in time" if status == "DEADLINE_EXCEEDED" else "cannot be reached"
    cause = f" ({_without_noise(said)})" if said and status == "UNAVAILABLE" else ""
    return f"the collector at {address.text} {what} after {tries}{cause}; check --server, or run tbctl doctor"


def _without_noise(said: str) -> str:
    """The text of gRPC without its prefixes, which repeat the address."""
    for prefix in ("failed to connect to all addresses; last error: ", "UNKNOWN: ", "UNAVAILABLE: "):
        said = said.removeprefix(prefix)
    return said if len(said) <= 160 else f"{said[:160]}..."


def _details(error: grpc.RpcError) -> tuple[str, tuple[str, ...]]:
    """The stable reason, and a text for every field that was wrong."""
    try:
        status = rpc_status.from_call(error)
    except ValueError:
        return "", ()
    reason, lines = "", []
    for item in status.details if status is not None else ():
        info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if item.Unpack(info) and info.domain == DOMAIN:
            reason = info.reason
        elif item.Unpack(request):
            lines += [f"{violation.field}: {violation.description}" for violation in request.field_violations]
    return reason, tuple(lines)
