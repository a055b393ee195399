"""The sections of `make bench-detection`: each measures, and tells a text with tables and its figures."""

import multiprocessing
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field

from bench import bench_history
from detection import causes, change_points, gates, speed
from detection.change_points import Found, Replayed
from detection.detectors import OURS, Detector, absent, detectors
from detection.gate_rules import PEERS, GateRule, ours, ours_at_first
from detection.scoring import together
from detection.tables import milliseconds, percent, table
from support.detection_data import FIRST, QUIET, SCENARIOS
from support.figures import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How much to do."""

    scale: float = 1.0
    every: int = 6
    """The others see one in so many recorded histories; ours sees all."""
    alone: bool = False
    """Without the others: quick, while one works on ours."""
    workers: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What a section tells."""

    text: str
    figures: Sequence[Figure] = field(default_factory=tuple)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_quiet)


def _quiet() -> None:
    """The libraries of others warn about what is none of ours."""
    warnings.simplefilter("ignore")


# --- change points ---------------------------------------------------------------------------------------------------


def of_change_points(chosen: Options) -> Section:
    """Every detector on every group of histories, and the fast ones point by point."""
    asked = [item for item in detectors() if item.name == OURS or not chosen.alone]
    with _pool(chosen.workers) as pool:
        slowest_first = sorted(asked, key=lambda item: item.longest)
        scored = {item.name: pool.submit(_score_all, item.name, chosen) for item in slowest_first}
        replayed = {item.name: pool.submit(_replay_all, item.name, chosen) for item in asked if item.replay}
        found = {item.name: scored[item.name].result() for item in asked}
        online = {name: future.result() for name, future in replayed.items()}
    text = [_generated_table(found), _recorded_table(found), _online_table(online)]
    if missing := absent():
        text.append(f"Not installed, and so not measured: {', '.join(missing)}.\n")
    return Section(text="\n".join(filter(None, text)), figures=_change_point_figures(found, online))


def _named(name: str) -> Detector:
    return next(item for item in detectors() if item.name == name)


def _score_all(name: str, chosen: Options) -> dict[str, Found]:
    detector = _named(name)
    every = 1 if name == OURS else chosen.every
    groups = change_points.generated(chosen.scale) | change_points.recorded(every)
    return {
        group: change_points.score(
            detector, group, [item for item in histories if len(item.values) <= detector.longest]
        )
        for group, histories in groups.items()
    }


def _replay_all(name: str, chosen: Options) -> dict[str, Replayed]:
    groups = change_points.generated(chosen.scale) | change_points.recorded(1)
    most = max(4, round(16 * chosen.scale))
    return {
        prefix: change_points.replay(_named(name), steps, quiet)
        for prefix, steps, quiet in change_points.replayed_histories(groups, most)
    }


def _generated_table(found: Mapping[str, Mapping[str, Found]]) -> str:
    def row(name: str, groups: Mapping[str, Found]) -> list[str]:
        tallies = {group: item.tally for group, item in groups.items()}
        crowded, fleet = tallies["crowded"], tallies["fleet"]
        return [
            name,
            f"{crowded.f1:.2f} ({crowded.precision:.2f} / {crowded.recall:.2f})",
            " / ".join(percent(tallies[f"step {size} %"].recall) for size in (2, 5, 10)),
            " / ".join(percent(tallies[f"late {size} %"].recall) for size in (5, 10)),
            f"{tallies['stationary'].false_per_thousand:.2f}",
            f"{tallies['drift'].false_each:.2f}",
            f"{fleet.recall:.2f} / {fleet.false_each:.2f}",
        ]

    titles = (
        "generated histories",
        "crowded: F1 (precision / recall)",
        "step of 2 / 5 / 10 % found, %",
        "8 points after 5 / 10 %, %",
        "false per 1000 stationary points",
        "false a drift",
        "fleets: recall / false each",
    )
    return table(titles, [row(name, groups) for name, groups in found.items()])


_RECORDED_STEPS = ("step 2 %", "step 5 %", "step 10 %", "late8 5 %", "late8 10 %", "revert 5 %", "revert 10 %", "multi")
_RECORDED_NOTHING = ("spikes", "drift5", "variance2x")


