"""Local results as nvbench and google-benchmark write theirs.

The shapes were held against nvbench's own reader, summary and comparison (cuda-bench 0.3.0) and against the fields that
google-benchmark's compare.py reads; what they need is asserted here.
"""

import json
import struct
from typing import Any

import pytest
from tesserabench.report.google_benchmark import google_benchmark_document
from tesserabench.report.nvbench import nvbench_export

SAMPLES = [1000, 1010, 990, 1005, 5000]


def measurement(**changes: Any) -> dict[str, Any]:
    return {
        "case_id": "memory/copy[n=1024,dtype=float32,aligned=true,scale=0.5]",
        "case": {
            "benchmark": "memory/copy",
            "params": {"n": 1024, "dtype": "float32", "aligned": True, "scale": 0.5},
        },
        "mode": "cold",
        "outcome": "ok",
        "reason": "",
        "samples": SAMPLES,
        "clock_mhz": [1980.0, 1980.0, 1975.0, 1980.0, 990.0],
        "statistics": {"median": 1005},
        "metrics": [{"name": "time", "value": 1005.0}, {"name": "bandwidth", "value": 8.15e9}],
        "sampling": {"iterations": 4},
        "flags": ["low_clock"],
        **changes,
    }


def trial(*measurements: dict[str, Any]) -> dict[str, Any]:
    device = {"model": "NVIDIA H100", "memory_bytes": 85_899_345_920, "cache_bytes": 52_428_800, "processors": 132}
    return {
        "header": {
            "suite": "memory",
            "device": device,
            "engine_version": "0.1.0",
            "environment": {"comparability": "abcd", "facts": {"cpu.cores": 64}},
        },
        "measurements": list(measurements),
    }


def state_of(export: Any, place: int = 0) -> Any:
    return export.document["benchmarks"][0]["states"][place]


def summary(state: Any, tag: str, field: str = "value") -> Any:
    (found,) = [item for item in state["summaries"] if item["tag"] == tag]
    (datum,) = [item for item in found["data"] if item["name"] == field]
    return datum["type"], datum["value"]


def test_nvbench_gets_version_device_axes_and_summaries() -> None:
    export = nvbench_export([trial(measurement())], "out.json")
    document = json.loads(json.dumps(export.document))
    assert document["meta"]["version"]["json"] == {"major": 1, "minor": 0, "patch": 0, "string": "1.0.0"}
    assert document["devices"] == [
        {
            "id": 0,
            "name": "NVIDIA H100",
            "global_memory_size": 85_899_345_920,
            "l2_cache_size": 52_428_800,
            "number_of_sms": 132,
        }
    ]
    (bench,) = document["benchmarks"]
    assert (bench["name"], bench["devices"]) == ("memory/copy", [0])
    assert [(axis["name"], axis["type"]) for axis in bench["axes"]] == [
        ("n", "int64"),
        ("dtype", "string"),
        ("aligned", "string"),
        ("scale", "float64"),
        ("mode", "string"),
    ]
    assert bench["axes"][0]["values"] == [{"input_string": "1024", "description": "", "value": "1024"}]
    assert {axis["flags"] for axis in bench["axes"]} == {""}
    state = state_of(export)
    assert state["name"] == "Device=0 n=1024 dtype=float32 aligned=true scale=0.5 mode=cold"
    assert state["is_skipped"] is False
    assert summary(state, "nv/cold/sample_size") == ("int64", "5")
    assert summary(state, "nv/cold/time/gpu/median") == ("float64", pytest.approx(1005e-9))
    assert summary(state, "nv/cold/time/gpu/q1") == ("float64", pytest.approx(1000e-9))
    assert summary(state, "nv/cold/time/gpu/q3") == ("float64", pytest.approx(1010e-9))
    assert summary(state, "nv/cold/time/gpu/mean") == ("float64", pytest.approx(1801e-9))
    assert summary(state, "nv/cold/time/gpu/stdev/relative")[1] == pytest.approx(0.99296, rel=1e-3)
    assert summary(state, "nv/cold/time/gpu/iqr/absolute")[1] == pytest.approx(10e-9)
    assert summary(state, "nv/cold/bw/global/bytes_per_second") == ("float64", 8.15e9)
    assert summary(state, "nv/cold/sm_clock_rate/mean")[1] == pytest.approx(1781e6)


