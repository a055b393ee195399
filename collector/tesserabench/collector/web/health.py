"""Whether this replica is alive and ready, as probes ask for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from tesserabench.collector.errors import CollectorError

LARGEST_LAG_SECONDS = 10.0
_BEAT_SECONDS = 0.5
_CHECK_SECONDS = 5.0

_log = structlog.get_logger(__name__)

Check = Callable[[], Awaitable[None]]
"""Returns when all is well, and raises a CollectorError that says what is not."""


class Pulse:
    """How late the event loop is: a loop that is held up cannot serve anybody."""

    def __init__(self) -> None:
        self.lag_seconds = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due = time.monotonic() + _BEAT_SECONDS
            await asyncio.sleep(_BEAT_SECONDS)
            late = max(0.0, time.monotonic() - due)
            # A spike stays visible for a few beats.
            self.lag_seconds = max(late, self.lag_seconds / 2)


def routes(pulse: Pulse, checks: Mapping[str, Check]) -> list[Route]:
    """`/healthz` (alive: restart me if not) and `/readyz` (ready: send me no calls if not)."""

    async def healthz(_request: Request) -> JSONResponse:
        alive = pulse.lag_seconds <= LARGEST_LAG_SECONDS
        body = {"alive": alive, "loop_lag_seconds": round(pulse.lag_seconds, 4)}
        return JSONResponse(body, status_code=200 if alive else 503)

    async def readyz(_request: Request) -> JSONResponse:
        outcomes = await asyncio.gather(*(_outcome(check) for check in checks.values()))
        told = dict(zip(checks, outcomes, strict=True))
        ready = all(outcome == "ok" for outcome in outcomes)
        return JSONResponse({"ready": ready, "checks": told}, status_code=200 if ready else 503)

    return [Route("/healthz", healthz), Route("/readyz", readyz)]


async def _outcome(check: Check) -> str:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except TimeoutError:
        return f"no answer within {_CHECK_SECONDS:g} s"
    except CollectorError as error:
        return error.message
    return "ok"
