"""Trials of one plan, each in a process of its own: the launches that a verdict counts."""

import time
from collections.abc import Mapping
from typing import Any

from tesserabench.cli.errors import CliError


def measure_fresh(  # noqa: PLR0913 - what a trial needs, all keyword-only
    library: Any,
    *,
    plan: Any,
    device: str,
    threads: int | None,
    bundle: tuple[str, str] | None,
    trials: int,
    observer: Any,
) -> list[Any]:
    """One result a trial; a trial whose process died has the outcome that says so. Seeds count up from the plan's.

    `bundle` is its place and its digest: files that change from one trial to the next would be mixed in silence.
    An interrupt ends the trial that it falls into, and begins no other: what was measured until then is returned.

    Raises:
        CliError: the device cannot be opened.
    """
    from dataclasses import replace  # noqa: PLC0415 - with the library

    from tesserabench.bench.duet.process import WorkerEnd, WorkerOrder, run_worker  # noqa: PLC0415 - with the library

    results: list[Any] = []
    for number in range(trials):
        seeded = replace(plan, seed=plan.seed + number)
        order: dict[str, Any] = {"device": device, "threads": threads, "plan": seeded.to_dict()}
        if bundle is not None:
            order["bundle"], order["digests"] = bundle[0], bundle[1:]
        taken = _Taken(library, seeded, observer)
        try:
            end = run_worker(WorkerOrder(order=order), taken.take)
        except KeyboardInterrupt:
            # The worker is gone by now, and everything that it had told is here.
            end = WorkerEnd(outcome=library.Outcome.INTERRUPTED, reason="the process was interrupted; run it again")
        if not results:
            taken.require_begun(end)
        results.append(taken.result(end))
        if end.outcome == library.Outcome.INTERRUPTED:
            break
    return results


class _Taken:
    """What a worker told, put together as the result that it would have returned."""

    def __init__(self, library: Any, plan: Any, observer: Any) -> None:
        self._library, self._observer, self._plan = library, observer, plan
        self._header: Any = None
        self._done: list[Any] = []
        self._cases = {case.id: case for case in plan.cases}
        self._began = time.monotonic()

    def take(self, message: Mapping[str, Any]) -> None:
        """Keep what will be part of the result; tell the observer of the rest."""
        match message["kind"]:
            case "header":
                self._header = self._library.TrialHeader.from_dict(message["header"])
                self._observer.header(self._header)
            case "measurement":
                self._done.append(self._library.Measurement.from_dict(message["measurement"]))
            case "progress":
                self._observer.progress(message["done"], message["total"])
            case "phase":
                self._observer.phase(self._cases.get(message["case"]), message["phase"], message["budget"])

    def require_begun(self, end: Any) -> None:
        """Look whether the worker began at all.

        Raises:
            CliError: it could not, because of what was asked for.
        """
        if end.result is None and self._header is None and end.outcome == self._library.Outcome.UNSUPPORTED:
            raise CliError(end.reason)

    def result(self, end: Any) -> Any:
        """The trial's result; where the process ended before it told one, from what it did tell."""
        from dataclasses import replace  # noqa: PLC0415 - with the library

        if end.result is not None:
            said = self._library.TrialResult.from_dict({**end.result, "measurements": []})
            return replace(said, header=self._header, measurements=tuple(self._done))
        done = {measurement.case_id for measurement in self._done}
        return self._library.TrialResult(
            outcome=end.outcome,
            reason=end.reason,
            duration_seconds=time.monotonic() - self._began,
            header=self._header,
            measurements=tuple(self._done),
            not_run=tuple(case.id for case in self._plan.order if case.id not in done),
        )
