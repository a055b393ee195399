"""How often comparing two arms errs: our interleaved design beside sequential ones, on simulated machines.

A machine is a slow random walk (its end-to-end standard deviation is `drift`); a worker process adds an offset that it
keeps; a sample adds noise. Offsets stand for memory layout, address randomisation and clocks; 30 % of an offset's
deviation belongs to one arm's own buffers, which interleaving in one process cannot take out. Every design takes the
same number of samples over the same time:

    sequential      all workers of A, then all of B; pooled samples by Mann and Whitney, or Welch's t on the medians
    process duet    one arm a worker, ABBA; paired t on the medians
    ours            both arms in every worker, alternating; `analysis.duet` as the product calls it

False rate: identical arms called different; nominal 5 %. Power: arms 1 % apart called different. A gate is the smallest
effect that a verdict needs: at 1 % it finds a change of 1 % half of the time, so ask for half of what must be found.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, stdtr
from support.figures import Figure, out_folder, report
from tesserabench.analysis.duet import LOOKS, DuetPolicy, DuetSeries, Look, judge_duet
from tesserabench.analysis.words import Verdict
from tesserabench.bench import MeasureOptions
from tesserabench.bench.duet import Arm, compare_locally

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

TRIALS = 1000
SAMPLES = 60
"""For each arm and pair of processes."""
OWN_SHARE = 0.3
NOMINAL = 0.05
MARGIN = 2 * math.sqrt(NOMINAL * (1 - NOMINAL) / TRIALS)
"""By this much a true 5 % may look larger."""
CHANGE = 0.01
NO_GATE = 1e-9
REAL = (("memory/copy", {"n": "65536"}), ("gemm/matmul", {"m": "256", "n": "256", "k": "256", "dtype": "float32"}))
CALLED = {Verdict.REGRESSED, Verdict.IMPROVED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Relative standard deviations, and how many workers there are."""

    name: str
    offset: float
    sample: float
    drift: float
    workers: int


ROWS = tuple(
    Noise(name=f"{name}, {workers} workers", offset=offset, sample=sample, drift=drift, workers=workers)
    for workers in (5, 10)
    for name, offset, sample, drift in (
        ("quiet", 0.001, 0.005, 0.001),
        ("typical", 0.003, 0.01, 0.005),
        ("noisy", 0.01, 0.03, 0.02),
    )
)


class Machines:
    """Many simulated sessions at once. Arrays have a row for each; time is counted in slots of a sample each."""

    def __init__(self, noise: Noise, seed: int, *, trials: int = TRIALS) -> None:
        self.noise, self.trials = noise, trials
        self.generator = np.random.default_rng([seed, noise.workers, round(1e6 * noise.offset)])
        slots = 2 * noise.workers * SAMPLES
        steps = self.generator.standard_normal((trials, slots)) * noise.drift / math.sqrt(slots)
        self.times = np.cumsum(steps, axis=1)
        self.times += noise.sample * self.generator.standard_normal((trials, slots))

    def offsets(self, *shape: int) -> Floats:
        """What processes, or buffers, add."""
        return self.noise.offset * self.generator.standard_normal((self.trials, *shape))

    def one_arm_a_worker(self, arms: str) -> tuple[Floats, Floats]:
        """Samples of A and of B, of shape (trial, worker, sample), when each worker has one; `arms` is their order."""
        samples = self.times.reshape(self.trials, len(arms), SAMPLES) + self.offsets(len(arms), 1)
        is_b = np.array([arm == "b" for arm in arms])
        return samples[:, ~is_b], samples[:, is_b]

    def interleaved(self, block: int = 1) -> Floats:
        """The effects, of shape (trial, worker), when each worker has both arms in blocks, pairs in random order."""
        workers, pairs = self.noise.workers, SAMPLES // block
        samples = self.times.reshape(self.trials, workers, pairs, 2, block).copy()
        turned = self.generator.random((self.trials, workers, pairs)) < 0.5
        samples[turned] = samples[turned][:, ::-1]
        medians = np.median(samples.swapaxes(2, 3).reshape(self.trials, workers, 2, -1), axis=3)
        # What the whole process adds to both arms cancels; it is left out for that reason alone.
        medians += OWN_SHARE * self.offsets(workers, 2)
        effects: Floats = medians[:, :, 1] - medians[:, :, 0]
        return effects


