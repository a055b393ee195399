"""Command lines that measure again what a run measured, as it did."""

import re
import shlex
from collections.abc import Sequence

from tesserabench.cli.output.words import word
from tesserabench.cli.parsing import short_id
from tesserabench.v1.comparison_pb2 import ComparisonEntry
from tesserabench.v1.measurement_pb2 import TimingMode
from tesserabench.v1.run_pb2 import Duet, Run, RunSpec, Tier


def reproduce_command(run: Run | None, entry: ComparisonEntry) -> str:
    """`tbctl run trigger ...` for the entry's case alone, on the same host and against the same base."""
    if run is None or not run.spec.suite:
        return f"tbctl run retry {short_id(entry.head.run)} --wait" if entry.head.run else ""
    return trigger_line(
        run, case=entry.case.id, hosts=[entry.head.host] if entry.head.host else [], base=entry.base.run
    )


def trigger_line(run: Run, *, case: str = "", hosts: Sequence[str] = (), base: str = "") -> str:
    """`tbctl run trigger ...` that measures the same again.

    Args:
        run: What is repeated.
        case: Only this one; empty for all that the run measured.
        hosts: Hosts that measured it; empty leaves the choice as the run did.
        base: Run that it was compared with: `runs/{run}`.
    """
    words = ["tbctl", "run", "trigger", "--suite", run.spec.suite]
    words += _spec_words(run, case)
    if hosts:
        words += ["--nodes", ",".join(hosts)]
    else:
        for condition in run.spec.selector.conditions:
            words += ["--selector", condition]
    if run.revision.commit:
        words += ["--commit", run.revision.commit]
    # Two arms are compared with each other: their run has no baseline.
    if base and not run.spec.HasField("duet"):
        words += ["--baseline", f"run:{short_id(base)}"]
    return shlex.join([*words, "--wait"])


def bench_line(run: Run, *, case: str = "") -> str:
    """`tbctl bench run ...` that measures the same on the machine where it is typed; empty for two arms."""
    spec = run.spec
    if spec.HasField("duet"):
        return ""
    words = ["tbctl", "bench", "run", spec.suite]
    if spec.device not in {"", "auto"}:
        words += ["--device", spec.device]
    if spec.tier:
        words += ["--tier", word(Tier, spec.tier)]
    words += _measuring_words(spec, case)
    if spec.trials:
        words += ["--trials", str(spec.trials)]
    return shlex.join(words + _input_words(spec))


def _spec_words(run: Run, case: str) -> list[str]:
    spec = run.spec
    words: list[str] = []
    if spec.tier:
        words += ["--tier", word(Tier, spec.tier)]
    if spec.device:
        words += ["--device", spec.device]
    words += _measuring_words(spec, case)
    if spec.trials:
        words += ["--repeat", str(spec.trials)]
    words += _input_words(spec)
    for name, limit in (("--case-timeout", spec.case_timeout), ("--run-timeout", spec.timeout)):
        if limit.ToNanoseconds():
            words += [name, f"{limit.ToNanoseconds() / 1e9:g}s"]
    return words + (_duet_words(spec.duet) if spec.HasField("duet") else [])


def _measuring_words(spec: RunSpec, case: str) -> list[str]:
    """Which cases, with which parameters, timed how."""
    words: list[str] = []
    for pattern in [exact_pattern(case)] if case else spec.include:
        words += ["--benchmark", pattern]
    for pattern in () if case else spec.exclude:
        words += ["--skip", pattern]
    for override in spec.overrides:
        words += ["--set", f"{override.parameter}={override.value}"]
    if spec.mode:
        words += ["--mode", word(TimingMode, spec.mode)]
    return words


def _input_words(spec: RunSpec) -> list[str]:
    """The inputs and what was done to them on purpose."""
    words = ["--seed", str(spec.seed)] if spec.seed else []
    for benchmark in sorted(spec.drill):
        words += ["--drill", f"{benchmark}={spec.drill[benchmark]:g}"]
    if spec.determinism_launches:
        words += ["--determinism", str(spec.determinism_launches)]
    return words


def _duet_words(duet: Duet) -> list[str]:
    words = ["--duet"] if not duet.overrides else []
    for override in duet.overrides:
        words += ["--duet-set", f"{override.parameter}={override.value}"]
    return words + (["--smallest-effect", f"{duet.smallest_effect:g}"] if duet.smallest_effect else [])


def exact_pattern(case_id: str) -> str:
    """A regular expression that matches this case id alone, with no more backslashes than it needs."""
    return "^" + re.sub(r"([\\.^$*+?{}\[\]|()])", r"\\\1", case_id) + "$"
