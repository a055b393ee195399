"""What would become of a run: which hosts match its spec, and why the others do not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.rules import Rule
from tesserabench.collector.core import eligibility, selectors, suites
from tesserabench.collector.core.spec import RunSpec
from tesserabench.collector.errors import invalid_field
from tesserabench.collector.store import hosts as host_store
from tesserabench.collector.store.tables import Host
from tesserabench.wire.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would become of a run: the settled spec, the hosts that match with their device, and why others do not."""

    spec: RunSpec
    matching: Mapping[str, str]
    others: tuple[tuple[str, str], ...]
    unknown_keys: tuple[str, ...]

    def sentence(self) -> str:
        """What a person should know before or while the run waits; empty when enough hosts match."""
        keys = f"no host knows the condition {', '.join(self.unknown_keys)}; " if self.unknown_keys else ""
        if not self.matching:
            return f"{keys}no host matches yet: {eligibility.explain_absence(self.others)}"
        if len(self.matching) < self.spec.selector.count:
            wanted = self.spec.selector.count
            return f"{keys}{wanted} hosts are wanted and {len(self.matching)} match: {', '.join(self.matching)}"
        return keys


async def plan(session: AsyncSession, spec: RunSpec, rule: Rule | None = None) -> Plan:
    """Check a spec and say which hosts it would run on; creates nothing.

    Args:
        session: The transaction.
        spec: What is to be measured.
        rule: What the policy says of the run; a spec that names no hosts is narrowed to those that it allows.

    Raises:
        InvalidArgumentError: something in the spec is wrong; names field, value and remedy.
    """
    spec.validate()
    hosts = await host_store.all_hosts(session)
    suites.check_spec(spec, suites.catalogue(hosts))
    settled = spec.settled(seed=0)
    return match(settled if rule is None else allowed(settled, rule, [host.name for host in hosts]), hosts)


def allowed(spec: RunSpec, rule: Rule, hosts: Sequence[str]) -> RunSpec:
    """The spec with the hosts that the policy allows, of those that there are.

    Raises:
        InvalidArgumentError: it names one that is not allowed, or there is none that is.
    """
    if not rule.hosts:
        return spec
    patterns, origin = ", ".join(rule.hosts), rule.origin("hosts").rule
    strange = [host for host in spec.selector.hosts if not rule.allows_host(host)]
    if strange:
        remedy = f"rule {origin!r} of the policy allows {patterns}; choose among them, or change the policy"
        raise invalid_field("spec.selector.hosts", strange[0], remedy, reason=Reason.HOST_NOT_ALLOWED)
    if spec.selector.hosts:
        return spec
    names = tuple(sorted(host for host in hosts if rule.allows_host(host)))
    if not names:
        remedy = f"rule {origin!r} of the policy allows {patterns}, and no host of the fleet is one of them"
        raise invalid_field("spec.selector.hosts", [], remedy, reason=Reason.HOST_NOT_ALLOWED)
    return replace(spec, selector=replace(spec.selector, hosts=names))


def match(spec: RunSpec, hosts: Iterable[Host]) -> Plan:
    """Which of these hosts a spec would run on, whatever they do now."""
    wanted = eligibility.Wanted.by(spec)
    matching: dict[str, str] = {}
    others: list[tuple[str, str]] = []
    known = list(hosts)
    for host in known:
        can = eligibility.capability(host.name, host.inventory, host.attributes)
        reasons = eligibility.why_not(wanted, can) or (["is cordoned"] if host.cordoned else [])
        if reasons:
            others.append((host.name, ", ".join(reasons)))
        else:
            matching[host.name] = eligibility.device_for(wanted, can) or ""
    missing = selectors.unknown_keys(wanted.conditions, (host.attributes for host in known)) if known else []
    return Plan(spec=spec, matching=matching, others=tuple(others), unknown_keys=tuple(missing))
