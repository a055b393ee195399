"""Measured results in files, as the sets that a comparison takes.

Two kinds of documents hold them: trials that `tbctl bench run` wrote, and a run's results as `tbctl result list -o
json` gives them. Both have what the collector compares: a value for each launch, where it ran, and how it ended.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tesserabench.analysis.launch import OK, Launch, Side, log_error_of_interval
from tesserabench.analysis.results import Failure, ResultSet, SeriesKey, SeriesResult
from tesserabench.analysis.words import Better
from tesserabench.report.document_fields import Fields

KINDS = ("TrialResult", "TrialResultList", "ResultList")
"""Kinds of documents that can be read."""

API_VERSION = "tesserabench/v1"
"""The version of them that is understood."""

_UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One case in one launch, from either kind of document."""

    case_id: str
    suite: str
    benchmark: str
    parameters: Mapping[str, str]
    mode: str
    host: str
    device_uuid: str
    device_kind: str
    device_model: str
    comparability: str
    outcome: str
    reason: str
    measurements: Sequence[Mapping[str, Any]]
    """Each with metric, unit, better, primary, value, ci_low, ci_high and count, absent where unknown."""

    @property
    def device(self) -> str:
        """A GPU's model; for a CPU its host, because no two machines are alike."""
        on_host = self.device_kind == "cpu" or not self.device_model
        return (self.host or self.device_model) if on_host else self.device_model


def result_set(document: Mapping[str, Any], *, label: str) -> ResultSet:
    """What a document measured.

    Args:
        document: Parsed JSON.
        label: What the comparison calls it, such as the name of its file.

    Raises:
        ValueError: it is none of `KINDS`, of another version, or has a field that is not as it must be.
    """
    kind, version = document.get("kind"), document.get("apiVersion", API_VERSION)
    if kind not in KINDS:
        raise ValueError(f"its kind is {kind!r:.40}; wanted is one of {', '.join(KINDS)}")
    if version != API_VERSION:
        raise ValueError(f"its apiVersion is {version!r:.40}; this tbctl reads {API_VERSION}")
    top = Fields(document)
    items = [top] if kind == "TrialResult" else list(top.each("items"))
    _refuse_repeated(items)
    if kind == "ResultList":
        cases = [_of_result(item) for item in items if not item.flag("late")]
        runs, facts = {item.text("run") for item in items}, {}
    else:
        cases = [case for item in items for case in _of_trial(item)]
        runs, facts = {""}, _facts(items)
    return ResultSet(
        label=label,
        run=runs.pop() if len(runs) == 1 else "",
        series=tuple(_series(cases)),
        failures=tuple(_failures(cases)),
        facts=facts,
    )


def _refuse_repeated(items: Sequence[Fields]) -> None:
    """What is in a file twice was measured once, and must not count as two launches."""
    seen: dict[str, Fields] = {}
    for item in items:
        first = seen.setdefault(json.dumps(item.values, sort_keys=True), item)
        if first is not item:
            here, there = (fields.path.rstrip(".") for fields in (item, first))
            raise ValueError(f"{here} is the same as {there}; each launch is in a file once, so take one of them out")


def _of_result(item: Fields) -> _Case:
    result, uuid = item.inner("result"), item.text("device_uuid")
    case = result.inner("case")
    return _Case(
        case_id=case.name("id"),
        suite=case.text("suite"),
        benchmark=case.text("benchmark"),
        parameters=case.inner_or_empty("parameters").texts(),
        mode=result.text("mode"),
        host=item.text("host"),
        device_uuid=uuid,
        device_kind=_kind_of(uuid),
        device_model=item.text("device_model"),
        comparability=item.text("comparability"),
        outcome=result.text("outcome"),
        reason=result.text("reason"),
        measurements=[
            _measured(found, "metric", found.inner_or_empty("statistics").count("count"))
            for found in (result.each("measurements") if result.has("measurements") else ())
        ],
    )


