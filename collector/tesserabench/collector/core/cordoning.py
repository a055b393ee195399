"""Hosts that a policy has taken out of use because a device of theirs lags behind its siblings."""

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.attribution.siblings import DeviceStanding
from tesserabench.analysis.rules import Cordon
from tesserabench.analysis.wording import percent
from tesserabench.collector.core import hosts
from tesserabench.collector.core.actors import COLLECTOR
from tesserabench.collector.store import device_findings as store
from tesserabench.collector.store import hosts as host_store
from tesserabench.collector.store.tables import Regression

MOST_CORDONED = 0.1
"""Share of the fleet beyond which no host is cordoned by itself: then it is the comparison that is suspect. One host
may always be, in a fleet of four and more."""

_SMALLEST_FLEET = 4

_log = structlog.get_logger(__name__)


async def cordon_slow(session: AsyncSession, worst: DeviceStanding, cordon: Cordon | None, finding: Regression) -> bool:
    """Take a host out of use when a policy asks for it and the share of the fleet allows it."""
    if cordon is None or worst.deviation < cordon.slower_than:
        return False
    last = worst.recent[-cordon.runs :]
    if len(last) < cordon.runs or min(last) < cordon.slower_than / 2:
        return False
    host = await host_store.find(session, worst.host, lock=True)
    if host is None or host.cordoned:
        return False
    out, everybody = await store.cordoned_and_all(session)
    if not may_cordon(out=out, everybody=everybody):
        _log.warning("host.not_cordoned", host=worst.host, device=worst.device, cordoned=out, hosts=everybody)
        return False
    reason = f"{percent(worst.deviation)} slower than its siblings: device {worst.device}, regressions/{finding.id}"
    await hosts.cordon(session, worst.host, cordoned=True, reason=reason, actor=COLLECTOR)
    return True


def may_cordon(*, out: int, everybody: int) -> bool:
    """Whether one host more may be taken out of use without a person."""
    return everybody >= _SMALLEST_FLEET and out + 1 <= max(1, int(everybody * MOST_CORDONED))
