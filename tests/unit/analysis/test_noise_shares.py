"""Where the noise of a series comes from."""

import numpy as np
import pytest
from tesserabench.analysis.attribution.noise_shares import NoiseShares, RunSample, noise_shares


def _series(
    *, launch: float, run: float, device: float, runs: int = 60, devices: int = 12, step: float = 0.0
) -> NoiseShares:
    rng = np.random.default_rng(5)
    samples = []
    for which in range(devices):
        own = rng.normal(0, device)
        for number in range(runs):
            level = own + rng.normal(0, run) + (step if number >= runs // 2 else 0.0)
            values = level + rng.normal(0, launch, 5)
            samples.append(
                RunSample(
                    run=number,
                    device=f"gpu-{which}",
                    launches=5,
                    mean=float(values.mean()),
                    variance=float(values.var(ddof=1)),
                )
            )
    return noise_shares(samples)


@pytest.mark.parametrize(
    ("sizes", "largest"),
    [
        ((0.02, 0.002, 0.002), "within_run"),
        ((0.002, 0.02, 0.002), "between_runs"),
        ((0.002, 0.002, 0.02), "between_devices"),
    ],
)
def test_the_largest_share_is_where_the_noise_is(sizes: tuple[float, float, float], largest: str) -> None:
    shares = _series(launch=sizes[0], run=sizes[1], device=sizes[2])
    parts = {name: getattr(shares, name) for name in ("within_run", "between_runs", "between_devices")}
    assert max(parts, key=parts.__getitem__) == largest
    assert parts[largest] > 0.85
    assert sum(parts.values()) == pytest.approx(1.0)


def test_a_step_of_the_code_is_no_noise() -> None:
    quiet = _series(launch=0.002, run=0.003, device=0.0)
    stepped = _series(launch=0.002, run=0.003, device=0.0, step=0.2)
    assert stepped.detectable == pytest.approx(quiet.detectable, rel=0.1)


def test_what_would_be_seen_follows_from_runs_and_launches() -> None:
    shares = _series(launch=0.01, run=0.005, device=0.0)
    expected = 2.8016 * np.sqrt(2 * (0.005**2 + 0.01**2 / 5))
    assert shares.detectable == pytest.approx(np.expm1(expected), rel=0.15)
    assert (shares.runs, shares.launches) == (60, 3600)
    assert shares.launches_a_side == pytest.approx(5.0)


def test_what_never_varies_has_no_shares() -> None:
    same = [RunSample(run=number, device="gpu", launches=3, mean=1.0, variance=0.0) for number in range(4)]
    shares = noise_shares(same)
    assert (shares.within_run, shares.between_runs, shares.between_devices) == (0.0, 0.0, 0.0)
    assert (shares.detectable, shares.relative_deviation) == (0.0, 0.0)


def test_single_launches_put_everything_between_runs() -> None:
    rng = np.random.default_rng(1)
    alone = [
        RunSample(run=number, device="gpu", launches=1, mean=float(rng.normal(0, 0.01)), variance=None)
        for number in range(30)
    ]
    assert noise_shares(alone).between_runs == 1.0
