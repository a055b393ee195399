"""Local results in google-benchmark's JSON, so that its compare.py and the dashboards that read it work on them.

A trial is a repetition: its time is the median of its samples. Samples of one process share that process's luck, and
compare.py's U test over them would find differences between equals; over trials it does not. A case that failed has no
entry (compare.py would take its time for zero): the context lists it.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

_COUNTERS = {"bandwidth": "bytes_per_second", "item_rate": "items_per_second", "throughput": "flops_per_second"}


def google_benchmark_document(results: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the trials (as `TrialResult.to_dict` gives them) as one google-benchmark result; times in nanoseconds."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for result in results:
        for measurement in result["measurements"]:
            groups.setdefault((measurement["case_id"], measurement["mode"]), []).append(measurement)
    benchmarks: list[Mapping[str, Any]] = []
    for index, ((case, mode), group) in enumerate(sorted(groups.items())):
        benchmarks += _family(f"{case}/{mode}", index, group)
    return {"context": _context(results), "benchmarks": benchmarks}


def _family(name: str, index: int, group: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    good = [item for item in group if item["outcome"] == "ok" and item["statistics"] is not None]
    for repetition, measurement in enumerate(good):
        row = {
            "name": name,
            **_identity(name, index, len(good)),
            "run_type": "iteration",
            "repetition_index": repetition,
            "threads": 1,
            "iterations": len(measurement["samples"]) * measurement["sampling"]["iterations"],
            **_times(float(measurement["statistics"]["median"])),
            **_counters(measurement),
        }
        rows.append({**row, "label": " ".join(measurement["flags"])} if measurement["flags"] else row)
    times = [float(row["real_time"]) for row in rows]
    return [*rows, *(_aggregates(name, index, times) if len(times) > 1 else ())]


def _identity(name: str, index: int, repetitions: int) -> dict[str, Any]:
    return {
        "family_index": index,
        "per_family_instance_index": 0,
        "run_name": name,
        "repetitions": repetitions,
    }


def _times(nanoseconds: float) -> dict[str, Any]:
    """Return a time as both of google-benchmark's: a device's work has no processor time of its own."""
    return {"real_time": nanoseconds, "cpu_time": nanoseconds, "time_unit": "ns"}


def _counters(measurement: Mapping[str, Any]) -> dict[str, float]:
    metrics = {metric["name"]: metric["value"] for metric in measurement["metrics"]}
    return {shown: metrics[name] for name, shown in _COUNTERS.items() if name in metrics}


def _aggregates(name: str, index: int, times: Sequence[float]) -> list[Mapping[str, Any]]:
    mean, spread = statistics.fmean(times), statistics.stdev(times)
    values = {
        "mean": (mean, "time"),
        "median": (statistics.median(times), "time"),
        "stddev": (spread, "time"),
        "cv": (spread / mean if mean else 0.0, "percentage"),
    }
    return [
        {
            **_identity(name, index, len(times)),
            "name": f"{name}_{word}",
            "run_type": "aggregate",
            "threads": 1,
            "aggregate_name": word,
            "aggregate_unit": unit,
            "iterations": len(times),
            **_times(value),
        }
        for word, (value, unit) in values.items()
    ]


def _context(results: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    header = next((result["header"] for result in results if result["header"] is not None), None)
    facts: Mapping[str, Any] = {} if header is None else header["environment"]["facts"]
    found: dict[str, Any] = {
        "executable": "tbctl bench run",
        "library_build_type": "release",
        "caches": [],
        "num_cpus": facts.get("cpu.cores"),
        "device": None if header is None else header["device"]["model"],
        "suite": None if header is None else header["suite"],
        "engine_version": None if header is None else header["engine_version"],
        "comparability": None if header is None else header["environment"]["comparability"],
        "bundle_digest": facts.get("bundle.digest"),
        "failed": _failed(results) or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _failed(results: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{item['case_id']}/{item['mode']}: {item['outcome']}: {item['reason']}"
        for result in results
        for item in result["measurements"]
        if item["outcome"] != "ok"
    ]