def _recorded_table(found: Mapping[str, Mapping[str, Found]]) -> str:
    if "recorded stationary" not in found[OURS]:
        return ""

    def row(name: str, groups: Mapping[str, Found]) -> list[str]:
        tallies = {group.removeprefix("recorded "): item.tally for group, item in groups.items() if "recorded" in group}
        changes = together(tallies[group] for group in _RECORDED_STEPS if group in tallies)
        return [
            name,
            f"{changes.f1:.2f} ({changes.precision:.2f} / {changes.recall:.2f})",
            *(
                " / ".join(percent(tallies[group].recall) for group in part if group in tallies)
                for part in (_RECORDED_STEPS[:3], _RECORDED_STEPS[3:5], _RECORDED_STEPS[5:6])
            ),
            f"{tallies['stationary'].false_per_thousand:.2f}",
            " / ".join(f"{tallies[group].false_each:.2f}" for group in _RECORDED_NOTHING if group in tallies),
            f"{tallies['hosts'].recall:.2f} / {tallies['hosts'].false_each:.2f}",
        ]

    titles = (
        "recorded histories",
        "F1 (precision / recall)",
        "step of 2 / 5 / 10 % found, %",
        "8 points after 5 / 10 %, %",
        "revert of 5 %, %",
        "false per 1000 stationary points",
        "false a series with spikes / drift / more noise",
        "hosts: recall / false each",
    )
    return table(titles, [row(name, groups) for name, groups in found.items()])


def _online_table(online: Mapping[str, Mapping[str, Replayed]]) -> str:
    rows = [
        [
            name,
            f"{prefix or 'generated '}histories",
            "-" if item.median_delay is None else f"{item.median_delay:g}",
            " / ".join(percent(item.shown_within(points)) for points in (5, 10, 30)),
            f"{item.ever_false_per_thousand:.1f}",
            f"{item.vanished} of {item.ever_false}",
        ]
        for name, parts in online.items()
        for prefix, item in parts.items()
    ]
    titles = (
        "asked after every point",
        "data",
        "median delay, points",
        "within 5 / 10 / 30, %",
        "ever false per 1000",
        "of them gone later",
    )
    return table(titles, rows)


def _change_point_figures(
    found: Mapping[str, Mapping[str, Found]], online: Mapping[str, Mapping[str, Replayed]]
) -> list[Figure]:
    others = {name: groups["crowded"].tally.f1 for name, groups in found.items() if name != OURS}
    mine = {group: item.tally for group, item in found[OURS].items()}
    best = max(others, key=lambda name: others[name], default="")
    f1 = mine["crowded"].f1
    figures = [
        Figure(
            name="change points, crowded F1",
            value=f1,
            unit="1",
            reference=best or None,
            ratio=f1 / others[best] if best else None,
        )
    ]
    for prefix in ("", "recorded "):
        if f"{prefix}stationary" not in mine:
            continue
        false = mine[f"{prefix}stationary"].false_per_thousand
        figures.append(Figure(name=f"{prefix}false alarms", value=false, unit="1/1000"))
        figures += [
            Figure(name=f"{prefix}{group} recall", value=mine[f"{prefix}{group}"].recall, unit="1")
            for group in ("step 2 %", "step 5 %", "step 10 %", "late 10 %", "late8 10 %", "revert 5 %")
            if f"{prefix}{group}" in mine
        ]
    for prefix, item in online[OURS].items():
        figures.append(Figure(name=f"{prefix}ever false", value=item.ever_false_per_thousand, unit="1/1000"))
        if item.median_delay is not None:
            figures.append(Figure(name=f"{prefix}median delay", value=item.median_delay, unit="points"))
    return figures


# --- gates -----------------------------------------------------------------------------------------------------------


def of_gates(chosen: Options) -> Section:
    """Every rule in every scenario; ours on more pairs than the others."""
    scenarios = [*(item.name for item in SCENARIOS), *gates.RECORDED]
    rules = (ours(),) if chosen.alone else (ours(), *PEERS)
    with _pool(chosen.workers) as pool:
        waiting: dict[tuple[str, str], Future[list[gates.Rates]]] = {
            (rule.name, scenario): pool.submit(_rates, rule.name, scenario, chosen)
            for scenario in scenarios
            for rule in rules
        }
        found = {key: {item.change: item for item in future.result()} for key, future in waiting.items()}
    parts = []
    for first in range(0, len(scenarios), 5):
        shown = scenarios[first : first + 5]
        rows = [[rule.name, *(_rates_cell(found[rule.name, scenario]) for scenario in shown)] for rule in rules]
        parts.append(table(("false (undecided) on identical code; found at +2 / +5 / +10 %, all in %", *shown), rows))
    return Section(text="\n".join(parts), figures=_gate_figures(found, scenarios))


def _rates(name: str, scenario: str, chosen: Options) -> list[gates.Rates]:
    mine = ours_at_first() if scenario in FIRST else ours()
    if name == mine.name:
        return gates.score(mine, gates.pairs_of(scenario, max(50, round(1000 * chosen.scale))))
    rule: GateRule = next(item for item in PEERS if item.name == name)
    return gates.score(rule, gates.pairs_of(scenario, max(20, round(120 * chosen.scale))))


def _rates_cell(rates: Mapping[float, gates.Rates]) -> str:
    found = "/".join(percent(rates[change].slower) for change in gates.CHANGES[1:])
    return f"**{100 * rates[0.0].wrong:.1f}** ({percent(rates[0.0].undecided)}); {found}"


