"""Bearer tokens."""

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.tables import Token


async def by_name(session: AsyncSession, name: str) -> Token | None:
    """The token of this name, revoked or not."""
    return await session.scalar(select(Token).where(Token.name == name))


async def by_digest(session: AsyncSession, sha256: bytes) -> Token | None:
    """The good token whose secret has this SHA-256."""
    return await session.scalar(select(Token).where(Token.sha256 == sha256, Token.revoked_at.is_(None)))


async def everything(session: AsyncSession) -> Sequence[Token]:
    """Every token by name."""
    return (await session.scalars(select(Token).order_by(Token.name))).all()


async def revoke(session: AsyncSession, name: str) -> bool:
    """Whether there was a good token of this name; it is revoked now."""
    statement = update(Token).where(Token.name == name, Token.revoked_at.is_(None)).values(revoked_at=func.now())
    return await session.scalar(statement.returning(Token.id)) is not None
