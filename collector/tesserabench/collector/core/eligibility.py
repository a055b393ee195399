"""Which host may take which attempt: pure functions on values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tesserabench.collector.core.selectors import Condition, mismatches, parse_conditions
from tesserabench.collector.core.spec import RunSpec

AUTOMATIC_KINDS = ("cuda", "cpu")
"""What `auto` may become, best first; never a simulated device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """What a host can do. `suites` gives the device kinds that each suite's benchmarks run on."""

    host: str
    suites: Mapping[str, frozenset[str]]
    devices: frozenset[tuple[str, int]]
    attributes: Mapping[str, Any]

    @property
    def kinds(self) -> frozenset[str]:
        """The device kinds that the host has."""
        return frozenset(kind for kind, _ in self.devices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an attempt asks of a host."""

    suite: str
    device: str
    hosts: tuple[str, ...]
    conditions: tuple[Condition, ...]

    @classmethod
    def by(cls, spec: RunSpec) -> "Wanted":
        """What the attempts of this spec ask for."""
        selector = spec.selector
        return cls(
            suite=spec.suite,
            device=spec.device,
            hosts=selector.hosts,
            conditions=parse_conditions(selector.conditions),
        )


def capability(host: str, inventory: Mapping[str, Any], attributes: Mapping[str, Any]) -> Capability:
    """What a host can do, from its inventory in protobuf's JSON mapping."""
    devices = frozenset(
        (device.get("kind", ""), int(device.get("index", 0))) for device in inventory.get("devices", ())
    )
    everything = frozenset(kind for kind, _ in devices)
    suites = {
        suite["name"]: frozenset(kind for item in suite.get("benchmarks", ()) for kind in item.get("devices", ()))
        # A suite that does not say where it runs is taken to run anywhere.
        or everything
        for suite in inventory.get("suites", ())
        if suite.get("name")
    }
    return Capability(host=host, suites=suites, devices=devices, attributes=attributes)


def device_for(wanted: Wanted, host: Capability) -> str | None:
    """The device that the host would measure on, with `auto` settled; none when it has no such device."""
    runs_on = host.suites.get(wanted.suite, frozenset())
    if wanted.device == "auto":
        return next((kind for kind in AUTOMATIC_KINDS if kind in host.kinds and kind in runs_on), None)
    kind, _, index = wanted.device.partition(":")
    if kind not in runs_on:
        return None
    if index:
        return wanted.device if (kind, int(index)) in host.devices else None
    return kind if kind in host.kinds else None


def why_not(wanted: Wanted, host: Capability) -> list[str]:
    """Why this host cannot take such an attempt, whatever it does now; empty when it can."""
    if wanted.hosts and host.host not in wanted.hosts:
        return ["not one of the named hosts"]
    if wanted.suite not in host.suites:
        return [f"has no suite {wanted.suite}"]
    reasons = mismatches(wanted.conditions, host.attributes)
    if device_for(wanted, host) is None:
        others = sorted(host.kinds & host.suites[wanted.suite])
        instead = f", only {' and '.join(others)}: ask for --device {others[0]}" if others else ""
        reasons.append(f"has no device {wanted.device} that suite {wanted.suite} runs on{instead}")
    return reasons


def claimable_kinds(kinds: Iterable[str]) -> list[str]:
    """Device kinds of queued attempts that a host with these kinds may be able to take."""
    mine = sorted(set(kinds))
    return [*mine, "auto"] if set(mine) & set(AUTOMATIC_KINDS) else mine


def explain_absence(reasons: Sequence[tuple[str, str]], *, limit: int = 10) -> str:
    """One sentence on why no host took it.

    Args:
        reasons: host and why not, for every host.
        limit: hosts that are named at most.
    """
    if not reasons:
        return "no agent has registered yet; start tesserabench-agent on a host"
    named = "; ".join(f"{host}: {reason}" for host, reason in reasons[:limit])
    more = f"; and {len(reasons) - limit} more" if len(reasons) > limit else ""
    return f"{len(reasons)} host{'s' if len(reasons) > 1 else ''} known: {named}{more}"
