import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.bench import (
    Benchmark,
    DeviceKind,
    InvalidOverride,
    InvalidPattern,
    NothingSelected,
    Params,
    RegistrationError,
    Registry,
    Suite,
    Tier,
    UnknownBenchmark,
    UnknownSuite,
    UnknownTier,
    Workload,
    benchmark,
    expand,
    find_benchmark,
    find_suite,
    suites,
)
from tesserabench.bench.device.protocol import ArrayDevice


def no_work(device: ArrayDevice, params: Params, seed: int) -> Workload:
    raise AssertionError("selection prepares nothing")


def registry_with_stencil() -> Registry:
    registry = Registry()
    registry.suite("grid", summary="grids")
    benchmark(
        name="stencil",
        suite="grid",
        summary="a stencil",
        parameters={"x,y": ((8, 8), (16, 4)), "dtype": ("float32", "float64"), "fused": (False, True), "alpha": (0.5,)},
        tiers={
            "smoke": {"x,y": ((8, 8),), "dtype": ("float32",), "fused": (False,)},
            "full": {"x,y": ((8, 8), (64, 64))},
            "nightly": {"fused": (False, True)},
        },
        device_tiers={"cuda": {"full": {"x,y": ((1024, 1024),)}}},
        devices=("cpu", "cuda"),
        registry=registry,
    )(no_work)
    benchmark(
        name="sparse",
        suite="grid",
        summary="only at night",
        parameters={"n": (100,)},
        tiers={"nightly": {}},
        devices=("cpu",),
        registry=registry,
    )(no_work)
    return registry


@pytest.fixture
def grid() -> Suite:
    return registry_with_stencil().find_suite("grid")


def ids(suite: Suite, tier: str, kind: str, **overrides: str) -> list[str]:
    return [case.id for case in expand(suite, tier=tier, device_kind=kind, overrides=overrides)]


def test_tiers_inherit_what_they_do_not_name(grid: Suite) -> None:
    assert ids(grid, "smoke", "cpu") == ["grid/stencil[x=8,y=8,dtype=float32,fused=false,alpha=0.5]"]
    assert ids(grid, "regression", "cpu") == ids(grid, "smoke", "cpu")
    assert ids(grid, "full", "cpu") == [
        "grid/stencil[x=8,y=8,dtype=float32,fused=false,alpha=0.5]",
        "grid/stencil[x=64,y=64,dtype=float32,fused=false,alpha=0.5]",
    ]
    assert len(ids(grid, "nightly", "cpu")) == 5


def test_axes_of_a_device_replace_those_of_the_tier(grid: Suite) -> None:
    assert ids(grid, "smoke", "cuda") == ids(grid, "smoke", "cpu")
    assert ids(grid, "full", "cuda") == ["grid/stencil[x=1024,y=1024,dtype=float32,fused=false,alpha=0.5]"]


def test_benchmark_joins_at_the_first_tier_it_names(grid: Suite) -> None:
    assert not any("sparse" in name for name in ids(grid, "full", "cpu"))
    assert ids(grid, "nightly", "cpu")[-1] == "grid/sparse[n=100]"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ({"x": "5"}, ["grid/stencil[x=5,y=8,dtype=float32,fused=false,alpha=0.5]"]),
        ({"stencil.alpha": "2"}, ["grid/stencil[x=8,y=8,dtype=float32,fused=false,alpha=2.0]"]),
        ({"grid/stencil.fused": "TRUE"}, ["grid/stencil[x=8,y=8,dtype=float32,fused=true,alpha=0.5]"]),
        (
            {"dtype": "float64, float32"},
            [
                "grid/stencil[x=8,y=8,dtype=float64,fused=false,alpha=0.5]",
                "grid/stencil[x=8,y=8,dtype=float32,fused=false,alpha=0.5]",
            ],
        ),
        ({"x": "1", "stencil.x": "2"}, ["grid/stencil[x=2,y=8,dtype=float32,fused=false,alpha=0.5]"]),
    ],
)
def test_overrides_replace_the_values_of_the_tier(grid: Suite, override: dict[str, str], expected: list[str]) -> None:
    assert ids(grid, "smoke", "cpu", **override) == expected


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"dtyp": "float32"}, "no benchmark of suite 'grid' has a parameter 'dtyp'; did you mean 'dtype'?"),
        ({"stencli.x": "1"}, "suite 'grid' has no benchmark 'stencli'; did you mean 'stencil'?"),
        ({"stencil.m": "1"}, "grid/stencil has no parameter 'm'; its parameters: x, y, dtype, fused, alpha"),
        ({"x": "big"}, "grid/stencil.x is 'big'; it must be a whole number"),
        ({"x": "1.5"}, "grid/stencil.x is '1.5'; it must be a whole number"),
        ({"x": "0"}, "grid/stencil.x is '0'; it must be a whole number above zero"),
        ({"alpha": "inf"}, "grid/stencil.alpha is 'inf'; it must be a number above zero"),
        ({"alpha": "nan"}, "grid/stencil.alpha is 'nan'; it must be a number above zero"),
        ({"dtype": "int3"}, "grid/stencil.dtype is 'int3'; it must be one of: float32, float64"),
        ({"fused": "maybe"}, "grid/stencil.fused is 'maybe'; it must be true or false"),
        ({"x": ""}, "grid/stencil.x is ''; it must be a whole number"),
    ],
)
def test_wrong_override_names_field_value_and_remedy(grid: Suite, override: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidOverride) as caught:
        expand(grid, tier="smoke", device_kind="cpu", overrides=override)
    assert str(caught.value) == message


