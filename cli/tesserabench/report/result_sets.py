"""Measured results in files, as the sets that a comparison takes.

Two kinds of documents hold them: trials that `tbctl bench run` wrote, and a run's results as `tbctl result list -o
json` gives them. Both have what the collector compares: a value for each launch, where it ran, and how it ended.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tesserabench.analysis.launch import OK, Launch, Side, log_error_of_interval
from tesserabench.analysis.results import Failure, ResultSet, SeriesKey, SeriesResult
from tesserabench.analysis.words import Better

KINDS = ("TrialResult", "TrialResultList", "ResultList")
"""Kinds of documents that can be read."""

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
        ValueError: it is none of `KINDS`, or lacks what a comparison needs.
    """
    kind = document.get("kind")
    try:
        if kind == "ResultList":
            cases, run = [_of_result(item) for item in document["items"] if not item.get("late")], _run(document)
        elif kind in {"TrialResult", "TrialResultList"}:
            trials = [document] if kind == "TrialResult" else document["items"]
            cases, run = [case for trial in trials for case in _of_trial(trial)], ""
        else:
            raise ValueError(f"its kind is {kind!r}; wanted is one of {', '.join(KINDS)}")
        return ResultSet(
            label=label, run=run, series=tuple(_series(cases)), failures=tuple(_failures(cases)), facts=_facts(document)
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is a {kind} that lacks or misplaces {error}") from error


def _run(document: Mapping[str, Any]) -> str:
    runs = {item.get("run", "") for item in document["items"]}
    return runs.pop() if len(runs) == 1 else ""


def _of_result(item: Mapping[str, Any]) -> _Case:
    result, uuid = item["result"], item.get("device_uuid", "")
    case = result["case"]
    return _Case(
        case_id=case["id"],
        suite=case.get("suite", ""),
        benchmark=case.get("benchmark", ""),
        parameters=case.get("parameters", {}),
        mode=result.get("mode", ""),
        host=item.get("host", ""),
        device_uuid=uuid,
        device_kind=_kind_of(uuid),
        device_model=item.get("device_model", ""),
        comparability=item.get("comparability", ""),
        outcome=result.get("outcome", ""),
        reason=result.get("reason", ""),
        measurements=[
            {**found, "count": found.get("statistics", {}).get("count")} for found in result.get("measurements", ())
        ],
    )


def _kind_of(uuid: str) -> str:
    """The kind of a device: its identity begins with it."""
    if uuid.startswith("cpu-"):
        return "cpu"
    return "simulated" if uuid.startswith("SIM-") else "cuda"


def _of_trial(trial: Mapping[str, Any]) -> Iterable[_Case]:
    header = trial["header"]
    device = header["device"]
    for found in trial["measurements"]:
        count = (found.get("statistics") or {}).get("n")
        case = found["case"]
        yield _Case(
            case_id=found["case_id"],
            suite=header["suite"],
            benchmark=case["benchmark"],
            parameters={str(name): str(value) for name, value in case.get("params", {}).items()},
            mode=str(found["mode"]),
            # A file does not say on which machine: what differs between machines is in its environment.
            host="",
            device_uuid=device.get("uuid") or "",
            device_kind=device["kind"],
            device_model=device.get("model") or "",
            comparability=header["environment"]["comparability"],
            outcome=str(found["outcome"]),
            reason=found.get("reason") or "",
            measurements=[
                {
                    "metric": metric["name"],
                    "count": count if metric.get("ci_low") is not None else None,
                    **{key: metric.get(key) for key in ("unit", "better", "primary", "value", "ci_low", "ci_high")},
                }
                for metric in found["metrics"]
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


def _facts(document: Mapping[str, Any]) -> dict[str, tuple[dict[str, str], ...]]:
    """Environment facts by comparability class; a run's results do not hold them."""
    if document["kind"] == "ResultList":
        return {}
    trials = [document] if document["kind"] == "TrialResult" else document["items"]
    facts: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for trial in trials:
        environment = trial["header"]["environment"]
        facts[environment["comparability"]].append(
            {str(name): str(value) for name, value in environment["facts"].items()}
        )
    return {comparability: tuple(group) for comparability, group in facts.items()}
