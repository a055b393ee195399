"""Two arms measured interleaved on one machine, in fresh processes, with a null control.

    compare_locally(Arm(spec="./old"), Arm(spec="./new"), device="cuda:0") -> DuetResult
        an arm is an installed suite, one of its benchmarks, a bundle's folder or an installed bundle
    run_worker(WorkerOrder, take) -> WorkerEnd
        a fresh process for any trial, bounded and cleaned up

Why and how: docs/guide/measuring.md; how often it errs: tests/bench/bench_duet.py.
"""

from tesserabench.bench.duet.arms import Arm, plan_duet
from tesserabench.bench.duet.plan import ArmName, ArmOrder, DuetPlan, Pair, of_worker, pairs_of_overrides, with_control
from tesserabench.bench.duet.process import Limits, WorkerEnd, WorkerOrder, run_worker
from tesserabench.bench.duet.result import ControlResult, DuetResult, PairResult, PairVerdict, WorkerPair
from tesserabench.bench.duet.session import DuetObserver, SilentDuetObserver, compare_locally

__all__ = [
    "Arm",
    "ArmName",
    "ArmOrder",
    "ControlResult",
    "DuetObserver",
    "DuetPlan",
    "DuetResult",
    "Limits",
    "Pair",
    "PairResult",
    "PairVerdict",
    "SilentDuetObserver",
    "WorkerEnd",
    "WorkerOrder",
    "WorkerPair",
    "compare_locally",
    "of_worker",
    "pairs_of_overrides",
    "plan_duet",
    "run_worker",
    "with_control",
]
