"""The work of one case made ready to be timed: prepared, verified, warm. A case run times it, and so may others."""

from collections.abc import Callable

from tesserabench.bench.case import Case
from tesserabench.bench.definition import Benchmark
from tesserabench.bench.device.protocol import Device
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.measurement import Correctness, Warmup
from tesserabench.bench.plan import MeasureOptions
from tesserabench.bench.timing.rotation import Sets, close_all, prepare_sets
from tesserabench.bench.timing.sampling import BACK_TO_BACK, Armed, Setup
from tesserabench.bench.timing.warmup import warm_up
from tesserabench.bench.verification import Verifier, limit_of
from tesserabench.bench.vocabulary import Backend, Mode, Outcome

SHORTEST_BACK_TO_BACK_NS = 10_000
"""Enqueueing a launch through Python takes three to ten microseconds: where the host runs along with the device, a
shorter time back to back is the host's. Graphs, and streams held back until all is queued, leave the host out."""


class CaseWork:
    """The work of a case. `prepare`, `verify` and `warm_up` in this order, then `close`, whatever became of them."""

    def __init__(  # noqa: PLR0913 - what a case needs, all keyword-only
        self,
        *,
        device: Device,
        benchmark: Benchmark,
        case: Case,
        mode: Mode,
        seed: int,
        options: MeasureOptions,
        keep_going: Callable[[], None],
    ) -> None:
        self._device, self._benchmark, self._case = device, benchmark, case
        self._mode, self._seed, self._options, self._keep_going = mode, seed, options, keep_going
        self._sets: Sets | None = None
        self._verifier: Verifier | None = None
        self._armed: Armed | None = None
        self.determinism: float | None = None
        """Share of repeated launches that gave the same bits, where it was asked for."""

    @property
    def mode(self) -> Mode:
        """How it is timed."""
        return self._mode

    @property
    def sets(self) -> Sets:
        """The sets of inputs and outputs."""
        assert self._sets is not None, "prepare comes first"
        return self._sets

    @property
    def verifier(self) -> Verifier:
        """What checks the outputs."""
        assert self._verifier is not None, "verify comes first"
        return self._verifier

    @property
    def armed(self) -> Armed:
        """What takes samples."""
        assert self._armed is not None, "warm_up comes first"
        return self._armed

    @property
    def correctness(self) -> Correctness | None:
        """What the latest check of the outputs found, if there was one."""
        return None if self._verifier is None else self._verifier.last

    @property
    def setup(self) -> Setup:
        """What is measured, on what, and how."""
        return Setup(
            device=self._device,
            workloads=self.sets.workloads,
            mode=self._mode,
            options=self._options,
            seed=self._seed,
            keep_going=self._keep_going,
            drill_factor=self._options.drill.get(self._benchmark.name),
        )

    def prepare(self) -> None:
        """Build the work; raise CaseFailure when this device, in this mode, cannot or should not do it."""
        kind, name = self._device.info.kind, self._benchmark.name
        if kind not in self._benchmark.devices:
            supported = ", ".join(self._benchmark.devices)
            raise CaseFailure(Outcome.UNSUPPORTED, f"{name} does not run on {kind}; it runs on: {supported}")
        if self._mode not in self._benchmark.modes:
            meant = ", ".join(mode for mode in Mode if mode in self._benchmark.modes)
            raise CaseFailure(
                Outcome.UNSUPPORTED, f"{name} means nothing in mode {self._mode}; name no mode, or one of: {meant}"
            )
        state = self._device.state()
        if self._options.require_idle and state.foreign_processes:
            raise CaseFailure(
                Outcome.BUSY,
                f"{state.foreign_processes} other process(es) compute on the device; wait until it is idle, "
                "or set require_idle to false and accept disturbed times",
            )
        self._sets = prepare_sets(self._device, self._benchmark, self._case, self._seed, self._mode)

    def verify(self) -> None:
        """Compute the reference and check one launch over poisoned outputs; raise CaseFailure(incorrect) if wrong."""
        self._verifier = Verifier(self._device, self.sets.workloads, limit_of(self._benchmark, self._case))
        self._verifier.open()
        self.determinism = self._verifier.determinism(self._options.determinism_launches)

    def warm_up(self) -> Warmup:
        """Launch until times stand still and return what it took; refuse what only times the host."""
        warmup, self._armed = warm_up(self.setup)
        launch_ns, backend = self._armed.launch_ns, self._armed.timing.backend
        if backend is Backend.EVENTS and self._mode in BACK_TO_BACK and launch_ns < SHORTEST_BACK_TO_BACK_NS:
            raise CaseFailure(
                Outcome.UNSUPPORTED,
                f"a launch takes {launch_ns} ns, less than the host needs to enqueue it: timed by events, mode "
                f"{self._mode} would time the host; use back end graph or blocked, or mode cold or host",
            )
        return warmup

    def close(self) -> None:
        """Give everything back."""
        if self._armed is not None:
            self._armed.timing.close()
        if self._sets is not None:
            close_all(self._sets.workloads)
