"""Where benchmarks and suites are registered and found."""

import difflib
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from tesserabench.bench.case import Params
from tesserabench.bench.definition import Axes, Benchmark, Count, Prepare, Suite
from tesserabench.bench.device.protocol import Fact
from tesserabench.bench.errors import RegistrationError, UnknownBenchmark, UnknownSuite
from tesserabench.bench.vocabulary import DeviceKind, Mode, Tier


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of an error sentence: close matches if there are any, else every known name."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else f"known: {', '.join(names) or 'none'}"


class Registry:
    """A set of suites and benchmarks; the installed one is `INSTALLED`, bundles and tests make their own.

    `facts` tell where the benchmarks come from and go into the environment of every trial; `default_suite` is the suite
    of benchmarks that name none.
    """

    def __init__(
        self,
        modules: tuple[str, ...] = (),
        *,
        facts: Mapping[str, Fact] | None = None,
        default_suite: str | None = None,
    ) -> None:
        self.facts: Mapping[str, Fact] = dict(facts or {})
        self.default_suite = default_suite
        self._modules = modules
        self._benchmarks: dict[str, Benchmark] = {}
        self._summaries: dict[str, str] = {}
        self._members: dict[str, tuple[str, ...]] = {}

    def suite(self, name: str, *, summary: str, members: tuple[str, ...] = ()) -> None:
        """Declare a suite; `members` are full names of benchmarks of other suites that also belong to it."""
        if name in self._summaries:
            raise RegistrationError(f"suite {name!r} is declared twice")
        self._require_current("suite", name)
        self._summaries[name], self._members[name] = summary, members

    def add(self, benchmark: Benchmark) -> None:
        """Register a benchmark whose suite is declared."""
        self._require_current("benchmark", benchmark.name)
        if benchmark.name in self._benchmarks:
            raise RegistrationError(f"benchmark {benchmark.name!r} is registered twice")
        if benchmark.suite not in self._summaries:
            raise RegistrationError(f"benchmark {benchmark.name!r} names the undeclared suite {benchmark.suite!r}")
        self._benchmarks[benchmark.name] = benchmark

    def suites(self) -> tuple[Suite, ...]:
        """Return every suite, by name."""
        self._load()
        return tuple(self._build(name) for name in sorted(self._summaries))

    def find_suite(self, name: str) -> Suite:
        """Return the suite `name`; raise UnknownSuite with near matches."""
        self._load()
        if name not in self._summaries:
            raise UnknownSuite(f"suite {name!r} is unknown; {nearest(name, self._summaries)}")
        return self._build(name)

    def find_benchmark(self, name: str) -> Benchmark:
        """Return the benchmark with this full name; raise UnknownBenchmark with near matches."""
        self._load()
        if name not in self._benchmarks:
            raise UnknownBenchmark(f"benchmark {name!r} is unknown; {nearest(name, self._benchmarks)}")
        return self._benchmarks[name]

    def _load(self) -> None:
        modules, self._modules = self._modules, ()
        if modules:
            with collecting(self):
                for module in modules:
                    importlib.import_module(module)

    def _require_current(self, kind: str, name: str) -> None:
        """Refuse what a bundle would add to the installed benchmarks while it is being imported."""
        current = _COLLECTING.get()
        if self is INSTALLED and current not in {None, self}:
            raise RegistrationError(
                f"{kind} {name!r} would be added to the installed benchmarks; inside a bundle use the decorator "
                "`benchmark` and the function `suite` of tesserabench.bench without a registry"
            )

    def _build(self, name: str) -> Suite:
        own = [item for item in self._benchmarks.values() if item.suite == name]
        return Suite(
            name=name,
            summary=self._summaries[name],
            benchmarks=(*own, *(self.find_benchmark(member) for member in self._members[name])),
        )


_COLLECTING: ContextVar[Registry | None] = ContextVar("collecting", default=None)

INSTALLED = Registry(("tesserabench.bench.workloads",))
"""What this installation brings; filled at the first look-up, so that importing the library stays cheap."""


@contextmanager
def collecting(registry: Registry) -> Iterator[None]:
    """Let declarations that name no registry go to this one: what a bundle's modules declare while imported."""
    token = _COLLECTING.set(registry)
    try:
        yield
    finally:
        _COLLECTING.reset(token)


def suite(name: str, *, summary: str, members: tuple[str, ...] = ()) -> None:
    """Declare a suite where the declarations around it go: the bundle that is being loaded, else `INSTALLED`."""
    (_COLLECTING.get() or INSTALLED).suite(name, summary=summary, members=members)


def benchmark(  # noqa: PLR0913 - a declaration names everything about a benchmark in one place
    *,
    name: str,
    suite: str | None = None,
    summary: str,
    parameters: Axes,
    tiers: Mapping[str, Axes] | None = None,
    device_tiers: Mapping[str, Mapping[str, Axes]] | None = None,
    devices: tuple[str, ...] = tuple(DeviceKind),
    flops: Count | None = None,
    bytes: Count | None = None,  # noqa: A002 - reads as the formula it is at every declaration
    tolerance: Callable[[Params], float] | None = None,
    version: int = 1,
    items: Count | None = None,
    mode: str = Mode.HOT,
    device_modes: Mapping[str, str] | None = None,
    modes: tuple[str, ...] = tuple(Mode),
    inputs: str = "normal",
    several_devices: bool = False,
    registry: Registry | None = None,
) -> Callable[[Prepare], Prepare]:
    """Register the decorated function as the way to prepare a benchmark's work.

    The function gets an array device, the parameters and a seed, and returns a Workload. Raise `version` whenever the
    work behind the same parameters changes: the history of the old version is not comparable. In a bundle `suite` may
    be left out: it is the bundle's own.
    """

    def register(prepare: Prepare) -> Prepare:
        target = registry or _COLLECTING.get() or INSTALLED
        owner = suite or target.default_suite
        if owner is None:
            raise RegistrationError(f"benchmark {name!r} names no suite; say which one with suite=")
        target.add(
            Benchmark(
                name=f"{owner}/{name}",
                suite=owner,
                summary=summary,
                prepare=prepare,
                parameters=parameters,
                tiers={Tier(tier): axes for tier, axes in (tiers or {}).items()},
                device_tiers={
                    DeviceKind(kind): {Tier(tier): axes for tier, axes in by_tier.items()}
                    for kind, by_tier in (device_tiers or {}).items()
                },
                devices=tuple(DeviceKind(kind) for kind in devices),
                flops=flops,
                bytes=bytes,
                tolerance=tolerance,
                version=version,
                items=items,
                mode=Mode(mode),
                device_modes={DeviceKind(kind): Mode(name) for kind, name in (device_modes or {}).items()},
                modes=frozenset(Mode(name) for name in modes),
                inputs=inputs,
                several_devices=several_devices,
            )
        )
        return prepare

    return register