def mann_whitney(a: Floats, b: Floats) -> Floats:
    """Two-sided p values of pooled samples, by the normal approximation."""
    first, second = a.reshape(len(a), -1), b.reshape(len(b), -1)
    ranks = np.argsort(np.argsort(np.concatenate([first, second], axis=1), axis=1), axis=1) + 1.0
    count, other = first.shape[1], second.shape[1]
    statistic = ranks[:, :count].sum(axis=1) - count * (count + 1) / 2
    spread = math.sqrt(count * other * (count + other + 1) / 12)
    p_values: Floats = 2 * ndtr(-np.abs(statistic - count * other / 2) / spread)
    return p_values


def welch(a: Floats, b: Floats) -> Floats:
    """Two-sided p values of the workers' medians."""
    first, second = np.median(a, axis=2), np.median(b, axis=2)
    count = first.shape[1]
    parts = first.var(axis=1, ddof=1) / count, second.var(axis=1, ddof=1) / count
    error = parts[0] + parts[1]
    degrees = error**2 / ((parts[0] ** 2 + parts[1] ** 2) / (count - 1))
    p_values: Floats = 2 * stdtr(degrees, -np.abs(second.mean(axis=1) - first.mean(axis=1)) / np.sqrt(error))
    return p_values


def paired(effects: Floats) -> Floats:
    """Two-sided p values of one difference a worker."""
    count = effects.shape[1]
    scale = effects.std(axis=1, ddof=1) / math.sqrt(count)
    p_values: Floats = 2 * stdtr(count - 1, -np.abs(effects.mean(axis=1) / scale))
    return p_values


def pooled_sequential(machines: Machines, change: float) -> Bools:
    """All of A, then all of B; samples taken for independent."""
    workers = machines.noise.workers
    a, b = machines.one_arm_a_worker("a" * workers + "b" * workers)
    return mann_whitney(a, b + math.log1p(change)) < NOMINAL


def medians_sequential(machines: Machines, change: float) -> Bools:
    """All of A, then all of B; one median a process."""
    workers = machines.noise.workers
    a, b = machines.one_arm_a_worker("a" * workers + "b" * workers)
    return welch(a, b + math.log1p(change)) < NOMINAL


def process_duet(machines: Machines, change: float) -> Bools:
    """One arm a process, in the order ABBA BAAB."""
    arms = "".join("ab" if pair % 2 == 0 else "ba" for pair in range(machines.noise.workers))
    a, b = machines.one_arm_a_worker(arms)
    return paired(np.median(b, axis=2) - np.median(a, axis=2) + math.log1p(change)) < NOMINAL


def ours(gate: float, looks: Sequence[Look] = ()) -> Callable[[Machines, float], Bools]:
    """Both arms in every process; the verdict of the product, at once or in looks."""
    policy = DuetPolicy(smallest_effect=gate)

    def called(effects: list[float]) -> bool:
        for look in looks or (Look(workers=len(effects), error=policy.error),):
            series = DuetSeries(effects=tuple(effects[: look.workers]))
            (found,) = judge_duet([series], policy, error=look.error)
            if found.verdict is not Verdict.INCONCLUSIVE:
                return found.verdict in CALLED
        return False

    def design(machines: Machines, change: float) -> Bools:
        effects = machines.interleaved() + math.log1p(change)
        return np.array([called(row) for row in effects.tolist()])

    return design


DESIGNS: Sequence[tuple[str, Callable[[Machines, float], Bools]]] = (
    ("sequential, pooled Mann-Whitney", pooled_sequential),
    ("sequential, medians", medians_sequential),
    ("process duet ABBA", process_duet),
    ("ours, no gate", ours(NO_GATE)),
    ("ours, gate 0.5 %", ours(0.005)),
    ("ours, gate 1 %", ours(0.01)),
)
IN_LOOKS = ("ours, gate 0.5 %, two looks", ours(0.005, LOOKS))


def print_rates() -> list[Figure]:
    """The table of designs, and on each row whether ours is ahead."""
    figures: list[Figure] = []
    print(f"{TRIALS} trials; called different: identical arms (false rate) and arms 1 % apart (power)\n")
    for noise in ROWS:
        print(f"{noise.name} (offset {noise.offset:.1%}, sample {noise.sample:.1%}, drift {noise.drift:.1%})")
        found: dict[str, tuple[float, float]] = {}
        for name, design in (*DESIGNS, IN_LOOKS) if noise.workers == LOOKS[-1].workers else DESIGNS:
            false, power = (float(design(Machines(noise, 1), change).mean()) for change in (0.0, CHANGE))
            found[name] = (false, power)
            told = "" if false <= NOMINAL + MARGIN else "   its power is worth nothing: it errs more than 5 %"
            print(f"  {name:<32} {false:>7.1%} {power:>7.1%}{told}")
        figures += _beside(noise, found)
    return figures


