"""The words of measuring: what each flag, stop reason, mode, back end, cache and throttle class means, and what to do.

One table for `tbctl explain`, `tbctl bench explain` and docs/guide/measuring.md. Importing it imports no measuring.
"""

from collections.abc import Mapping

Words = Mapping[str, tuple[str, str]]
"""Word to what it means and what to do about it."""

FLAGS: Words = {
    "drill": ("the launches were slowed down on purpose, to try out the alarm", "nothing; it never becomes a baseline"),
    "warmup_incomplete": (
        "the warm-up ran into its cap before the times had settled",
        "run again on a quieter device; a larger tier warms up for longer",
    ),
    "drifting": (
        "the times were still moving when sampling ended: the median depends on when it was taken",
        "look at clocks and temperature; measure in mode sustained, or give more time with --budget",
    ),
    "bimodal": (
        "the samples cluster at two levels or more, so that the median may jump from one to the other",
        "look at the samples; often two clocks, two code paths, or another process now and then",
    ),
    "low_clock": (
        "more than one sample in twenty ran at a clock over 1 % below the median clock",
        "compare the metric cycles instead of time; find out what holds the clock down",
    ),
    "below_floor": (
        "a sample is so short that the timer's own floor is a large part of it",
        "take the number as an upper bound; use --backend graph, or a larger problem",
    ),
    "escaped_work": (
        "the host waited much longer than the timed regions lasted: work ran where the timer did not look",
        "let every launch use the current stream; until then do not use the times",
    ),
    "cache_unknown": (
        "not every set of the rotation was used, or together they fit into the cache: it may have been warm",
        "use mode cold, or a larger problem",
    ),
    "rotation_short": (
        "the rotation has fewer sets of inputs than five times the cache needs: memory or the limit ran out",
        "the cache helped by some amount; use mode cold, or a smaller problem that leaves room for sets",
    ),
    "unchecked": (
        "there is no reference, so that nothing says the work was done right, or at all",
        "give the benchmark a reference; pure calls (launch, synchronise) have none by nature",
    ),
    "retried": (
        "the first try was throttled and thrown away; these are the numbers of a second one after a pause",
        "nothing, if it is rare; look at cooling when it is not",
    ),
    "nondeterministic": (
        "repeated launches over the same inputs gave different bits",
        "expected of atomic floating-point sums; elsewhere look for a race. The metric determinism tells the share",
    ),
    "environment_drift": (
        "a ceiling was another one after the last case than before the first: something beside the work changed",
        "do not compare this trial closely; find what else ran, or what the clocks did",
    ),
    "graph_refused": (
        "the work could not be captured into a CUDA graph, and was timed another way",
        "nothing, but gaps between launches may be in the time; allocate and synchronise outside of launch()",
    ),
    "hold_refused": (
        "the stream could not be held back until everything was queued: the times may contain launch gaps",
        "run without a profiler, and on a host that is not overloaded; longer kernels do not care",
    ),
    "allocates": (
        "a launch allocates memory: its time contains that, and varies with what the pool holds",
        "allocate outputs and workspace when the work is prepared, and pass out= in launch()",
    ),
    "power_limited": (
        "the power cap held the clock down for at least 1 % of the measured time, outside mode sustained",
        "measure in mode sustained, where that is part of the question, or with pauses",
    ),
    "energy_disagrees": (
        "the energy counter and the mean of the polled power are more than 5 % apart",
        "trust neither to more than that; measure for longer",
    ),
    "null_control_failed": (
        "comparing A with A found a difference, so that the differences between A and B prove nothing",
        "quiet the machine, and compare again with more workers",
    ),
    "worker_restarted": (
        "the process that measured earlier cases of this trial died; a fresh one measured this case",
        "look at what the failed case says; this one is as good as any",
    ),
    "contended": (
        "other processes used the device before or after, and the host's policy lets that pass",
        "take slow results with doubt; choose an idle host",
    ),
    "void": (
        "a counter of the device went backwards during the trial: its driver was loaded anew",
        "measure again",
    ),
    "samples_dropped": (
        "the raw samples were too many to be kept; statistics and metrics are over all of them",
        "nothing; ask for fewer samples if the raw ones matter",
    ),
}

