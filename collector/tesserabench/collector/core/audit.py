"""Who changed what: one row per change by a person or token, in the transaction of the change."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.tables import Audit


async def record(
    session: AsyncSession, actor: str, action: str, resource: str, detail: dict[str, Any] | None = None
) -> None:
    """Add an audit row to the session's transaction.

    Args:
        session: The transaction that makes the change.
        actor: Name of the token, or `anonymous`, or `collector` for what the collector does by itself.
        action: Noun and verb in the past, for example `run.cancelled`.
        resource: Name of what was changed, for example `runs/42`.
        detail: What else a reader should know, JSON-serialisable.
    """
    session.add(Audit(actor=actor, action=action, resource=resource, detail=detail or {}))
