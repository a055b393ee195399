"""The pages: server-rendered, escaped everywhere, without scripts and without anything from elsewhere."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import ChainableUndefined, Environment, FileSystemLoader
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from tesserabench.collector.core.version import VERSION
from tesserabench.collector.errors import CollectorError, NotFoundError, UnavailableError
from tesserabench.collector.store.database import Database
from tesserabench.collector.web import figures, overview, regression_page, run_page, series_page

_HERE = Path(__file__).parent
_LARGEST_ID = 2**63 - 1

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

Reader = Callable[[AsyncSession], Awaitable[Any]]


def routes(database: Database, clock: Callable[[], datetime]) -> list[BaseRoute]:
    """`/`, `/runs/{id}`, `/regressions/{id}`, `/series/{id}` and the files that they need."""
    pages = _Pages(database, clock)
    return [
        Route("/", pages.overview),
        Route("/runs/{id}", pages.run),
        Route("/regressions/{id}", pages.regression),
        Route("/series/{id}", pages.series),
        Mount("/static", StaticFiles(directory=_HERE / "static")),
    ]


class _Pages:
    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            # Whatever a template's name is.
            autoescape=True,
            # What is unknown is absent from a stored comparison, at any depth.
            undefined=ChainableUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "value": figures.value,
            "percent": figures.percent,
            "seconds": figures.seconds,
            "clock": figures.clock,
            "word": figures.word,
            "enum_word": figures.enum_word,
        }

    async def overview(self, _request: Request) -> Response:
        """The state of things."""
        now = self._clock()
        return await self._answer("overview.html", lambda session: overview.read(session, now))

    async def run(self, request: Request) -> Response:
        """One run."""
        run_id = _id(request)
        if run_id is None:
            return self._error(404, "No such page", f"{request.url.path} has no run's number in it.")
        return await self._answer("run.html", lambda session: run_page.read(session, run_id, self._clock()))

    async def regression(self, request: Request) -> Response:
        """One regression."""
        regression_id = _id(request)
        if regression_id is None:
            return self._error(404, "No such page", f"{request.url.path} has no regression's number in it.")
        return await self._answer("regression.html", lambda session: regression_page.read(session, regression_id))

    async def series(self, request: Request) -> Response:
        """The history of one series."""
        series_id, now = _id(request), self._clock()
        if series_id is None:
            return self._error(404, "No such page", f"{request.url.path} has no series' number in it.")
        query = dict(request.query_params)
        return await self._answer("series.html", lambda session: series_page.read(session, series_id, query, now))

    async def _answer(self, template: str, read: Reader) -> Response:
        try:
            async with self._database.transaction() as session:
                page = await read(session)
                return self._rendered(template, page=page)
        except NotFoundError as error:
            return self._error(404, "Not there", f"{error.message}.")
        except UnavailableError as error:
            return self._error(503, "Not available", f"{error.message}.")
        except CollectorError as error:
            return self._error(400, "Cannot be shown", f"{error.message}.")

    def _error(self, code: int, title: str, message: str) -> Response:
        return self._rendered("error.html", code, title=title, message=message)

    def _rendered(self, template: str, code: int = 200, **values: Any) -> Response:
        now = self._clock()
        text = self._templates.get_template(template).render(now=now, ago=figures.ago(now), version=VERSION, **values)
        return HTMLResponse(text, code, headers=_HEADERS)


def _id(request: Request) -> int | None:
    text: str = request.path_params["id"]
    return int(text) if text.isascii() and text.isdigit() and int(text) <= _LARGEST_ID else None