STOP_REASONS: Words = {
    "converged": (
        "the 95 % interval of the median is as narrow as asked for, and the times were stationary",
        "nothing to do",
    ),
    "budget_exhausted": (
        "the time for one case ran out first; the interval says how precise it became",
        "give more with --budget, or ask for less with --target",
    ),
    "max_samples": ("the largest number of samples was taken first", "ask for less with --target"),
    "noise_floor": (
        "by the law of 1/sqrt(n) the budget cannot reach the precision asked for; stopped early",
        "quiet the machine, give a longer --budget, or compare by `tbctl bench compare`, which cancels common noise",
    ),
    "resolution_limited": (
        "the interval is as narrow as the timer's steps allow",
        "nothing, or use --backend graph: it averages more launches in a sample",
    ),
    "drifting": ("the budget ended while the times were still moving", "see the flag of the same name"),
}

MODES: Words = {
    "hot": (
        "launches back to back over the same inputs; caches stay warm",
        "for work whose data a caller finds in the cache, and for arithmetic",
    ),
    "cold": (
        "the last-level cache is swept before every launch; only the launch is timed",
        "for memory-bound and short kernels, as a caller with other data finds them",
    ),
    "rotating": (
        "launches back to back over several sets of inputs and outputs, together larger than the cache",
        "for throughput with cold data and without the gaps of a sweep",
    ),
    "sustained": (
        "launches without a pause at the equilibrium of power and temperature; energy is measured here",
        "for power-limited kernels, and for joules per launch",
    ),
    "host": (
        "the host's time around one launch and its synchronisation",
        "for what a caller waits: launch latency, allocation, small copies",
    ),
}

BACKENDS: Words = {
    "graph": (
        "a CUDA graph with event-record nodes around every launch: no launch gaps, sweeps left out of the time",
        "the best there is; needs work that can be captured",
    ),
    "blocked": (
        "the stream is held back until everything is queued; events around every sample",
        "no launch gaps either; not under profilers and sanitizers",
    ),
    "events": (
        "events recorded while the host runs ahead of the device",
        "kernels under some 10 us may contain the host's launch time",
    ),
    "host": ("the host's clock", "on a CPU, and for mode host"),
    "virtual": ("the clock of a simulated device", "for tests and demonstrations; the numbers are made up"),
}

CACHES: Words = {
    "warm": ("whatever the launch before left there", "mode hot, sustained or host"),
    "read_sweep": ("clean lines of a buffer larger than the cache", "mode cold"),
    "write_sweep": (
        "dirty lines of a buffer larger than the cache: writing them back is charged to the launch",
        "mode cold with --flush write",
    ),
    "rotation": ("the set of inputs that was used longest ago comes next", "mode rotating"),
    "unknown": ("not sure: see the flags cache_unknown and rotation_short", "use mode cold"),
}

THROTTLE: Words = {
    "clean": ("every limit held the clock for less than 1 % of the measured time", "nothing to do"),
    "power_limited": (
        "the software power cap was active for 1 % of the time or more",
        "valid in mode sustained; elsewhere flagged, because a cooler or idler device is faster",
    ),
    "thermal": (
        "a thermal limit was active for 1 % of the time or more: the outcome is throttled",
        "measured again after a pause, twice; then look at fans, air and load of the machine",
    ),
    "brake": (
        "the hardware's power brake or slow-down was active for 0.1 % of the time or more: throttled",
        "look at power supply and machine: tbctl node describe HOST",
    ),
    "locked": ("clocks were locked, or application clocks set", "valid, and compared only with the same setting"),
}

SAMPLE_FLAGS: Words = {
    "low_clock": ("the sample's clock was more than 1 % below the median clock", "bit 1"),
    "after_retry": ("taken after an earlier try was thrown away for throttling", "bit 2"),
    "mild_outlier": ("more than 1.5 interquartile ranges outside the quartiles", "bit 4; it counts like any other"),
    "severe_outlier": ("more than 3 interquartile ranges outside the quartiles", "bit 8; it counts like any other"),
}

KINDS: Mapping[str, Words] = {
    "flag": FLAGS,
    "stop reason": STOP_REASONS,
    "mode": MODES,
    "back end": BACKENDS,
    "cache": CACHES,
    "throttle class": THROTTLE,
    "flag of a sample": SAMPLE_FLAGS,
}
"""Every table by what its words are."""
