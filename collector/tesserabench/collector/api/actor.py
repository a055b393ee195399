"""The caller of the running call, set by the interceptor and read by the services."""

from contextvars import ContextVar

from tesserabench.collector.core.actors import Actor
from tesserabench.collector.errors import NotFoundError, PermissionDeniedError
from tesserabench.wire.reasons import Reason

_actor: ContextVar[Actor] = ContextVar("tesserabench_actor")


def current_actor() -> Actor:
    """The caller of this call.

    Raises:
        LookupError: no interceptor has run; a service must never be served without it.
    """
    return _actor.get()


def set_actor(actor: Actor) -> None:
    """Remember the caller for the rest of this call."""
    _actor.set(actor)


def require_host(host: str) -> Actor:
    """The caller, if it may speak for this host.

    Raises:
        PermissionDeniedError: the token is another host's.
    """
    actor = current_actor()
    if not actor.may_speak_for(host):
        message = f"token {actor.name!r} may not speak for host {host!r}; use the token made for agent:{host}"
        raise PermissionDeniedError(message, reason=Reason.ROLE_MISSING)
    return actor


def require_project(project: str) -> Actor:
    """The caller, if its scope covers this project.

    Raises:
        PermissionDeniedError: the token is for another project.
    """
    actor = current_actor()
    if not actor.may_use_project(project):
        message = (
            f"token {actor.name!r} is for project {actor.project!r}, not {project!r}; use a token for that project"
        )
        raise PermissionDeniedError(message, reason=Reason.ROLE_MISSING)
    return actor


def require_seen(project: str, missing: NotFoundError) -> Actor:
    """The caller, if its scope covers this project.

    For what is found by a number: whoever may not see it learns neither that it is there nor whose it is.

    Raises:
        NotFoundError: `missing`, which is what would be raised if it were not there.
    """
    actor = current_actor()
    if not actor.may_use_project(project):
        raise missing
    return actor


def require_all_projects(what: str) -> Actor:
    """The caller, if its scope is every project.

    Args:
        what: What it is about, and why one project does not suffice: the beginning of the sentence that refuses.

    Raises:
        PermissionDeniedError: the token is for one project.
    """
    actor = current_actor()
    if actor.project:
        message = (
            f"{what}, and token {actor.name!r} is for project {actor.project!r}; ask whoever looks after the hosts, "
            "whose token is for all projects"
        )
        raise PermissionDeniedError(message, reason=Reason.ROLE_MISSING)
    return actor
