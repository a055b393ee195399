"""The command line that measures one case again as a run did."""

import re
import shlex

from tesserabench.cli.output.words import word
from tesserabench.cli.parsing import short_id
from tesserabench.v1.comparison_pb2 import ComparisonEntry
from tesserabench.v1.measurement_pb2 import TimingMode
from tesserabench.v1.run_pb2 import Duet, Run, Tier


def reproduce_command(run: Run | None, entry: ComparisonEntry) -> str:
    """`tbctl run trigger ...` for the entry's case alone, on the same host and against the same base."""
    if run is None or not run.spec.suite:
        return f"tbctl run retry {short_id(entry.head.run)} --wait" if entry.head.run else ""
    words = ["tbctl", "run", "trigger", "--suite", run.spec.suite]
    words += _spec_words(run, entry)
    if entry.head.host:
        words += ["--nodes", entry.head.host]
    if run.revision.commit:
        words += ["--commit", run.revision.commit]
    # Two arms are compared with each other: their run has no baseline.
    if entry.base.run and not run.spec.HasField("duet"):
        words += ["--baseline", f"run:{short_id(entry.base.run)}"]
    return shlex.join([*words, "--wait"])


def _spec_words(run: Run, entry: ComparisonEntry) -> list[str]:
    spec = run.spec
    words: list[str] = []
    if spec.tier:
        words += ["--tier", word(Tier, spec.tier)]
    if spec.device:
        words += ["--device", spec.device]
    words += ["--benchmark", exact_pattern(entry.case.id)]
    for override in spec.overrides:
        words += ["--set", f"{override.parameter}={override.value}"]
    if spec.mode:
        words += ["--mode", word(TimingMode, spec.mode)]
    if spec.trials:
        words += ["--repeat", str(spec.trials)]
    if spec.seed:
        words += ["--seed", str(spec.seed)]
    for benchmark in sorted(spec.drill):
        words += ["--drill", f"{benchmark}={spec.drill[benchmark]:g}"]
    return words + (_duet_words(spec.duet) if spec.HasField("duet") else [])


def _duet_words(duet: Duet) -> list[str]:
    words = ["--duet"] if not duet.overrides else []
    for override in duet.overrides:
        words += ["--duet-set", f"{override.parameter}={override.value}"]
    return words + (["--smallest-effect", f"{duet.smallest_effect:g}"] if duet.smallest_effect else [])


def exact_pattern(case_id: str) -> str:
    """A regular expression that matches this case id alone, with no more backslashes than it needs."""
    return "^" + re.sub(r"([\\.^$*+?{}\[\]|()])", r"\\\1", case_id) + "$"