def _measured(found: Fields, name: str, count: int | None) -> Mapping[str, Any]:
    return {
        "metric": found.name(name),
        "unit": found.text("unit"),
        "better": found.text("better"),
        "primary": found.flag("primary"),
        "count": count,
        **{key: found.number(key) for key in ("value", "ci_low", "ci_high")},
    }


def _kind_of(uuid: str) -> str:
    """The kind of a device: its identity begins with it."""
    if uuid.startswith("cpu-"):
        return "cpu"
    return "simulated" if uuid.startswith("SIM-") else "cuda"


def _of_trial(trial: Fields) -> Iterable[_Case]:
    header = trial.inner("header")
    device = header.inner("device")
    seen: dict[tuple[str, str], str] = {}
    for found in trial.each("measurements"):
        case = found.inner("case")
        case_id, mode = found.name("case_id"), found.name("mode")
        here = found.path.rstrip(".")
        first = seen.setdefault((case_id, mode), here)
        if first != here:
            raise ValueError(f"{here} is {case_id} ({mode}) again, as {first} is; a launch measures a case once")
        samples = found.inner_or_empty("statistics").count("n")
        yield _Case(
            case_id=case_id,
            suite=header.name("suite"),
            benchmark=case.name("benchmark"),
            parameters=case.inner_or_empty("params").texts(),
            mode=mode,
            # A file does not say on which machine: what differs between machines is in its environment.
            host="",
            device_uuid=device.text("uuid"),
            device_kind=device.name("kind"),
            device_model=device.text("model"),
            comparability=header.inner("environment").name("comparability"),
            outcome=found.name("outcome"),
            reason=found.text("reason"),
            measurements=[
                _measured(metric, "name", samples if metric.has("ci_low") else None) for metric in found.each("metrics")
            ],
        )


def _series(cases: Sequence[_Case]) -> Iterable[SeriesResult]:
    grouped: defaultdict[SeriesKey, list[tuple[_Case, Mapping[str, Any]]]] = defaultdict(list)
    for case in cases:
        for found in case.measurements:
            if found.get("better") in set(Better):
                key = SeriesKey(case_id=case.case_id, mode=case.mode, metric=found["metric"], device=case.device)
                grouped[key].append((case, found))
    for key, group in grouped.items():
        first, metric = group[0]
        yield SeriesResult(
            key=key,
            suite=first.suite,
            benchmark=first.benchmark,
            parameters=first.parameters,
            unit=metric.get("unit") or "",
            primary=bool(metric.get("primary")),
            side=Side(
                launches=tuple(_launch(case, found) for case, found in group),
                better=Better(metric["better"]),
                device_kind=min(case.device_kind for case, _ in group),
            ),
            hosts=tuple(sorted({case.host for case, _ in group if case.host})),
        )


def _launch(case: _Case, found: Mapping[str, Any]) -> Launch:
    # A metric computed from the samples of another stands on those.
    most = max((other.get("count") or 0 for other in case.measurements), default=0)
    low, high = found.get("ci_low"), found.get("ci_high")
    return Launch(
        value=found.get("value"),
        samples=found.get("count") or most or 1,
        log_error=None if low is None or high is None else log_error_of_interval(low, high),
        place=f"{case.host}/{case.device_uuid}",
        comparability=case.comparability,
        outcome=case.outcome,
        reason="" if case.outcome == OK else case.reason,
    )


def _failures(cases: Sequence[_Case]) -> Iterable[Failure]:
    for case in cases:
        if case.measurements or case.outcome in {OK, _UNSUPPORTED}:
            continue
        yield Failure(
            case_id=case.case_id,
            mode=case.mode,
            suite=case.suite,
            benchmark=case.benchmark,
            parameters=case.parameters,
            launch=Launch(value=None, comparability=case.comparability, outcome=case.outcome, reason=case.reason),
        )


def _facts(trials: Sequence[Fields]) -> dict[str, tuple[dict[str, str], ...]]:
    """Environment facts by comparability class; a run's results do not hold them."""
    facts: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for trial in trials:
        environment = trial.inner("header").inner("environment")
        facts[environment.name("comparability")].append(environment.inner_or_empty("facts").texts())
    return {comparability: tuple(group) for comparability, group in facts.items()}