def _beside(noise: Noise, found: dict[str, tuple[float, float]]) -> list[Figure]:
    """Our figures beside those of the others, and where ours is not ahead."""
    mine = found["ours, no gate"]
    honest = {name: pair for name, pair in found.items() if not name.startswith("ours") and pair[0] <= NOMINAL + MARGIN}
    best = max(honest, key=lambda name: honest[name][1], default="")
    behind = mine[0] > NOMINAL + MARGIN or (best != "" and mine[1] < honest[best][1] - MARGIN)
    print(f"  {'ours is behind' if behind else 'ours is ahead of, or level with, every honest design'}\n")
    pooled = found["sequential, pooled Mann-Whitney"]
    figures = [
        Figure(
            name=f"false rate, {noise.name}",
            value=mine[0],
            unit="1",
            reference="sequential_pooled",
            ratio=mine[0] / pooled[0],
        )
    ]
    if best:
        ratio = mine[1] / honest[best][1] if honest[best][1] else None
        name = f"power at +1 %, {noise.name}"
        figures.append(Figure(name=name, value=mine[1], unit="1", reference=best.replace(" ", "_"), ratio=ratio))
    return figures


def print_intervals() -> list[Figure]:
    """Student's interval beside the bootstrap's, which would be an alternative from ten workers on."""
    figures: list[Figure] = []
    print("intervals of the effect with ten workers: how often they miss zero for identical arms (nominal 5 %)")
    for noise in (noise for noise in ROWS if noise.workers == 10):
        machines = Machines(noise, 2)
        effects = machines.interleaved()
        picks = machines.generator.integers(0, noise.workers, (400, noise.workers))
        low, high = np.quantile(effects[:, picks].mean(axis=2), [0.025, 0.975], axis=1)
        by_bootstrap = float(((low > 0) | (high < 0)).mean())
        by_student = float((paired(effects) < NOMINAL).mean())
        print(f"  {noise.name:<22} Student {by_student:>6.1%}   percentile bootstrap {by_bootstrap:>6.1%}")
        ratio = by_student / by_bootstrap if by_bootstrap else None
        name = f"interval misses, {noise.name}"
        figures.append(Figure(name=name, value=by_student, unit="1", reference="percentile_bootstrap", ratio=ratio))
    return figures


def print_blocks() -> list[Figure]:
    """What blocks cost: the longer an arm stays, the more of the machine's walk ends up in the effect."""
    figures: list[Figure] = []
    print(f"\nspread of the effect between workers, by how many of its {SAMPLES} samples an arm takes in one go")
    for noise in (noise for noise in ROWS if noise.workers == 5):
        spreads = {block: float(Machines(noise, 3).interleaved(block).std()) for block in (1, 5, 10, 20, 60)}
        print(f"  {noise.name:<22} {'   '.join(f'{block}: {spread:.3%}' for block, spread in spreads.items())}")
        figures += [
            Figure(
                name=f"spread, blocks of {block}, {noise.name}",
                value=spread,
                unit="1",
                reference="blocks_of_1",
                ratio=spread / spreads[1],
            )
            for block, spread in spreads.items()
        ]
    return figures


def print_real() -> list[Figure]:
    """Arms that are equal, in real workers on this machine's CPU: no simulation, and no claim beyond this machine."""
    figures: list[Figure] = []
    print("\nA against A in five real workers on this CPU (smallest effect 1 %)")
    options = replace(MeasureOptions.for_tier("smoke"), probe_ceilings=False)
    for spec, overrides in REAL:
        arm = Arm(spec=spec, overrides=overrides)
        (pair,) = compare_locally(arm, arm, device="cpu", workers=5, threads=1, options=options).pairs
        found = pair.found
        if found.change is None or found.change_low is None or found.change_high is None:
            print(f"  {pair.a}: {found.explanation}")
            continue
        interval = f"{found.change:+.2%} [{found.change_low:+.2%}, {found.change_high:+.2%}]"
        print(f"  {pair.a:<48} {interval:<28} {found.verdict}")
        half = (found.change_high - found.change_low) / 2
        figures.append(Figure(name=f"real A/A half-width, {spec}", value=half, unit="1"))
    return figures


def main() -> None:
    """Simulate, measure a little, and report."""
    folder = out_folder()
    figures = [*print_rates(), *print_intervals(), *print_blocks(), *print_real()]
    print()
    report("duet", figures, folder)


if __name__ == "__main__":
    main()
