"""The collector's errors.

    CollectorError
    ├── InvalidArgumentError      a field of a request is wrong, whatever the state     INVALID_ARGUMENT
    ├── NotFoundError             the thing that a request names is not there           NOT_FOUND
    ├── AlreadyExistsError        the name is taken                                     ALREADY_EXISTS
    ├── FailedPreconditionError   the thing's state forbids it                          FAILED_PRECONDITION
    ├── UnauthenticatedError      the caller does not say who it is                     UNAUTHENTICATED
    ├── PermissionDeniedError     the caller may not                                    PERMISSION_DENIED
    ├── UnavailableError          passing trouble; worth trying again                   UNAVAILABLE
    │   └── DatabaseSetupError    the database needs a person before it can be used     UNAVAILABLE
    └── ResourceExhaustedError    a limit is reached                                    RESOURCE_EXHAUSTED

    SettingsError                 a setting is wrong; the program ends before it begins   exit status 2

Each CollectorError carries a stable reason for programs and a sentence for people that says what was wrong, with what
value, and what to do. One interceptor turns them into statuses; nothing else does.
"""

from dataclasses import dataclass

from tesserabench.wire.reasons import Reason


class SettingsError(Exception):
    """The settings are wrong; one line per mistake names where it stands, the key, the value and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One wrong field of a request."""

    field: str
    description: str


class CollectorError(Exception):
    """Something that the caller is told about, with a stable reason."""

    def __init__(self, message: str, *, reason: Reason, violations: tuple[FieldViolation, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.violations = violations


class InvalidArgumentError(CollectorError):
    """A field of a request is wrong, whatever the state of the system."""


class NotFoundError(CollectorError):
    """The thing that a request names is not there, or the caller may not see it."""


class AlreadyExistsError(CollectorError):
    """The name is taken."""


class FailedPreconditionError(CollectorError):
    """The thing's state forbids it."""


class UnauthenticatedError(CollectorError):
    """The caller does not say who it is, or not in a way that we believe."""


class PermissionDeniedError(CollectorError):
    """The caller may not do this."""


class UnavailableError(CollectorError):
    """Passing trouble; worth trying again."""


class DatabaseSetupError(UnavailableError):
    """The database cannot be started or migrated until a person does what the message says."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=Reason.DATABASE_UNAVAILABLE)


class ResourceExhaustedError(CollectorError):
    """A limit is reached."""


def invalid_field(
    field: str, value: object, remedy: str, *, reason: Reason = Reason.INVALID_FIELD
) -> InvalidArgumentError:
    """The error for one wrong field: names field, value and remedy."""
    shown = repr(value) if len(repr(value)) <= 200 else repr(value)[:200] + "…"
    violation = FieldViolation(field=field, description=f"{shown}: {remedy}")
    return InvalidArgumentError(f"{field}: {shown}: {remedy}", reason=reason, violations=(violation,))
