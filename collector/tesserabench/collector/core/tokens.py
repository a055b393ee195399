"""Bearer tokens: 256 random bits, kept as their SHA-256, shown once."""

import hashlib
import secrets
import time
from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import audit
from tesserabench.collector.core.actors import Actor, anonymous, token_actor
from tesserabench.collector.errors import (
    AlreadyExistsError,
    NotFoundError,
    UnauthenticatedError,
    invalid_field,
)
from tesserabench.collector.store import tokens as store
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.tables import Token
from tesserabench.collector.store.words import Role
from tesserabench.wire.names import HOST_PATTERN, PROJECT_PATTERN
from tesserabench.wire.reasons import Reason

PREFIX = "tb_"
"""Begins every token, so that scanners for leaked secrets can find them."""

_REMEMBERED = 4096
_REMEMBER_SECONDS = 5.0


def digest(secret: str) -> bytes:
    """What is kept of a token. Its 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


def parse_role(text: str) -> tuple[Role, str]:
    """Role and host in `viewer`, `runner`, `admin` or `agent:HOST`.

    Raises:
        InvalidArgumentError: it is none of these.
    """
    word, _, host = text.partition(":")
    if word == Role.AGENT and HOST_PATTERN.fullmatch(host):
        return Role.AGENT, host
    if text in {Role.VIEWER, Role.RUNNER, Role.ADMIN}:
        return Role(text), ""
    raise invalid_field("role", text, "give viewer, runner, admin or agent:HOST")


async def create(session: AsyncSession, *, name: str, role: str, project: str, actor: str) -> str:
    """The secret of a new token; it cannot be read again.

    Raises:
        InvalidArgumentError: role or project are not of their form.
        AlreadyExistsError: the name is taken.
    """
    word, host = parse_role(role)
    if not name or len(name) > 128:
        raise invalid_field("name", name, "give a name of 1 to 128 characters that says who uses the token")
    if project and not PROJECT_PATTERN.fullmatch(project):
        raise invalid_field("project", project, "give the name of a project, or leave it out for all of them")
    if await store.by_name(session, name) is not None:
        raise AlreadyExistsError(f"name: {name!r}: is taken; choose another", reason=Reason.INVALID_FIELD)
    secret = PREFIX + secrets.token_urlsafe(32)
    session.add(Token(name=name, sha256=digest(secret), role=word.value, project=project, host=host))
    await audit.record(session, actor, "token.created", f"tokens/{name}", {"role": role, "project": project})
    return secret


async def revoke(session: AsyncSession, name: str, *, actor: str) -> None:
    """Make a token worthless from now on (within seconds on every replica).

    Raises:
        NotFoundError: there is no such token that is still good.
    """
    if not await store.revoke(session, name):
        message = f"name: {name!r}: no such token, or it is revoked already; list the tokens to find its name"
        raise NotFoundError(message, reason=Reason.TOKEN_INVALID)
    await audit.record(session, actor, "token.revoked", f"tokens/{name}")


class Authenticator:
    """Who is behind an `authorization` header. Remembers tokens for a few seconds to spare the database."""

    def __init__(self, database: Database, *, required: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._required = required
        self._clock = clock
        self._remembered: dict[bytes, tuple[float, Actor]] = {}

    async def actor(self, header: str | None) -> Actor:
        """The caller.

        Raises:
            UnauthenticatedError: no token where one is needed, or one that is not good.
            UnavailableError: the database cannot be asked.
        """
        if not self._required:
            return anonymous()
        if not header:
            message = "no token was sent; set TBCTL_TOKEN, or token_file in the agent's settings"
            raise UnauthenticatedError(message, reason=Reason.TOKEN_MISSING)
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise UnauthenticatedError("the authorization header is not `Bearer TOKEN`", reason=Reason.TOKEN_INVALID)
        return await self._known(digest(secret.strip()))

    async def _known(self, key: bytes) -> Actor:
        now = self._clock()
        remembered = self._remembered.get(key)
        if remembered is not None and remembered[0] > now:
            return remembered[1]
        async with self._database.transaction() as session:
            token = await store.by_digest(session, key)
        if token is None:
            self._remembered.pop(key, None)
            message = "the token is unknown or revoked; ask an administrator for a new one"
            raise UnauthenticatedError(message, reason=Reason.TOKEN_INVALID)
        actor = token_actor(token.name, Role(token.role), token.project, token.host)
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = (now + _REMEMBER_SECONDS, actor)
        return actor
