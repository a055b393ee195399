"""An agent inside the test's own event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tesserabench.agent.app import Agent
from tesserabench.agent.settings import Settings


@contextlib.asynccontextmanager
async def running_agent(settings: Settings) -> AsyncIterator[Agent]:
    """An agent that runs, and is stopped at once at the end. Errors of its own come out as an ExceptionGroup."""
    agent = Agent(settings)
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        task = group.create_task(agent.run())
        ready = group.create_task(agent.ready.wait())
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        try:
            yield agent
        finally:
            agent.stop_now()
