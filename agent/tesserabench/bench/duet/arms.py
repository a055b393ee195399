"""Arms of an interleaved comparison: from what somebody names to benchmarks and cases."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tesserabench.bench.bundle import Bundle, find_bundle, installed_bundles, names_a_folder
from tesserabench.bench.case import Case
from tesserabench.bench.definition import Suite
from tesserabench.bench.duet.plan import DuetPlan, Pair, pairs_of_arms, pairs_of_overrides, with_control
from tesserabench.bench.errors import NothingSelected
from tesserabench.bench.plan import MeasureOptions, parse_mode
from tesserabench.bench.registry import INSTALLED, Registry
from tesserabench.bench.selection import expand, parse_tier
from tesserabench.bench.vocabulary import DeviceKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One side of a comparison.

    `spec` names an installed suite (`gemm`), one of its benchmarks (`gemm/matmul`), a bundle's folder (`./mine`), or an
    installed bundle. `include` and `exclude` are regular expressions searched in the ids of its cases.
    """

    spec: str
    overrides: Mapping[str, str] = field(default_factory=dict)
    include: str | None = None
    exclude: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedArm:
    """An arm whose benchmarks are at hand."""

    suite: Suite
    registry: Registry
    bundle: str | None
    """A folder, or the name of an installed bundle; None for what the installation brings."""
    digest: str | None
    """Of the bundle's files as they are now; None without a bundle."""
    cases: tuple[Case, ...]


def load_arm(arm: Arm, *, tier: str, device_kind: DeviceKind | str) -> LoadedArm:
    """Return the benchmarks and cases of an arm; raise a SelectionError or BundleError when there are none."""
    bundle = find_bundle(arm.spec) if _means_a_bundle(arm.spec) else None
    registry = INSTALLED if bundle is None else bundle.registry
    suite = _suite(arm.spec, bundle, registry)
    cases = expand(
        suite,
        tier=tier,
        device_kind=device_kind,
        overrides=arm.overrides,
        include=arm.include,
        exclude=arm.exclude,
    )
    return LoadedArm(
        suite=suite,
        registry=registry,
        bundle=_place(arm.spec, bundle),
        digest=None if bundle is None else bundle.digest,
        cases=cases,
    )


def _means_a_bundle(spec: str) -> bool:
    """Tell a path from a benchmark's full name: both have a slash, and only the path leads to a folder."""
    if names_a_folder(spec):
        return Path(spec).expanduser().exists() or spec.startswith((".", "~", os.sep))
    return spec in installed_bundles()


def _place(spec: str, bundle: Bundle | None) -> str | None:
    """Return how another process finds the bundle again, whatever folder that works in."""
    if bundle is None:
        return None
    return str(bundle.folder) if names_a_folder(spec) else spec


def _suite(spec: str, bundle: Bundle | None, registry: Registry) -> Suite:
    if bundle is not None:
        found = [registry.find_suite(name) for name in bundle.suites]
        everything = tuple({item.name: item for suite in found for item in suite.benchmarks}.values())
        return Suite(name=bundle.name, summary=bundle.summary, benchmarks=everything)
    if "/" not in spec:
        return registry.find_suite(spec)
    benchmark = registry.find_benchmark(spec)
    return Suite(name=benchmark.suite, summary=benchmark.summary, benchmarks=(benchmark,))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDuet:
    """The plan of a comparison, the cases that only one arm has, and the digests of both arms' bundles."""

    plan: DuetPlan
    alone: tuple[Case, ...]
    digests: tuple[str | None, str | None] = (None, None)


def plan_duet(  # noqa: PLR0913 - the options of a comparison, all keyword-only
    a: Arm,
    b: Arm,
    *,
    device_kind: DeviceKind | str,
    tier: str = "smoke",
    mode: str | None = None,
    seed: int = 0,
    options: MeasureOptions | None = None,
    null_control: bool = True,
) -> PlannedDuet:
    """Return the plan that every worker gets, seed and order aside; raise a SelectionError naming what is wrong."""
    ours, theirs = (load_arm(arm, tier=tier, device_kind=device_kind) for arm in (a, b))
    alone: tuple[Case, ...]
    changed = _changed(a, b)
    if changed is None:
        pairs, alone = pairs_of_arms(ours.cases, theirs.cases)
    else:
        benchmarks = {item.name: item for item in ours.suite.benchmarks}
        pairs, alone = pairs_of_overrides(ours.cases, changed, benchmarks), ()
    if not pairs:
        raise NothingSelected(
            f"the two arms have no case in common: A has {ours.cases[0].id} and {len(ours.cases) - 1} more, B has "
            f"{theirs.cases[0].id} and {len(theirs.cases) - 1} more; give both the same parameters, or one case each"
        )
    plan = DuetPlan(
        suite=ours.suite.name,
        tier=parse_tier(tier),
        pairs=_controlled(pairs, wanted=null_control),
        seed=seed,
        mode=None if mode is None else parse_mode(mode),
        options=options or MeasureOptions.for_tier(tier),
        bundle_a=ours.bundle,
        bundle_b=theirs.bundle,
    )
    return PlannedDuet(plan=plan, alone=alone, digests=(ours.digest, theirs.digest))


def _changed(a: Arm, b: Arm) -> Mapping[str, str] | None:
    """Return what arm B sets otherwise, when that is all that the arms differ in and each has one value."""
    if replace(a, overrides=b.overrides) != b or not set(a.overrides) <= set(b.overrides):
        return None
    changed = {name: value for name, value in b.overrides.items() if a.overrides.get(name) != value}
    return None if any("," in value for value in changed.values()) else changed


def _controlled(pairs: tuple[Pair, ...], *, wanted: bool) -> tuple[Pair, ...]:
    return with_control(pairs) if wanted else pairs
