"""Devices against their siblings."""

import numpy as np
import pytest
from tesserabench.analysis.attribution.siblings import DeviceStanding, Reading, Standing, Terms, standings

HOSTS, GPUS, RUNS, SERIES = 8, 4, 6, 5


def _fleet(
    seed: int,
    *,
    slower: dict[str, float] | None = None,
    noise: float = 0.01,
    hosts: int = HOSTS,
    runs: int = RUNS,
    drift: dict[str, float] | None = None,
    shared_commits: bool = True,
) -> list[Reading]:
    """Every GPU `h1.g2` in every run; commits move every series, devices differ by half a per cent."""
    rng = np.random.default_rng(seed)
    found = []
    for host in range(hosts):
        for gpu in range(GPUS):
            device = f"h{host}.g{gpu}"
            own = rng.normal(0, 0.005) + (slower or {}).get(device, 0.0)
            for run in range(runs):
                bent = (drift or {}).get(device, 0.0) * run / max(runs - 1, 1)
                for series in range(SERIES):
                    rate = series % 2
                    level = 10.0 + series + 0.05 * (run > runs // 2)
                    value = own + bent + rng.normal(0, noise)
                    found.append(
                        Reading(
                            series=f"s{series}",
                            test_class="compute" if series < 3 else "memory",
                            model="GPU",
                            host=f"h{host}",
                            device=device,
                            run=run * 100 + host,
                            at=3600.0 * run + host,
                            commit=f"c{run}" if shared_commits else f"c{run}.{device}",
                            value=level - value if rate else level + value,
                            slower=-1 if rate else 1,
                        )
                    )
    return found


def _by_device(found: tuple[DeviceStanding, ...], test_class: str = "compute") -> dict[str, DeviceStanding]:
    return {one.device: one for one in found if one.test_class == test_class}


@pytest.mark.parametrize("shared_commits", [True, False])
def test_third_gpu_of_host_7_is_found_eight_per_cent_behind(shared_commits: bool) -> None:
    found = _by_device(standings(_fleet(1, slower={"h7.g2": 0.08}, shared_commits=shared_commits)))
    assert [device for device, one in found.items() if one.standing is not Standing.PASS] == ["h7.g2"]
    slow = found["h7.g2"]
    assert slow.standing is Standing.SLOW
    assert slow.deviation == pytest.approx(0.083, abs=0.012)
    assert slow.z > 4
    assert slow.smallest_visible < 0.08
    assert slow.siblings == HOSTS * GPUS - 1


def test_fleets_without_a_slow_device_raise_no_alarm() -> None:
    wrong = [
        one
        for seed in range(12)
        for one in standings(_fleet(seed, noise=0.02))
        if one.standing in {Standing.SLOW, Standing.FAST} or one.drifting
    ]
    assert not wrong


def test_a_fast_device_is_no_slow_one() -> None:
    found = _by_device(standings(_fleet(2, slower={"h0.g0": -0.09})))
    assert found["h0.g0"].standing is Standing.FAST
    assert found["h0.g0"].deviation < -0.05


def test_all_devices_of_a_slow_host_are_found() -> None:
    slow = {f"h3.g{gpu}": 0.08 for gpu in range(GPUS)}
    found = _by_device(standings(_fleet(3, slower=slow)))
    assert {device for device, one in found.items() if one.standing is Standing.SLOW} == set(slow)


def test_one_bad_run_is_not_a_slow_device() -> None:
    readings = [
        Reading(**{name: getattr(one, name) for name in Reading.__slots__} | {"value": one.value + one.slower * 0.3})
        if one.device == "h1.g1" and one.run < 100
        else one
        for one in _fleet(4)
    ]
    assert _by_device(standings(readings))["h1.g1"].standing is Standing.PASS


def test_what_was_slow_and_is_back_is_let_go() -> None:
    readings = [
        Reading(**{name: getattr(one, name) for name in Reading.__slots__} | {"value": one.value + one.slower * 0.1})
        if one.device == "h1.g1" and one.run < 400
        else one
        for one in _fleet(5)
    ]
    assert _by_device(standings(readings))["h1.g1"].standing is not Standing.SLOW


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (lambda one: one.host == "h0" and one.device in {"h0.g0", "h0.g1"}, "1 siblings"),
        (lambda one: one.run < 100, "1 of the 2 runs"),
    ],
)
def test_too_little_evidence_is_inconclusive_and_says_why(kept, reason: str) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001 - a predicate
    readings = [one for one in _fleet(6, slower={"h0.g0": 0.2}) if kept(one)]
    found = _by_device(standings(readings))["h0.g0"]
    assert found.standing is Standing.INCONCLUSIVE
    assert reason in found.reason


def test_a_drifting_device_is_told() -> None:
    found = _by_device(standings(_fleet(7, runs=16, drift={"h2.g3": 0.06})))
    assert [device for device, one in found.items() if one.drifting] == ["h2.g3"]
    assert found["h2.g3"].drift == pytest.approx(0.06, abs=0.025)


def _commits_on(hosts: dict[int, set[str]], *, step: int, slow: str = "") -> list[Reading]:
    """One series in runs of a commit each, `hosts` by run; the code is 8 % slower from run `step` on, `slow` always."""
    return [
        Reading(
            series="s",
            test_class="compute",
            model="GPU",
            host=host,
            device=host,
            run=run,
            at=3600.0 * run,
            commit=f"c{run}",
            value=10.0 + 0.08 * (run >= step) + 0.08 * (host == slow) + 0.001 * ((run + int(host[1:])) % 3),
            slower=1,
        )
        for run, measuring in hosts.items()
        for host in sorted(measuring)
    ]


ALL = {"h1", "h2", "h3", "h4", "h5"}


@pytest.mark.parametrize("few", [{"h1"}, {"h1", "h2"}, {"h1", "h2", "h3"}])
def test_a_commit_that_only_some_hosts_have_measured_makes_none_of_them_slow(few: set[str]) -> None:
    readings = _commits_on(dict.fromkeys(range(6), ALL) | dict.fromkeys(range(6, 10), few), step=6)
    assert not [one.device for one in standings(readings) if one.standing in {Standing.SLOW, Standing.FAST}]


def test_hosts_that_take_turns_show_the_slow_one_and_no_commit() -> None:
    turns = {run: {f"h{run % 5 + 1}"} for run in range(40)}
    assert [one.device for one in standings(_commits_on(turns, step=20)) if one.standing is Standing.SLOW] == []
    found = standings(_commits_on(turns, step=20, slow="h3"))
    assert [one.device for one in found if one.standing is Standing.SLOW] == ["h3"]


def test_order_of_the_readings_does_not_matter() -> None:
    readings = _fleet(8, slower={"h7.g2": 0.08})
    assert standings(readings) == standings(readings[::-1])


def test_noise_beyond_the_limit_is_inconclusive() -> None:
    found = _by_device(standings(_fleet(9, noise=0.4), Terms(recent_runs=4)))
    assert sum(one.standing is Standing.INCONCLUSIVE for one in found.values()) > HOSTS * GPUS / 2