def test_nvbench_finds_the_samples_in_files_beside_the_document() -> None:
    other = measurement(case_id="memory/copy[n=2]", case={"benchmark": "memory/copy", "params": {"n": 2}}, clock_mhz=[])
    export = nvbench_export([trial(measurement(), other), trial(measurement())], "out.json")
    assert set(export.sidecars) == {"out.json-bin/0.bin", "out.json-bin/1.bin", "out.json-freqs-bin/0.bin"}
    state = state_of(export)
    assert summary(state, "nv/json/bin:nv/cold/sample_times", "filename") == ("string", "out.json-bin/0.bin")
    assert summary(state, "nv/json/bin:nv/cold/sample_times", "size") == ("int64", "10")
    times = struct.unpack("<10f", export.sidecars["out.json-bin/0.bin"])
    assert times == pytest.approx([value / 1e9 for value in SAMPLES] * 2)
    assert struct.unpack("<10f", export.sidecars["out.json-freqs-bin/0.bin"])[4] == pytest.approx(990e6)
    assert len(export.document["benchmarks"][0]["axes"][0]["values"]) == 2


def test_case_that_failed_is_a_skipped_state_with_its_reason() -> None:
    failed = measurement(outcome="incorrect", reason="off by 3", samples=[], statistics=None, metrics=[])
    state = state_of(nvbench_export([trial(failed)], "out.json"))
    assert state["is_skipped"] is True
    assert state["skip_reason"] == "incorrect: off by 3"
    assert state["summaries"] == []


def test_trial_without_a_header_has_an_unknown_device() -> None:
    assert nvbench_export([{"header": None, "measurements": []}], "x").document["devices"] == [
        {"id": 0, "name": "unknown"}
    ]


def test_google_benchmark_gets_a_repetition_for_each_trial() -> None:
    slow = measurement(statistics={"median": 1025}, flags=[])
    document = json.loads(json.dumps(google_benchmark_document([trial(measurement()), trial(slow)])))
    rows = document["benchmarks"]
    name = "memory/copy[n=1024,dtype=float32,aligned=true,scale=0.5]/cold"
    assert [row["run_type"] for row in rows] == ["iteration", "iteration", *(["aggregate"] * 4)]
    assert {(row["name"], row["repetitions"], row["time_unit"]) for row in rows[:2]} == {(name, 2, "ns")}
    assert [(row["repetition_index"], row["real_time"], row["cpu_time"]) for row in rows[:2]] == [
        (0, 1005.0, 1005.0),
        (1, 1025.0, 1025.0),
    ]
    assert rows[0]["iterations"] == 20
    assert rows[0]["bytes_per_second"] == 8.15e9
    assert rows[0]["label"] == "low_clock"
    assert "label" not in rows[1]
    aggregates = {row["aggregate_name"]: row for row in rows[2:]}
    assert aggregates["mean"]["real_time"] == aggregates["median"]["real_time"] == 1015
    assert aggregates["stddev"]["real_time"] == pytest.approx(14.142, rel=1e-4)
    assert aggregates["cv"]["aggregate_unit"] == "percentage"
    assert aggregates["mean"]["name"] == f"{name}_mean"
    assert document["context"]["num_cpus"] == 64
    assert "failed" not in document["context"]


def test_case_that_failed_has_no_time_for_google_benchmark() -> None:
    failed = measurement(outcome="timeout", reason="hung", statistics=None, samples=[])
    document = google_benchmark_document([trial(failed)])
    assert document["benchmarks"] == []
    assert document["context"]["failed"] == [f"{failed['case_id']}/cold: timeout: hung"]
