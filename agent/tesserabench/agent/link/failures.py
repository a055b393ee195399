"""What a failed call means for the agent: pure, from status code and reason to what to do next."""

from dataclasses import dataclass
from enum import StrEnum

import grpc
from google.rpc import error_details_pb2, status_pb2
from tesserabench.wire.reasons import DOMAIN, Reason


class Remedy(StrEnum):
    """What the agent does about a failed call."""

    RETRY = "retry"
    """Passing trouble: try again soon, with jitter."""
    WAIT = "wait"
    """Only a person can mend it: say so, and try again slowly."""
    REGISTER = "register"
    """The collector does not know this process: register again."""
    STOP = "stop"
    """A newer process of this host has registered: stop work and exit."""


_REMEDIES_BY_REASON = {
    Reason.HOST_NOT_REGISTERED: Remedy.REGISTER,
    Reason.SUPERSEDED: Remedy.STOP,
    Reason.DATABASE_UNAVAILABLE: Remedy.RETRY,
}

# Codes that no repetition mends by itself.
_LASTING = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
}

_ADVICE = {
    grpc.StatusCode.UNAUTHENTICATED: "give this host a valid token (token_file) or client certificate (tls.cert)",
    grpc.StatusCode.PERMISSION_DENIED: "give this host a token with the role agent for this host name",
    grpc.StatusCode.UNIMPLEMENTED: "the address may be that of another program, or of an older collector: upgrade it",
    grpc.StatusCode.INVALID_ARGUMENT: "correct the named setting, or use agent and collector of the same release",
    grpc.StatusCode.UNAVAILABLE: "check the collector's address and that it runs; work and results are kept meanwhile",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed call in the agent's words. `reason` is empty when the other end gave none."""

    code: grpc.StatusCode
    reason: str
    message: str
    remedy: Remedy
    advice: str


def classify(code: grpc.StatusCode, reason: str, message: str) -> Failure:
    """The failure for a status code, the stable reason beside it and the sentence for people."""
    remedy = _REMEDIES_BY_REASON.get(reason)  # type: ignore[call-overload] # a StrEnum key equals its text
    if remedy is None:
        remedy = Remedy.WAIT if code in _LASTING else Remedy.RETRY
    advice = _ADVICE.get(code, "")
    if reason == Reason.SCHEMA_VERSION_UNSUPPORTED:
        advice = "agent and collector are of different releases: upgrade the older one"
    return Failure(code=code, reason=reason, message=message, remedy=remedy, advice=advice)


def explain(error: grpc.aio.AioRpcError) -> Failure:
    """The failure for an error that a call raised."""
    return classify(error.code(), _reason_of(error), error.details() or "")


def _reason_of(error: grpc.aio.AioRpcError) -> str:
    """The `ErrorInfo.reason` of our domain that travels in the trailing metadata, or an empty text."""
    for name, value in error.trailing_metadata() or ():
        if name != "grpc-status-details-bin" or not isinstance(value, bytes):
            continue
        status = status_pb2.Status()
        status.ParseFromString(value)
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info) and info.domain == DOMAIN:
                return str(info.reason)
    return ""
