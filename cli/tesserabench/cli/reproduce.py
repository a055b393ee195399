"""The command line that measures one case again as a run did."""

import re
import shlex

from tesserabench.cli.output.words import word
from tesserabench.cli.parsing import short_id
from tesserabench.v1.comparison_pb2 import ComparisonEntry
from tesserabench.v1.measurement_pb2 import TimingMode
from tesserabench.v1.run_pb2 import Run, Tier


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
    if entry.base.run:
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
    return words


def exact_pattern(case_id: str) -> str:
    """A regular expression that matches this case id alone, with no more backslashes than it needs."""
    return "^" + re.sub(r"([\\.^$*+?{}\[\]|()])", r"\\\1", case_id) + "$"
