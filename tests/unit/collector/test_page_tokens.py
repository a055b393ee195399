"""Page tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.collector.api.pages import cut, next_token, position, size_of
from tesserabench.collector.errors import InvalidArgumentError
from tesserabench.v1.run_service_pb2 import ListRunsRequest
from tesserabench.wire.reasons import Reason


@given(st.integers(-(2**63), 2**63 - 1), st.text(st.characters(exclude_characters="\x00"), max_size=40))
def test_a_token_gives_back_its_keys(number: int, text: str) -> None:
    request = ListRunsRequest(suite="core")
    request.page_token = next_token(request, [number, text])
    assert position(request, [int, str]) == [number, text]


def test_the_page_size_may_change_between_pages() -> None:
    token = next_token(ListRunsRequest(suite="core", page_size=10), [5])
    assert position(ListRunsRequest(suite="core", page_size=99, page_token=token), [int]) == [5]


def test_a_token_of_other_filters_is_refused() -> None:
    token = next_token(ListRunsRequest(suite="core"), [5])
    with pytest.raises(InvalidArgumentError, match="other filters") as caught:
        position(ListRunsRequest(suite="fft", page_token=token), [int])
    assert caught.value.reason is Reason.INVALID_PAGE_TOKEN


@given(st.text(min_size=1, max_size=60))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="page_token"):
        position(ListRunsRequest(page_token=text), [int])


def test_keys_of_another_kind_are_refused() -> None:
    token = next_token(ListRunsRequest(), ["5"])
    with pytest.raises(InvalidArgumentError):
        position(ListRunsRequest(page_token=token), [int])
    assert position(ListRunsRequest(), [int]) is None


@pytest.mark.parametrize("key", [2**63, -(2**63) - 1, 10**60, True, "a\x00b"])
def test_keys_that_no_row_can_have_are_refused_before_the_database_sees_them(key: int | str) -> None:
    token = next_token(ListRunsRequest(), [key])
    with pytest.raises(InvalidArgumentError, match="start from the first page") as caught:
        position(ListRunsRequest(page_token=token), [str if isinstance(key, str) else int])
    assert caught.value.reason is Reason.INVALID_PAGE_TOKEN


def test_pages_are_cut_to_size() -> None:
    assert size_of(ListRunsRequest()) == 50
    assert size_of(ListRunsRequest(page_size=7)) == 7
    assert cut([1, 2, 3], 2) == ([1, 2], True)
    assert cut([1, 2], 2) == ([1, 2], False)
