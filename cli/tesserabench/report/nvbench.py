"""Local results in nvbench's JSON, version 1.0.0, so that its own tools can read and compare them.

Samples lie beside the document, as nvbench leaves them: little-endian float32, seconds in `FILE-bin/N.bin` and clocks
in hertz in `FILE-freqs-bin/N.bin`. nvbench calls every time of an isolated launch `cold`; which mode ours were taken in
stands in an axis of its own, so that two modes are never compared.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

VERSION = (1, 0, 0)
_PREFIX = "nv/cold/time/gpu"
_STATISTICS: tuple[tuple[str, str, str, str], ...] = (
    ("min", "min", "Min", "Smallest time of a launch"),
    ("max", "max", "Max", "Largest time of a launch"),
    ("mean", "mean", "GPU Time", "Mean time of a launch"),
    ("median", "median", "Median", "Median time of a launch"),
    ("q1", "q1", "Q1", "First quartile of the times of a launch"),
    ("q3", "q3", "Q3", "Third quartile of the times of a launch"),
)
_RATES: tuple[tuple[str, str, str, str], ...] = (
    ("bandwidth", "nv/cold/bw/global/bytes_per_second", "GlobalMem BW", "byte_rate"),
    ("item_rate", "nv/cold/bw/item_rate", "Elem/s", "item_rate"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NvbenchExport:
    """A document, and the files beside it by their path relative to it."""

    document: Mapping[str, Any]
    sidecars: Mapping[str, bytes]


def nvbench_export(results: Sequence[Mapping[str, Any]], file_name: str) -> NvbenchExport:
    """Return the trials (as `TrialResult.to_dict` gives them) as one nvbench result named `file_name`.

    The samples of a case in several trials are joined; the times are those of single launches.
    """
    states = _States(file_name)
    benchmarks: dict[str, list[Mapping[str, Any]]] = {}
    for group in _by_case(results).values():
        benchmarks.setdefault(group[0]["case"]["benchmark"], []).append(states.add(group))
    document = {
        "meta": {
            "argv": ["tbctl", "bench", "export"],
            "version": {
                "json": dict(zip(("major", "minor", "patch"), VERSION, strict=True))
                | {"string": ".".join(map(str, VERSION))}
            },
        },
        "devices": [_device(results)],
        "benchmarks": [_benchmark(name, index, found) for index, (name, found) in enumerate(benchmarks.items())],
    }
    return NvbenchExport(document=document, sidecars=states.sidecars)


def _by_case(results: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for result in results:
        for measurement in result["measurements"]:
            found.setdefault((measurement["case_id"], measurement["mode"]), []).append(measurement)
    return dict(sorted(found.items()))


class _States:
    """States in the making, with the files of their samples."""

    def __init__(self, file_name: str) -> None:
        self._file_name = file_name
        self.sidecars: dict[str, bytes] = {}

    def add(self, group: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the state of one case in one mode."""
        first = group[0]
        good = [item for item in group if item["outcome"] == "ok" and item["samples"]]
        axes = [_axis_value(name, value) for name, value in (*first["case"]["params"].items(), ("mode", first["mode"]))]
        state: dict[str, Any] = {
            "name": " ".join(["Device=0", *(f"{axis['name']}={axis['value']}" for axis in axes)]),
            "min_samples": 10,
            "skip_time": -1.0,
            "timeout": -1.0,
            "device": 0,
            "type_config_index": 0,
            "axis_values": axes,
            "summaries": [],
            "is_skipped": not good,
        }
        if not good:
            state["skip_reason"] = f"{first['outcome']}: {first['reason']}"
            return state
        state["summaries"] = [*_summaries(good), *self._samples(good)]
        return state

    def _samples(self, good: Sequence[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
        number = sum(1 for name in self.sidecars if name.startswith(f"{self._file_name}-bin/"))
        times = [nanoseconds / 1e9 for item in good for nanoseconds in item["samples"]]
        yield self._file(f"{self._file_name}-bin/{number}.bin", times, "nv/json/bin:nv/cold/sample_times", "Times")
        clocks = [megahertz * 1e6 for item in good for megahertz in item.get("clock_mhz") or ()]
        if len(clocks) == len(times):
            name = f"{self._file_name}-freqs-bin/{number}.bin"
            yield self._file(name, clocks, "nv/json/freqs-bin:nv/cold/sample_freqs", "Clocks")

    def _file(self, name: str, values: Sequence[float], tag: str, title: str) -> Mapping[str, Any]:
        self.sidecars[name] = struct.pack(f"<{len(values)}f", *values)
        return {
            "tag": tag,
            "name": f"Samples {title} File",
            "hint": "file/sample_times" if title == "Times" else "file/sample_freqs",
            "hide": "Not needed in table.",
            "description": f"{title} of the samples, little-endian float32",
            "data": [_datum("filename", "string", name), _datum("size", "int64", str(len(values)))],
        }


def _summaries(good: Sequence[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    times = sorted(nanoseconds / 1e9 for item in good for nanoseconds in item["samples"])
    found = _describe(times)
    yield _summary(
        "nv/cold/sample_size", "Samples", "sample_size", "Number of samples", "int64", str(len(times)), hide=False
    )
    for key, tag, name, text in _STATISTICS:
        shown = key in {"mean", "median"}
        yield _summary(f"{_PREFIX}/{tag}", name, "duration", text, "float64", found[key], hide=not shown)
    for key, tag, name, hint in (
        ("stdev", "stdev/absolute", "Stdev", "duration"),
        ("noise", "stdev/relative", "Noise", "percentage"),
        ("iqr", "iqr/absolute", "IQR", "duration"),
        ("iqr_share", "iqr/relative", "Rel IQR", "percentage"),
    ):
        hide = key not in {"noise", "iqr_share"}
        yield _summary(f"{_PREFIX}/{tag}", name, hint, f"{name} of the times", "float64", found[key], hide=hide)
    metrics = {metric["name"]: metric["value"] for metric in good[0]["metrics"]}
    for metric, tag, name, hint in _RATES:
        if metric in metrics:
            text = f"The engine's metric {metric}, of the first trial"
            yield _summary(tag, name, hint, text, "float64", metrics[metric], hide=False)
    clocks = [megahertz * 1e6 for item in good for megahertz in item.get("clock_mhz") or ()]
    if clocks:
        mean = sum(clocks) / len(clocks)
        yield _summary(
            "nv/cold/sm_clock_rate/mean", "Clock Rate", "frequency", "Mean SM clock", "float64", mean, hide=True
        )


def _describe(times: Sequence[float]) -> Mapping[str, float]:
    """Return nvbench's summaries of sorted times: quartiles by linear interpolation."""

    def at(share: float) -> float:
        place = share * (len(times) - 1)
        low = int(place)
        high = min(low + 1, len(times) - 1)
        return times[low] + (place - low) * (times[high] - times[low])

    mean = sum(times) / len(times)
    spread = (sum((value - mean) ** 2 for value in times) / max(1, len(times) - 1)) ** 0.5
    q1, median, q3 = at(0.25), at(0.5), at(0.75)
    return {
        "min": times[0],
        "max": times[-1],
        "mean": mean,
        "median": median,
        "q1": q1,
        "q3": q3,
        "stdev": spread,
        "noise": spread / mean if mean else 0.0,
        "iqr": q3 - q1,
        "iqr_share": (q3 - q1) / median if median else 0.0,
    }


def _summary(  # noqa: PLR0913, PLR0917 - the fields of nvbench's own record, in its order
    tag: str, name: str, hint: str, description: str, kind: str, value: object, *, hide: bool
) -> Mapping[str, Any]:
    found: dict[str, Any] = {"tag": tag, "name": name, "hint": hint}
    if hide:
        found["hide"] = "Hidden by default."
    return {**found, "description": description, "data": [_datum("value", kind, value)]}


def _datum(name: str, kind: str, value: object) -> Mapping[str, Any]:
    return {"name": name, "type": kind, "value": value}


def _axis_value(name: str, value: object) -> Mapping[str, Any]:
    """Return a parameter as nvbench writes it: 64-bit integers are texts, truth values are texts too."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"name": name, "type": "int64", "value": str(value)}
    if isinstance(value, float):
        return {"name": name, "type": "float64", "value": value}
    return {"name": name, "type": "string", "value": str(value).lower() if isinstance(value, bool) else str(value)}


def _benchmark(name: str, index: int, states: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    axes: dict[str, dict[str, Any]] = {}
    for axis in (axis for state in states for axis in state["axis_values"]):
        found = axes.setdefault(axis["name"], {"name": axis["name"], "type": axis["type"], "flags": "", "values": []})
        text = str(axis["value"])
        if text not in {value["input_string"] for value in found["values"]}:
            entry = {"input_string": text, "description": ""}
            found["values"].append(entry if axis["type"] == "string" else {**entry, "value": axis["value"]})
    return {
        "name": name,
        "index": index,
        "min_samples": 10,
        "skip_time": -1.0,
        "timeout": -1.0,
        "devices": [0],
        "axes": list(axes.values()),
        "states": list(states),
    }


def _device(results: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return what is known of the device; what is not known is left out."""
    header = next((result["header"] for result in results if result["header"] is not None), None)
    info: Mapping[str, Any] = {} if header is None else header["device"]
    found = {
        "id": 0,
        "name": info.get("model") or "unknown",
        "global_memory_size": info.get("memory_bytes"),
        "l2_cache_size": info.get("cache_bytes"),
        "number_of_sms": info.get("processors"),
    }
    return {name: value for name, value in found.items() if value is not None}
