"""Measuring without any daemon: one call from a suite's name to its results."""

from tesserabench.bench.device import device_kind, open_device
from tesserabench.bench.measurement import TrialResult
from tesserabench.bench.plan import MeasureOptions, plan_trial
from tesserabench.bench.registry import INSTALLED, Registry
from tesserabench.bench.trial import measure_trial
from tesserabench.bench.watch import Observer, SilentObserver


def run_locally(  # noqa: PLR0913 - the flags of `bench run`, all keyword-only
    suite: str,
    *,
    device: str = "cpu",
    tier: str = "smoke",
    mode: str | None = None,
    seed: int = 0,
    overrides: dict[str, str] | None = None,
    include: str | None = None,
    exclude: str | None = None,
    options: MeasureOptions | None = None,
    observer: Observer | None = None,
    threads: int | None = None,
    registry: Registry = INSTALLED,
) -> TrialResult:
    """Measure a suite in this process and return the result.

    Raises SelectionError for a request that cannot be met and DeviceUnavailable when the device cannot be opened;
    everything that goes wrong later is an outcome.
    """
    plan = plan_trial(
        suite,
        tier=tier,
        device_kind=device_kind(device),
        overrides=overrides,
        include=include,
        exclude=exclude,
        seed=seed,
        mode=mode,
        options=options,
        registry=registry,
    )
    with open_device(device, threads=threads) as opened:
        return measure_trial(plan, opened, observer=observer or SilentObserver(), registry=registry)