def _gate_figures(
    found: Mapping[tuple[str, str], Mapping[float, gates.Rates]], scenarios: Sequence[str]
) -> list[Figure]:
    name = ours().name
    worst = max(scenarios, key=lambda scenario: found[name, scenario][0.0].wrong)
    calls = [item for scenario in scenarios for item in found[name, scenario].values()]
    figures = [
        Figure(name=f"gate, false, {scenario}", value=found[name, scenario][0.0].wrong, unit="1")
        for scenario in scenarios
    ]
    figures += [
        Figure(name=f"gate, found at +5 %, {scenario}", value=found[name, scenario][0.05].slower, unit="1")
        for scenario in QUIET
    ]
    figures.append(Figure(name=f"gate, worst false ({worst})", value=found[name, worst][0.0].wrong, unit="1"))
    seconds = sum(item.seconds for item in calls) / sum(item.pairs for item in calls)
    figures.append(Figure(name="gate, a case", value=1000 * seconds, unit="ms"))
    return figures


# --- causes ----------------------------------------------------------------------------------------------------------


def of_causes(chosen: Options) -> Section:
    """What attribution says of scripted fleets."""
    given, detected = range(max(2, round(6 * chosen.scale))), range(max(1, round(chosen.scale)))
    with _pool(chosen.workers) as pool:
        waiting = [
            pool.submit(causes.told, name, noise, seeds, detected=how)
            for how, seeds in ((True, detected), (False, given))
            for name in causes.names()
            for noise in causes.NOISES
        ]
        found = [future.result() for future in waiting]
    parts = [causes.confusion(found, detected=False), causes.confusion(found, detected=True)]
    return Section(text="\n".join(parts), figures=causes.figures(found))


# --- speed -----------------------------------------------------------------------------------------------------------


def of_speed(chosen: Options) -> Section:
    """Whole histories by the libraries, and one more point by ours; in this process, with nothing beside it."""
    _quiet()
    timings = [speed.timed(item) for item in detectors() if item.name == OURS or (item.package and not chosen.alone)]
    more, each = speed.one_more(), speed.tails()
    mine = timings[0].seconds
    rows = [[item.detector, *(milliseconds(item.seconds[points]) for points in speed.LENGTHS)] for item in timings]
    text = table(("milliseconds for a history of", *(f"{points} points" for points in speed.LENGTHS)), rows)
    figures = [
        Figure(
            name=f"{points} points",
            value=1000 * mine_seconds,
            unit="ms",
            reference=item.detector,
            ratio=mine_seconds / seconds,
        )
        for points in speed.LENGTHS
        for item in timings[1:]
        if (seconds := item.seconds[points]) is not None and (mine_seconds := mine[points]) is not None
    ]
    figures.append(Figure(name="one more point after 10000", value=1000 * more, unit="ms"))
    figures.append(Figure(name="tails a minute on one core", value=60 / each, unit="series"))
    told = f"One more point after 10 000: {milliseconds(more)} ms. One more point on each of 1000 series of 256 points,"
    told += f" states loaded and kept again: {milliseconds(each)} ms a series, {60 / each:,.0f} a minute on one core."
    return Section(text=f"{text}\n{told}\n", figures=figures)


# --- with the database -----------------------------------------------------------------------------------------------

_STORED_SERIES = 4000


def of_store(chosen: Options) -> Section:
    """One more point on many series, read from PostgreSQL and written to it."""
    found = bench_history.measured(max(500, round(_STORED_SERIES * chosen.scale)))
    spent = {who: milliseconds(value / 1000) for who, value in found.processor_ms.items()}
    told = (
        f"With the database: {found.series:,} series of {bench_history.POINTS} points get one more; tails a minute: "
        f"{found.per_minute:,.0f}, {milliseconds(60 / found.per_minute)} ms a series by the clock. Processor time a "
        f"series: {milliseconds(sum(found.processor_ms.values()) / 1000)} ms (event loop {spent['event_loop']}, "
        f"workers {spent['workers']}, PostgreSQL {spent['postgres']}). The event loop came back "
        f"{found.stall_ms:.0f} ms late at worst, and computed {found.computing_ms:.0f} ms at a time. "
        f"Analysed anew a minute: {found.anew_per_minute:,.0f}."
    )
    figures = [
        Figure(name="tails a minute with the database", value=found.per_minute, unit="series"),
        Figure(name="processor time a tail", value=sum(found.processor_ms.values()), unit="ms"),
        Figure(name="stall of the event loop", value=found.stall_ms, unit="ms"),
        Figure(name="anew a minute with the database", value=found.anew_per_minute, unit="series"),
    ]
    return Section(text=told + "\n", figures=figures)


SECTIONS: dict[str, Callable[[Options], Section]] = {
    "change-points": of_change_points,
    "gates": of_gates,
    "causes": of_causes,
    "speed": of_speed,
    "store": of_store,
}