def test_parameters_that_multiply_to_too_many_cases_are_refused_before_the_cases_are_made(grid: Suite) -> None:
    many = ",".join(map(str, range(1, 5001)))
    with pytest.raises(InvalidOverride) as caught:
        expand(grid, tier="smoke", device_kind="cpu", overrides={"x": many, "stencil.y": many})
    assert str(caught.value) == (
        "grid/stencil would have 25000000 cases (5000 of x, 5000 of y); give values for at most 10000, in several runs"
    )


@given(
    x=st.lists(st.integers(1, 10**6), min_size=1, max_size=5),
    alpha=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=3),
    tier=st.sampled_from(Tier),
)
def test_expansion_is_the_product_without_repeats(x: list[int], alpha: list[float], tier: Tier) -> None:
    suite = registry_with_stencil().find_suite("grid")
    overrides = {"stencil.x": ",".join(map(str, x)), "stencil.alpha": ",".join(map(repr, alpha))}
    cases = [
        case
        for case in expand(suite, tier=tier, device_kind="cpu", overrides=overrides)
        if case.benchmark == "grid/stencil"
    ]
    assert len({case.id for case in cases}) == len({case.hash for case in cases}) == len(cases)
    assert {case.params["x"] for case in cases} == set(x)
    assert {case.params["alpha"] for case in cases} == set(alpha)
    plain = {(case.params["y"], case.params["dtype"], case.params["fused"]) for case in cases}
    assert len(cases) == len(plain) * len(set(x)) * len(set(alpha))


def test_include_and_exclude_search_the_case_id(grid: Suite) -> None:
    full = expand(grid, tier="nightly", device_kind="cpu", include=r"x=64", exclude=r"fused=true")
    assert [case.id for case in full] == ["grid/stencil[x=64,y=64,dtype=float32,fused=false,alpha=0.5]"]


def test_nothing_left_says_what_there_was(grid: Suite) -> None:
    with pytest.raises(NothingSelected, match=r"include 'conv' leaves none of the 1 cases"):
        expand(grid, tier="smoke", device_kind="cpu", include="conv")
    with pytest.raises(NothingSelected, match=r"include 'x' and exclude '.' leave none of the 1 cases"):
        expand(grid, tier="smoke", device_kind="cpu", include="x", exclude=".")
    with pytest.raises(NothingSelected, match=r"nothing for device 'simulated' in tier 'smoke'; it runs on: cpu, cuda"):
        expand(grid, tier="smoke", device_kind="simulated")


def test_broken_pattern_and_unknown_tier_are_refused(grid: Suite) -> None:
    with pytest.raises(InvalidPattern, match=r"exclude is '\(', no regular expression"):
        expand(grid, tier="smoke", device_kind="cpu", exclude="(")
    with pytest.raises(UnknownTier, match="tier 'quick' is unknown; known: smoke, regression, full, nightly"):
        expand(grid, tier="quick", device_kind="cpu")


def test_unknown_names_come_with_near_matches() -> None:
    with pytest.raises(UnknownSuite, match=r"suite 'gem' is unknown; did you mean 'gemm'\?"):
        find_suite("gem")
    with pytest.raises(UnknownSuite, match=r"suite 'zzz' is unknown; known: .*fft, .*gemm, .*memory"):
        find_suite("zzz")
    with pytest.raises(UnknownBenchmark, match="did you mean 'memory/copy' or"):
        find_benchmark("memory/cpoy")


@pytest.mark.parametrize("kind", DeviceKind)
@pytest.mark.parametrize("tier", Tier)
def test_every_installed_benchmark_has_cases_on_every_device_it_supports(kind: DeviceKind, tier: Tier) -> None:
    for suite in (suite for suite in suites() if kind in suite.devices):
        found = {case.benchmark for case in expand(suite, tier=tier, device_kind=kind)}
        assert found == {item.name for item in suite.benchmarks if kind in item.devices}


def test_larger_tiers_keep_no_fewer_cases() -> None:
    for suite in suites():
        for kind in suite.devices:
            counts = [len(expand(suite, tier=tier, device_kind=kind)) for tier in Tier]
            assert counts == sorted(counts)


def test_core_suite_shares_its_benchmarks_with_their_own_suites() -> None:
    names = {item.name for item in find_suite("core").benchmarks}
    assert names == {"gemm/matmul", "memory/copy", "memory/triad", "memory/reduction", "fft/c2c"}
    assert find_benchmark("gemm/matmul") in find_suite("core").benchmarks


def test_contradictory_declarations_are_refused() -> None:
    registry = registry_with_stencil()
    with pytest.raises(RegistrationError, match="suite 'grid' is declared twice"):
        registry.suite("grid", summary="again")
    with pytest.raises(RegistrationError, match="'grid/sparse' is registered twice"):
        registry.add(registry.find_benchmark("grid/sparse"))
    with pytest.raises(RegistrationError, match="undeclared suite 'mesh'"):
        registry.add(Benchmark(name="mesh/a", suite="mesh", summary="", prepare=no_work, parameters={"n": (1,)}))
    with pytest.raises(RegistrationError, match="tier axis 'm' is not among its parameters"):
        Benchmark(
            name="grid/b",
            suite="grid",
            summary="",
            prepare=no_work,
            parameters={"n": (1,)},
            tiers={Tier.SMOKE: {"m": (1,)}},
        )
    with pytest.raises(RegistrationError, match="every value of axis 'x,y' must have 2 part"):
        Benchmark(name="grid/c", suite="grid", summary="", prepare=no_work, parameters={"x,y": (1, 2)})
    with pytest.raises(RegistrationError, match="axis 'n' has no values"):
        Benchmark(name="grid/d", suite="grid", summary="", prepare=no_work, parameters={"n": ()})
