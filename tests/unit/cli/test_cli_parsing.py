"""Texts into values, and values into texts."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.cli.address import Address, parse_address
from tesserabench.cli.errors import SettingsError, UsageProblem
from tesserabench.cli.parsing import (
    any_of,
    parse_boolean,
    parse_duration,
    parse_moment,
    parse_pair,
    parse_regression_id,
    parse_run_id,
    short_id,
)
from tesserabench.report.quantity import change, change_interval, digits, duration, interval, percent, quantity

NOW = datetime(2030, 1, 31, 18, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("40m", 2400), ("1h30m", 5400), ("500ms", 0.5), ("2d", 172_800), ("0", 0), ("1.5", 1.5)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 minutes", "-3s", "1h30", "3m junk", "400d", "1e9"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(UsageProblem):
        parse_duration(text)


def test_moments_are_durations_from_now_or_times_with_a_zone() -> None:
    assert parse_moment("2h", now=NOW) == NOW + timedelta(hours=2)
    assert parse_moment("2030-02-01T01:00:00+01:00", now=NOW) == datetime(2030, 2, 1, tzinfo=UTC)
    for bad in ("2030-02-01T00:00:00", "2020-01-01T00:00:00Z", "later"):
        with pytest.raises(UsageProblem):
            parse_moment(bad, now=NOW)


def test_ids_are_read_in_every_spelling() -> None:
    assert {parse_run_id(text) for text in ("42", "run:42", "runs/42", " 042 ")} == {"runs/42"}
    assert {parse_regression_id(text) for text in ("7", "R-7", "r-7", "regressions/7")} == {"regressions/7"}
    assert short_id("runs/42") == "42"
    for bad in ("", "4x", "hosts/4", "-1", "9" * 19):
        with pytest.raises(UsageProblem):
            parse_run_id(bad)


def test_pairs_and_booleans() -> None:
    assert parse_pair("a=b=c", form="K=V") == ("a", "b=c")
    with pytest.raises(UsageProblem, match="K=V"):
        parse_pair("=b", form="K=V")
    assert [parse_boolean(text) for text in ("yes", "ON", "0", "false")] == [True, True, False, False]
    with pytest.raises(UsageProblem):
        parse_boolean("maybe")


@pytest.mark.parametrize(
    ("text", "insecure", "address"),
    [
        ("127.0.0.1:7710", False, Address(host="127.0.0.1", port=7710, tls=False)),
        ("localhost", False, Address(host="localhost", port=7710, tls=False)),
        ("[::1]:99", False, Address(host="::1", port=99, tls=False)),
        ("bench.example.org", False, Address(host="bench.example.org", port=7710, tls=True)),
        ("bench.example.org:1", True, Address(host="bench.example.org", port=1, tls=False)),
        ("http://bench.example.org", False, Address(host="bench.example.org", port=7710, tls=False)),
        ("https://127.0.0.1:7710/", False, Address(host="127.0.0.1", port=7710, tls=True)),
    ],
)
def test_addresses_are_plaintext_on_loopback_and_tls_elsewhere(text: str, insecure: bool, address: Address) -> None:
    found = parse_address(text, insecure=insecure, origin="flag --server")
    assert found == address
    assert parse_address(found.text, insecure=False, origin="") == address


@pytest.mark.parametrize(
    ("text", "insecure"),
    [
        ("", False),
        ("ftp://x", False),
        ("x:0", False),
        ("x:70000", False),
        ("x:", False),
        ("a b", False),
        ("https://x", True),
    ],
)
def test_other_addresses_are_refused_with_their_origin(text: str, insecure: bool) -> None:
    with pytest.raises(SettingsError, match="TBCTL_SERVER"):
        parse_address(text, insecure=insecure, origin="environment TBCTL_SERVER")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1_234_000, "ns", "1.234 ms"),
        (999.96, "ns", "1000 ns"),
        (12_340, "ns", "12.34 µs"),
        (2.5e9, "ns", "2.500 s"),
        (0.25, "ns", "0.2500 ns"),
        (8.123e11, "FLOP/s", "812.3 GFLOP/s"),
        (3.35e12, "B/s", "3.350 TB/s"),
        (85_899_345_920, "B", "80.00 GiB"),
        (0, "ns", "0 ns"),
        (0.83, "1", "0.8300"),
        (12.5, "J", "12.50 J"),
        (None, "ns", "-"),
    ],
)
def test_quantities_have_four_digits_and_a_fitting_unit(value: float | None, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_intervals_share_the_scale_of_their_value() -> None:
    assert interval(999_000, 1_001_000, value=1_000_000, unit="ns") == "[0.9990, 1.001]"
    assert interval(None, 1, value=1, unit="ns") == "-"
    assert change_interval(0.039, 0.0461) == "[+3.9, +4.6]"
    assert (change(-0.0421), change(None), percent(0.834), percent(None)) == ("-4.2 %", "-", "83 %", "-")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.45, "0.45s"),
        (3, "3s"),
        (12.4, "12s"),
        (185, "3m05s"),
        (3720, "1h02m"),
        (90_000, "1d01h"),
        (None, "-"),
        (59.7, "1m00s"),
    ],
)
def test_durations_are_short(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(min_value=1e-3, max_value=1e14))
def test_digits_keep_the_value_to_four_places(value: float) -> None:
    assert float(digits(value)) == pytest.approx(value, rel=6e-4)


def test_patterns_are_joined_and_one_alone_keeps_its_flags() -> None:
    assert any_of(()) is None
    assert any_of(("(?i)COPY",)) == "(?i)COPY"
    assert any_of(("a|b", "c")) == "(?:a|b)|(?:c)"


def test_the_time_that_is_suggested_can_be_given() -> None:
    with pytest.raises(UsageProblem, match="has no time zone; write 2030-02-01T00:00:00Z") as caught:
        parse_moment("2030-02-01", now=NOW)
    suggested = str(caught.value).partition("write ")[2].partition(",")[0]
    assert parse_moment(suggested, now=NOW) == datetime(2030, 2, 1, tzinfo=UTC)
