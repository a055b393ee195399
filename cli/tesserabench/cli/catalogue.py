"""Every command of tbctl with its line of help, known without importing any of them."""

from tesserabench.cli.grammar import Entry, Example, Noun

_COMMANDS = "tesserabench.cli.commands"

ROOT_EXAMPLES = (
    Example(
        line="tbctl run trigger --suite gemm --selector gpu=h100 --wait --timeout 40m --fail-on major",
        text="measure, wait, and end with 10 when something became slower by 5 % or more",
    ),
    Example(line="tbctl bench run core --device cpu", text="measure on this machine, without a collector"),
    Example(line="tbctl doctor", text="find out why something does not work"),
)


def _verbs(module: str, **lines: str) -> dict[str, Entry]:
    return {
        verb: Entry(target=f"{_COMMANDS}.{module}:{verb.replace('-', '_')}_command", help=line)
        for verb, line in ((name.replace("_", "-"), line) for name, line in lines.items())
    }


_RUN = Noun(
    help="Ask for runs and follow them.",
    verbs={
        **_verbs("run_trigger", trigger="Ask for a run; with --wait, wait for its verdict."),
        **_verbs(
            "run",
            list="List runs, newest first.",
            get="Show one run.",
            watch="Wait for a run and show its verdict.",
            logs="Show what the workers of a run wrote.",
            cancel="Stop a run.",
            retry="Ask for the same measurement again.",
        ),
        **_verbs("run_reproduce", reproduce="Say which command measures a case of a run again, or do it."),
    },
    examples=(
        Example(line="tbctl run trigger --suite gemm --wait --fail-on major", text="the line for a pipeline"),
        Example(line="tbctl run list --branch main -o json", text="the latest runs of a branch, for a program"),
    ),
)
_RESULT = Noun(
    help="Read what runs measured.",
    verbs=_verbs("result", list="Show what a run measured.", samples="Show the raw samples of a run."),
    examples=(
        Example(line="tbctl result list 42", text="the table of run 42"),
        Example(line="tbctl result samples 42 --case 'gemm/.*' -o csv", text="every sample of some cases, one a line"),
    ),
)
_BASELINE = Noun(
    help="Keep what runs are compared with.",
    verbs=_verbs(
        "baseline",
        list="List the baselines of a project.",
        set="Let a name point to a run.",
        show="Show one baseline.",
        pin="Protect a baseline from being moved.",
        unpin="Let a baseline move again.",
    ),
    examples=(Example(line="tbctl baseline set v1.4 42 --pin", text="keep run 42 as v1.4, protected"),),
)
_REGRESSION = Noun(
    help="See findings (regressions, slow devices, missing data) and say what becomes of them.",
    verbs={
        **_verbs(
            "regression",
            list="List findings, worst first.",
            get="Show one finding: its evidence, cause, series and history.",
        ),
        **_verbs(
            "regression_answers",
            ack="Somebody has seen it: its alert ends, it stays open.",
            assign="Say who looks after it: its alert ends, it stays open.",
            ignore="It does not matter, for good or for a while: its alert ends, it is closed.",
            resolve="Say what it was: fixed, wont-fix, false-positive, infrastructure, duplicate.",
            accept="The new level is wanted: runs at it pass.",
            reopen="It is open again after all.",
            comment="Write something into its history.",
            feedback="Say whether the detector was right.",
        ),
        **_verbs("regression", score="Show how right the detector was."),
    },
    examples=(
        Example(line="tbctl regression list --min-severity major", text="what is open from 5 % upwards"),
        Example(line="tbctl regression ack 7 --comment 'looking' --owner ann", text="end the alert of regression 7"),
    ),
)
_NODE = Noun(
    help="See the hosts and keep them out of use.",
    verbs={
        **_verbs(
            "node",
            list="List hosts.",
            describe="Show one host.",
            cordon="Keep a host out of use; what it runs goes on.",
            uncordon="Put a host back into use.",
        ),
        **_verbs(
            "node_compare",
            compare="Compare devices with others of their model: find the slow card.",
            noise="Say which series are noisy, and whether launches, runs or devices make them so.",
        ),
    },
    examples=(Example(line="tbctl node cordon gpu-07 --reason 'fan replaced on Friday'", text="give it no more work"),),
)
_SUITE = Noun(
    help="See what can be measured.",
    verbs=_verbs("suite", list="List the suites that the fleet can run.", describe="Show one suite."),
    examples=(Example(line="tbctl suite describe gemm", text="its benchmarks and their parameters"),),
)
_SCHEDULE = Noun(
    help="Runs that are asked for again and again.",
    verbs=_verbs(
        "schedule",
        create="Ask for a run at an interval.",
        list="List schedules.",
        pause="Stop a schedule until it is resumed.",
        resume="Let a paused schedule go on.",
        delete="Remove a schedule; its runs stay.",
    ),
    examples=(Example(line="tbctl schedule create nightly --every 24h --suite core", text="one run a day"),),
)
_POLICY = Noun(
    help="What counts as a change, as a reviewed file.",
    verbs={
        **_verbs(
            "policy_file",
            validate="Check a policy file; no collector is needed.",
            explain="Say which rule decides what for a series.",
        ),
        **_verbs(
            "policy",
            test="Try a file out on what is stored.",
            diff="Show what a file would change.",
            apply="Make a file the policy of its project.",
            get="Print the policy in force, or one revision.",
            list="List the revisions of a project's policy.",
        ),
        **_verbs("policy_file", schema="Print a JSON Schema for editors."),
    },
    examples=(
        Example(line="tbctl policy test policy.yaml --since 90d", text="what it would have said, before it says it"),
        Example(line="tbctl policy apply policy.yaml --comment 'reviewed'", text="from now on"),
    ),
)
_BENCH = Noun(
    help="Measure on this machine, without a collector.",
    verbs={
        **_verbs("bench_list", list="List suites and benchmarks installed here."),
        **_verbs("bench_run", run="Measure a suite, or a bundle of your own."),
        **_verbs("bench_compare", compare="Compare two variants, interleaved in fresh processes."),
        **_verbs("bench_new", new="Begin a bundle of your own benchmarks from a working example."),
        **_verbs("bench_validate", validate="Check a bundle; no GPU is needed."),
        **_verbs("bench_explain", explain="Explain a flag, outcome, stop reason or mode."),
        **_verbs("bench_export", export="Convert a saved result for nvbench or google-benchmark."),
        **_verbs("bench_doctor", doctor="Say what can be measured on this machine."),
    },
    examples=(
        Example(line="tbctl bench run gemm --device cpu", text="matrix products on the CPU"),
        Example(line="tbctl bench new kernels", text="begin benchmarks of your own"),
    ),
)
_CONFIG = Noun(
    help="See, check and change tbctl's settings.",
    verbs=_verbs(
        "config",
        view="Show the settings in force.",
        validate="Check a settings file.",
        get_contexts="List the contexts of the user file.",
        use_context="Choose the context to use from now on.",
        set_context="Create or change a context.",
    ),
    examples=(Example(line="tbctl config view --show-origin", text="every setting and where it comes from"),),
)

ENTRIES: dict[str, Entry | Noun] = {
    "run": _RUN,
    "result": _RESULT,
    **_verbs("compare", compare="Compare two runs, commits, branches or baselines."),
    **_verbs("gate", gate="Judge a run: exit status 10 when something became slower."),
    **_verbs("history", history="Show what a benchmark gave over time, and where it changed."),
    **_verbs("detect", detect="Find where the level of a series of numbers changed, without a collector."),
    "baseline": _BASELINE,
    "regression": _REGRESSION,
    "node": _NODE,
    "suite": _SUITE,
    "schedule": _SCHEDULE,
    "policy": _POLICY,
    "bench": _BENCH,
    **_verbs("doctor", doctor="Find out why something does not work."),
    "config": _CONFIG,
    **_verbs("completion", completion="Print the completion script of a shell."),
    **_verbs("version", version="Show the versions of tbctl and the collector."),
    **_verbs("explain", explain="Explain an exit code or the reason of an error."),
}
