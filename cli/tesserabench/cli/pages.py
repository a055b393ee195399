"""Lists that come in pages, read to their end or to a limit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tesserabench.cli.connection import Collector
from tesserabench.v1.result_service_pb2 import ListResultsRequest, Result

Item = TypeVar("Item")

LARGEST_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[Item]):
    """Items, and whether there are more."""

    items: list[Item]
    more: bool


def read_pages(fetch: Callable[[int, str], tuple[Sequence[Item], str]], *, limit: int | None) -> Listing[Item]:
    """Read pages until there are `limit` items, or all with None.

    `fetch` takes a page size and a token, and gives items and the next token.
    """
    items: list[Item] = []
    token = ""
    while True:
        wanted = LARGEST_PAGE if limit is None else min(LARGEST_PAGE, limit - len(items))
        page, next_token = fetch(wanted, token)
        items += page
        full = limit is not None and len(items) >= limit
        # A token that does not move would never end.
        if full or not next_token or next_token == token:
            return Listing(items=items[:limit], more=bool(next_token))
        token = next_token


def all_results(collector: Collector, run: str, *, case_pattern: str = "", with_samples: bool = False) -> list[Result]:
    """Every result of a run, in the order of case, host and trial."""

    def fetch(size: int, token: str) -> tuple[Sequence[Result], str]:
        request = ListResultsRequest(
            run=run,
            case_pattern=case_pattern,
            with_samples=with_samples,
            # Samples are large; a page of them must stay below the limit of a message.
            page_size=min(size, 50) if with_samples else size,
            page_token=token,
        )
        answer = collector.call(collector.stubs.results.ListResults, request)
        return answer.results, answer.next_page_token

    return read_pages(fetch, limit=None).items
