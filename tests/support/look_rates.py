"""How often a run with further looks is judged wrongly, simulated: sessions that differ, hosts that differ."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from tesserabench.analysis.compare import compare
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.launch import Launch, Side
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.results import ResultSet, SeriesKey, SeriesResult
from tesserabench.analysis.sequential import Look, Matter, Standing, may_be_settled, review
from tesserabench.analysis.spending import Spending
from tesserabench.analysis.words import Better, Verdict

KEY = SeriesKey(case_id="case", mode="cold", metric="time", device="Model")
CHANGES = (0.0, 0.05, 0.10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What launches and sessions differ by, as standard deviations of logarithms."""

    name: str
    kind: str
    launch: float
    session: float
    launches: int = 5
    hosts: int = 1
    turns: bool = False
    """The base's code is at hand: further looks measure both sides in turns."""


SCENARIOS = (
    Scenario(name="controlled GPU", kind="cuda", launch=0.005, session=0.0015),
    Scenario(name="controlled GPUs, two hosts", kind="cuda", launch=0.005, session=0.0015, hosts=2),
    Scenario(name="restless GPU", kind="cuda", launch=0.02, session=0.01),
    Scenario(name="restless GPU, in turns", kind="cuda", launch=0.02, session=0.01, turns=True),
    Scenario(name="quiet CPU", kind="cpu", launch=0.01, session=0.005),
    Scenario(name="quiet CPU, in turns", kind="cpu", launch=0.01, session=0.005, turns=True),
    Scenario(name="shared CPU", kind="cpu", launch=0.03, session=0.015),
    Scenario(name="busy CPU", kind="cpu", launch=0.08, session=0.04),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Shares of runs that ended so, and how many further looks a run took on average."""

    regressed: float
    improved: float
    inconclusive: float
    looks: float


class _Machine:
    def __init__(self, scenario: Scenario, generator: np.random.Generator) -> None:
        self.scenario, self._generator = scenario, generator
        self.hosts = generator.normal(0.0, 0.025, scenario.hosts)

    def session(self, host: int, change: float, run: str) -> ResultSet:
        """One run: its launches share what the session adds."""
        level = self.hosts[host] + self._generator.normal(0.0, self.scenario.session)
        return self._launches(level + np.log1p(change), host, run)

    def turns(self, change: float, run: str) -> tuple[ResultSet, ResultSet]:
        """One run with both sides in it."""
        level = self.hosts[0] + self._generator.normal(0.0, self.scenario.session)
        return self._launches(level, 0, run), self._launches(level + np.log1p(change), 0, run)

    def _launches(self, level: float, host: int, run: str) -> ResultSet:
        scenario = self.scenario
        levels = level + self._generator.normal(0.0, scenario.launch, scenario.launches)
        launches = tuple(
            Launch(
                value=float(np.exp(value)), samples=30, log_error=0.001, place=f"host-{host}/0", comparability="class"
            )
            for value in levels
        )
        side = Side(launches=launches, better=Better.LOWER, device_kind=scenario.kind)
        series = SeriesResult(
            key=KEY,
            suite="suite",
            benchmark="case",
            parameters={},
            unit="ns",
            primary=True,
            side=side,
            hosts=(f"host-{host}",),
        )
        return ResultSet(label=run, run=run, series=(series,))


def rates(scenario: Scenario, change: float, *, pairs: int, further: int, seed: int = 20260101) -> Rates:
    """How runs end whose code is slower by `change`, with at most so many further looks.

    Args:
        scenario: Noise.
        change: True change; 0 is identical code.
        pairs: Runs to simulate.
        further: Further looks at most; every second one is on the next host where there are several.
        seed: Of the generator.
    """
    generator = np.random.default_rng(seed)
    ends = [_end(_Machine(scenario, generator), change, further) for _ in range(pairs)]
    verdicts = [verdict for verdict, _ in ends]
    return Rates(
        regressed=verdicts.count(Verdict.REGRESSED) / pairs,
        improved=verdicts.count(Verdict.IMPROVED) / pairs,
        inconclusive=verdicts.count(Verdict.INCONCLUSIVE) / pairs,
        looks=sum(looks for _, looks in ends) / pairs,
    )


def _end(machine: _Machine, change: float, further: int) -> tuple[Verdict, int]:
    policy = Policy()
    spending = Spending(error=1 - policy.confidence, looks=further + 1)
    bases = [machine.session(host, 0.0, f"base-{host}") for host in range(len(machine.hosts))]
    head = machine.session(0, change, "head")
    first = compare(bases[0], head, replace(policy, confidence=1 - spending.level(1))).entries[0].judgement
    turns = machine.scenario.turns
    if first.verdict is not Verdict.REGRESSED and not may_be_settled(first, base_too=turns):
        return first.verdict, 0
    looks: list[Look] = []
    judged = first
    for number in range(2, further + 2):
        host = (number - 1) % len(bases)
        run = f"look-{number}"
        base, again = machine.turns(change, run) if turns else (bases[host], machine.session(host, change, run))
        looks.append(Look(number=number, base=base, head=again, asked=frozenset({KEY}), interleaved=turns))
        matter = Matter(
            base=bases[0],
            head=head,
            first={KEY: first},
            policies={KEY: policy},
            history={},
            looks=looks,
            spending=spending,
        )
        found = review(matter)[KEY]
        judged = found.judgement
        if found.standing is not Standing.OPEN or found.settles_nothing:
            break
    return judged.verdict, len(looks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """How comparisons of many series end, after every look."""

    any_false: float
    """Share of comparisons in which a series of identical code is called different."""
    false_share: float
    """False findings among all findings, on average over comparisons: the false discovery rate."""
    found: float
    """Share of the slower series that are found."""


def together(*, series: int, slower: int, change: float, comparisons: int, further: int, seed: int = 7) -> Together:
    """How comparisons of many series end when the noise is known, so that p values are exact, and any change counts.

    That is the hardest case for what many series and several looks may err together: nothing but the shares of the
    error holds findings back. Both sides are measured again at each look.

    Args:
        series: In each comparison.
        slower: So many of them are slower by `change`.
        change: As a fraction.
        comparisons: To simulate.
        further: Further looks at most.
        seed: Of the generator.
    """
    generator = np.random.default_rng(seed)
    machine = _Machine(Scenario(name="", kind="cuda", launch=0.01, session=0.0), generator)
    keys = [replace(KEY, case_id=f"case-{number:03}") for number in range(series)]
    ends = [_ends_together(machine, keys, frozenset(keys[:slower]), change, further) for _ in range(comparisons)]
    return Together(
        any_false=sum(bool(called - set(keys[:slower])) for called in ends) / comparisons,
        false_share=sum(len(called - set(keys[:slower])) / max(1, len(called)) for called in ends) / comparisons,
        found=sum(len(called & set(keys[:slower])) for called in ends) / (comparisons * max(1, slower)),
    )


def _ends_together(
    machine: "_Machine", keys: Sequence[SeriesKey], slower: frozenset[SeriesKey], change: float, further: int
) -> set[SeriesKey]:
    """The series of one comparison that are called different in the end."""
    # Not quite nothing, or the smallest change that matters would be none.
    policy = Policy(minor=1e-6, major=1e-6, critical=0.9)
    spending = Spending(error=1 - policy.confidence, looks=further + 1)
    # Launches alone scatter, so that the noise between runs is what five of them leave.
    noise = dict.fromkeys(keys, RunNoise(deviation=machine.scenario.launch / 5**0.5, degrees=1e6))

    def measured(run: str, wanted: Sequence[SeriesKey], *, head: bool) -> ResultSet:
        found = []
        for key in wanted:
            (item,) = machine.session(0, change if head and key in slower else 0.0, run).series
            found.append(replace(item, key=key, benchmark=key.case_id))
        return ResultSet(label=run, run=run, series=tuple(found))

    base, head = measured("base", keys, head=False), measured("head", keys, head=True)
    at_first = replace(policy, confidence=1 - spending.level(1))
    entries = compare(base, head, at_first, noise).entries
    judged = {entry.series.key: entry.judgement for entry in entries}
    first, looks = dict(judged), list[Look]()
    open_ = [key for key in keys if _is_open(first[key])]
    for number in range(2, further + 2):
        if not open_:
            break
        sides = measured(f"base-{number}", open_, head=False), measured(f"head-{number}", open_, head=True)
        looks.append(Look(number=number, base=sides[0], head=sides[1], asked=frozenset(open_)))
        policies = dict.fromkeys(keys, policy)
        found = review(
            Matter(base=base, head=head, first=first, policies=policies, history=noise, looks=looks, spending=spending)
        )
        judged |= {key: item.judgement for key, item in found.items()}
        open_ = [key for key in open_ if found[key].standing is Standing.OPEN]
    return {key for key, item in judged.items() if item.verdict in {Verdict.REGRESSED, Verdict.IMPROVED}}


def _is_open(judgement: Judgement) -> bool:
    return judgement.verdict is Verdict.REGRESSED or may_be_settled(judgement, base_too=True)


def table(pairs: int = 2000, further: int = 3) -> str:
    """A row a scenario: how identical code ends, and slower code, with further looks and without."""
    lines = [
        "| noise (launches, sessions) | identical: regressed / improved / inconclusive | looks | +5 % found | +10 % |",
        "|---|---|---|---|---|",
    ]
    for scenario in SCENARIOS:
        for more in (0, further):
            null, *worse = (rates(scenario, change, pairs=pairs, further=more) for change in CHANGES)
            noise = f"{scenario.name} ({100 * scenario.launch:g}, {100 * scenario.session:g} %), {more} further"
            ends = " / ".join(f"{100 * value:.1f}" for value in (null.regressed, null.improved, null.inconclusive))
            found = " | ".join(f"{100 * item.regressed:.0f} %" for item in worse)
            lines.append(f"| {noise} | {ends} % | {null.looks:.2f} | {found} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table(int(sys.argv[1]) if len(sys.argv) > 1 else 2000) + "\n")
