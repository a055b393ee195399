"""From what was typed to what is asked of the collector: the spec, the revision, and how to judge."""

import math
from collections.abc import Mapping
from dataclasses import fields

from google.protobuf.duration_pb2 import Duration
from tesserabench.cli.ci import BuildFacts
from tesserabench.cli.errors import UsageProblem
from tesserabench.cli.options import Texts
from tesserabench.cli.output.words import number_of
from tesserabench.cli.parsing import parse_pair
from tesserabench.v1.measurement_pb2 import TimingMode
from tesserabench.v1.run_pb2 import Duet, GateSpec, HostSelector, ParameterOverride, Revision, RunSpec, Tier


def run_spec(typed: Texts, *, default_suite: str | None) -> RunSpec:
    """What is to be measured.

    Raises:
        UsageProblem: no suite, several suites, or a value that cannot be right.
    """
    spec = RunSpec(
        suite=_suite(typed, default_suite),
        device=typed.text("device"),
        include=typed.many("include"),
        exclude=typed.many("exclude"),
        overrides=[
            ParameterOverride(parameter=key, value=value)
            for key, value in _pairs(typed, "overrides", "--set BENCH.PARAM=VALUE")
        ],
        trials=typed.get("repeat") or 0,
        seed=typed.get("seed") or 0,
        drill=drill_factors(typed.many("drills")),
        selector=_selector(typed),
    )
    if typed.text("tier"):
        spec.tier = Tier.ValueType(number_of(Tier, typed.text("tier")))
    if typed.text("mode"):
        spec.mode = TimingMode.ValueType(number_of(TimingMode, typed.text("mode")))
    if typed.get("determinism") is not None:
        spec.determinism_launches = typed.get("determinism")
    if typed.flag("duet") or typed.many("duet_overrides"):
        spec.duet.CopyFrom(_duet(typed))
    elif typed.get("smallest_effect") is not None:
        raise UsageProblem("--smallest-effect is about two arms; give --duet or --duet-set BENCH.PARAM=VALUE too")
    for option, field in (("case_timeout", spec.case_timeout), ("run_timeout", spec.timeout)):
        if typed.get(option) is not None:
            field.CopyFrom(duration_message(typed.get(option)))
    return spec


def gate_spec(typed: Texts) -> GateSpec:
    """How the run is judged.

    Raises:
        UsageProblem: it is to be measured again, and not to be.
    """
    gate = GateSpec(baseline=typed.text("baseline"))
    looks, budget = typed.get("looks"), typed.get("budget")
    if typed.flag("no_confirm"):
        if looks is not None or budget is not None:
            other = "--confirm" if looks is not None else "--budget"
            raise UsageProblem(f"--no-confirm measures nothing again; leave it out, or leave out {other}")
        gate.confirm = False
        return gate
    if looks is not None:
        gate.confirm = True
        gate.looks = looks
    if budget is not None:
        if budget <= 0:
            raise UsageProblem("--budget is no time at all; give one such as 20m, or --no-confirm to measure once")
        gate.budget.CopyFrom(duration_message(budget))
    return gate


def refuse_two_aims(typed: Texts) -> None:
    """Refuse to measure the same code twice (--aa) and something else at once.

    Raises:
        UsageProblem: it is slowed on purpose, or has two arms.
    """
    others = {"--drill": "drills", "--duet": "duet", "--duet-set": "duet_overrides"}
    given = next((option for option, name in others.items() if typed.get(name)), None)
    if typed.flag("aa") and given:
        what = "slows it on purpose" if given == "--drill" else "measures two arms in turns"
        raise UsageProblem(f"--aa measures the same code twice, and {given} {what}; leave one of the two out")


def labels_of(typed: Texts) -> dict[str, str]:
    """The labels that were typed.

    Raises:
        UsageProblem: one is not of the form KEY=VALUE.
    """
    return dict(_pairs(typed, "labels", "--label KEY=VALUE"))


def revision(typed: Texts, *, build: BuildFacts, checkout: BuildFacts, default_base: str | None) -> Revision:
    """The code that is measured: what was typed, else what CI says, else what git says."""
    return Revision(
        commit=typed.text("commit") or build.commit or checkout.commit,
        branch=typed.text("branch") or build.branch or ("" if build.pull_request else checkout.branch),
        base_branch=typed.text("base") or build.base or default_base or "",
        pull_request=typed.text("pull_request") or build.pull_request,
        build_url=typed.text("build_url") or build.build_url,
        repository=typed.text("repository") or build.repository or checkout.repository,
    )


def known_facts(facts: BuildFacts) -> dict[str, str]:
    """The facts that are known, by name."""
    return {field.name: getattr(facts, field.name) for field in fields(facts) if getattr(facts, field.name)}


def drill_factors(texts: tuple[str, ...]) -> Mapping[str, float]:
    """Slow-down factors by benchmark, from `BENCH=FACTOR`.

    Raises:
        UsageProblem: another form, or a factor below 1 or above 100.
    """
    factors: dict[str, float] = {}
    for text in texts:
        name, value = parse_pair(text, form="--drill BENCH=FACTOR")
        try:
            factor = float(value)
        except ValueError:
            factor = math.nan
        if not 1.0 <= factor <= 100.0:
            raise UsageProblem(
                f"--drill {text!r}: the factor is {value!r}; give 1 to 100, for example {name}=1.10 for 10 % slower"
            )
        factors[name] = factor
    return factors


def duration_message(seconds: float) -> Duration:
    """A duration of the contract."""
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def _duet(typed: Texts) -> Duet:
    overrides = [
        ParameterOverride(parameter=key, value=value)
        for key, value in _pairs(typed, "duet_overrides", "--duet-set BENCH.PARAM=VALUE")
    ]
    return Duet(overrides=overrides, smallest_effect=typed.get("smallest_effect") or 0.0)


def _suite(typed: Texts, default: str | None) -> str:
    suites = typed.many("suites")
    if len(suites) > 1:
        raise UsageProblem(
            f"--suite was given {len(suites)} times; a run measures one suite, so trigger one run for each"
        )
    suite = suites[0] if suites else default or ""
    if not suite:
        raise UsageProblem(
            "no suite was named; give --suite NAME (tbctl suite list shows them) or set suite in tessera.yaml"
        )
    return suite


def _selector(typed: Texts) -> HostSelector:
    conditions = [part.strip() for text in typed.many("selectors") for part in text.split(",") if part.strip()]
    selector = HostSelector(conditions=conditions)
    nodes = typed.text("nodes").strip()
    if not nodes:
        return selector
    if nodes.isdigit():
        selector.count = _count(nodes)
        return selector
    names = [name.strip().removeprefix("hosts/") for name in nodes.split(",")]
    if nodes == "all" or not all(names):
        raise UsageProblem(f"--nodes {nodes!r}: give a number of hosts, or their names separated by commas")
    selector.hosts.extend(names)
    selector.count = len(names)
    return selector


def _count(text: str) -> int:
    if not 1 <= int(text) <= 10_000:
        raise UsageProblem(f"--nodes {text}: give 1 to 10000 hosts")
    return int(text)


def _pairs(typed: Texts, name: str, form: str) -> list[tuple[str, str]]:
    return [parse_pair(text, form=form) for text in typed.many(name)]
