"""Errors as statuses."""

import pytest
from google.rpc import error_details_pb2, status_pb2
from tesserabench.collector import errors
from tesserabench.collector.api.statuses import code_of, internal_status, status_of
from tesserabench.wire.reasons import DOMAIN, Reason

KINDS = [
    (errors.InvalidArgumentError, "INVALID_ARGUMENT"),
    (errors.NotFoundError, "NOT_FOUND"),
    (errors.AlreadyExistsError, "ALREADY_EXISTS"),
    (errors.FailedPreconditionError, "FAILED_PRECONDITION"),
    (errors.UnauthenticatedError, "UNAUTHENTICATED"),
    (errors.PermissionDeniedError, "PERMISSION_DENIED"),
    (errors.UnavailableError, "UNAVAILABLE"),
    (errors.ResourceExhaustedError, "RESOURCE_EXHAUSTED"),
]


def unpacked(status: object) -> status_pb2.Status:
    (pair,) = status.trailing_metadata  # type: ignore[attr-defined] # grpc_status has no stubs
    message = status_pb2.Status()
    message.ParseFromString(pair[1])
    return message


@pytest.mark.parametrize(("kind", "code"), KINDS)
def test_each_error_has_its_code(kind: type[errors.CollectorError], code: str) -> None:
    assert code_of(kind("text", reason=Reason.INVALID_FIELD)).name == code


def test_every_error_of_the_tree_has_a_code() -> None:
    direct = {kind for kind in errors.CollectorError.__subclasses__() if kind.__module__ == errors.__name__}
    assert direct == {kind for kind, _ in KINDS}


def test_a_status_carries_reason_and_fields() -> None:
    status = unpacked(status_of(errors.invalid_field("spec.suite", "cor", "did you mean core?")))
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad)
    assert (info.reason, info.domain) == ("INVALID_FIELD", DOMAIN)
    assert bad.field_violations[0].field == "spec.suite"
    assert "did you mean core?" in bad.field_violations[0].description
    assert status.message == "spec.suite: 'cor': did you mean core?"


def test_a_status_fits_into_headers_however_long_the_error_is() -> None:
    violations = tuple(errors.FieldViolation(field="f" * 5000, description="d" * 5000) for _ in range(50))
    error = errors.InvalidArgumentError("m" * 100_000, reason=Reason.INVALID_FIELD, violations=violations)
    assert len(unpacked(status_of(error)).SerializeToString()) < 8000


def test_an_unforeseen_error_tells_a_reference_and_no_text() -> None:
    status = unpacked(internal_status("abc123"))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.metadata["reference"] == "abc123"
    assert "abc123" in status.message
