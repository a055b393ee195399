"""Documents for programs, and how tables fit."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.contract_values import a_comparison, a_result, a_run, an_entry
from tesserabench.cli.output.structured import as_json, as_yaml, document, list_document, plain
from tesserabench.cli.output.table import Column, clean, render_csv, render_table
from tesserabench.cli.output.words import enum_word, number_of, words_of
from tesserabench.cli.reproduce import exact_pattern, reproduce_command
from tesserabench.v1.host_pb2 import Host
from tesserabench.v1.measurement_pb2 import DeviceState, Outcome
from tesserabench.v1.run_pb2 import Progress, Run, RunSpec


def test_words_replace_enum_values_and_unspecified_is_absent() -> None:
    values = plain(a_run(verdict="regressed", severity="major"))
    assert (values["state"], values["outcome"], values["verdict"]) == ("finished", "ok", "regressed")
    assert "verdict" not in plain(a_run())
    assert enum_word(Outcome.DESCRIPTOR, 99) == "unrecognized_99"
    assert all(enum_word(Outcome.DESCRIPTOR, number_of(Outcome, word)) == word for word in words_of(Outcome))


def test_unknown_is_absent_and_zero_is_zero() -> None:
    state = plain(DeviceState(utilization=0.0))
    assert state["utilization"] == 0.0
    assert "temperature_celsius" not in state
    progress = plain(Progress())
    assert "cases_total" not in progress
    assert progress["cases_done"] == 0
    assert plain(a_result())["trial"] == 0
    assert "create_time" not in plain(Run())


def test_times_durations_and_large_integers_have_one_form() -> None:
    spec = RunSpec(suite="gemm", seed=2**63)
    spec.timeout.FromNanoseconds(1_500_000_000)
    values = plain(spec)
    assert (values["timeout_seconds"], values["seed"]) == (1.5, 2**63)
    assert plain(a_run())["create_time"] == "2030-01-31T18:00:00.000Z"


def test_maps_of_messages_and_of_numbers_are_kept() -> None:
    host = Host(name="hosts/a")
    host.devices["GPU-1"].throttle_ns["sw_power_cap"] = 5
    assert plain(host)["devices"] == {
        "GPU-1": {"throttle_reasons": [], "throttle_ns": {"sw_power_cap": 5}, "foreign_pids": [], "findings": []}
    }


def test_numbers_that_json_cannot_say_are_absent() -> None:
    values = plain(a_comparison(an_entry(), verdict="pass"))
    assert json.loads(as_json(document("Comparison", values)))["kind"] == "Comparison"
    entry = an_entry()
    entry.p_value = float("nan")
    assert "p_value" not in plain(entry)


def test_documents_are_versioned() -> None:
    assert json.loads(as_json(list_document("Run", []))) == {
        "apiVersion": "tesserabench/v1",
        "kind": "RunList",
        "items": [],
    }
    assert as_yaml(document("Run", {"name": "runs/1"})) == "apiVersion: tesserabench/v1\nkind: Run\nname: runs/1"


Row = dict[str, str | float | bool | None]

COLUMNS: tuple[Column[Row], ...] = (
    Column(title="NAME", value=lambda row: row["name"], shrink=True),
    Column(title="COUNT", value=lambda row: row["count"], right=True),
    Column(title="MORE", value=lambda row: None, wide=True),
)


def test_tables_are_cut_to_the_width_and_wide_ones_are_not() -> None:
    rows: list[Row] = [{"name": "x" * 200, "count": 3}, {"name": "y", "count": None}]
    table = render_table(COLUMNS, rows, wide=False, width=100, color=False)
    assert {len(line) for line in table.splitlines()} == {100}
    assert "…" in table
    assert "MORE" not in table
    wide = render_table(COLUMNS, rows, wide=True, width=100, color=False)
    assert "x" * 200 in wide
    assert wide.splitlines()[2].split() == ["y", "-", "-"]


def test_csv_has_every_column_and_plain_values() -> None:
    rows: list[Row] = [{"name": 'a "b", c', "count": 3.0}, {"name": "y", "count": True}]
    assert render_csv(COLUMNS, rows) == 'name,count,more\n"a ""b"", c",3,\ny,true,'


@given(st.text())
def test_cells_cannot_steer_a_terminal(text: str) -> None:
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in clean(text))
    assert len(clean(text)) == len(text)


def test_colours_do_not_move_the_columns() -> None:
    state: Column[Row] = Column(title="STATE", value=lambda row: "ok", style=lambda row: "good")
    rows: list[Row] = [{"name": "n"}]
    table = render_table((*COLUMNS[:1], state), rows, wide=False, width=100, color=True)
    assert "\x1b[32mok   \x1b[0m" in table


def test_reproducing_takes_the_run_apart() -> None:
    run = a_run()
    run.spec.overrides.add(parameter="matmul.m", value="512")
    run.spec.drill["gemm/matmul"] = 1.12
    line = reproduce_command(run, an_entry(verdict="regressed", severity="major"))
    assert line == (
        "tbctl run trigger --suite gemm --tier regression --device cuda "
        r"--benchmark '^gemm/matmul\[m=512,n=512,k=512,dtype=float32\]$' --set matmul.m=512 --seed 7 "
        "--drill gemm/matmul=1.12 --nodes gpu-07 --commit abc1234def5678 --baseline run:41 --wait"
    )
    assert reproduce_command(None, an_entry()) == "tbctl run retry 42 --wait"


@given(st.text(alphabet=st.characters(codec="ascii"), min_size=1))
def test_exact_pattern_matches_its_own_text_alone(text: str) -> None:
    import re  # noqa: PLC0415 - for this test alone

    assert re.fullmatch(exact_pattern(text)[1:-1], text)


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\r\nb"])
def test_control_characters_are_replaced(text: str) -> None:
    assert "\x1b" not in clean(text)
    assert "\n" not in clean(text)
