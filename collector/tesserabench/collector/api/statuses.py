"""Errors of ours as `google.rpc.Status`, with a stable reason for programs and the wrong fields for people."""

from collections.abc import Mapping

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from tesserabench.collector.errors import (
    AlreadyExistsError,
    CollectorError,
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
)
from tesserabench.wire.reasons import DOMAIN, Reason

_CODES: Mapping[type[CollectorError], grpc.StatusCode] = {
    InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
}

# Statuses travel in headers, whose size is limited to 8 KiB on both ends.
_LONGEST_MESSAGE = 2000
_LONGEST_DESCRIPTION = 300
_MOST_VIOLATIONS = 8


def code_of(error: CollectorError) -> grpc.StatusCode:
    """The status code of an error."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def status_of(error: CollectorError) -> rpc_status._Status:
    """What `context.abort` is called with: code, details and trailing metadata."""
    return _status(code_of(error), error.message, error.reason, error.violations)


def internal_status(reference: str) -> rpc_status._Status:
    """The status of an error that is our fault; its text stays in the log, under the reference."""
    message = f"the collector failed; its log says more under reference {reference}"
    return _status(grpc.StatusCode.INTERNAL, message, Reason.INTERNAL, (), reference=reference)


def _status(
    code: grpc.StatusCode,
    message: str,
    reason: Reason,
    violations: tuple[FieldViolation, ...],
    *,
    reference: str = "",
) -> rpc_status._Status:
    metadata = {"reference": reference} if reference else {}
    details = [_packed(error_details_pb2.ErrorInfo(reason=reason.value, domain=DOMAIN, metadata=metadata))]
    if violations:
        bad = error_details_pb2.BadRequest()
        for violation in violations[:_MOST_VIOLATIONS]:
            description = _cut(violation.description, _LONGEST_DESCRIPTION)
            bad.field_violations.add(field=_cut(violation.field, _LONGEST_DESCRIPTION), description=description)
        details.append(_packed(bad))
    text = _cut(message, _LONGEST_MESSAGE)
    return rpc_status.to_status(status_pb2.Status(code=code.value[0], message=text, details=details))


def _packed(message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
