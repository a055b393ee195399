"""What is measured on a device known to be slow is no verdict on the code: it is inconclusive, not regressed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.compare import Comparison, Entry, rejudged
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.results import ResultSet
from tesserabench.analysis.wording import percent
from tesserabench.analysis.words import Reason, Verdict
from tesserabench.collector.core import siblings
from tesserabench.collector.store.tables import Run
from tesserabench.collector.store.tracks import device_id
from tesserabench.wire.names import regression_name

_FAR_BEYOND = 2.0
"""What is worse by so many times the device's own slowness is not the device's doing alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowDevice:
    """A device with an open finding."""

    device: str
    finding: str
    slower_by: float
    """As a fraction."""
    since: datetime


SlowPlaces = Mapping[str, SlowDevice]
"""By place, as launches name it: `host/uuid`."""


async def read(
    session: AsyncSession, head: ResultSet, base: ResultSet | None, base_run: Run | None, *, before: datetime | None
) -> SlowPlaces:
    """The places of a run whose device is known to be slow, unless the base was measured there and as slow.

    Args:
        session: The transaction.
        head: What the run measured.
        base: What the run that it is compared with measured; none without one.
        base_run: That run.
        before: Only findings that were opened before then, which are those that the first look knew; none for all.
    """
    places = _places(head)
    old_places = _places(base) if base is not None else set()
    devices = {place: device_id(*place.partition("/")[::2]) for place in places}
    known = await siblings.known_slow(session, set(devices.values()))
    found = {}
    for place, device in devices.items():
        row = known.get(device)
        if row is None or row.change is None or (before is not None and row.created_at > before):
            continue
        if base_run is not None and place in old_places and base_run.created_at > row.created_at:
            continue
        found[place] = SlowDevice(
            device=device, finding=regression_name(row.id), slower_by=row.change, since=row.created_at
        )
    return found


def _places(results: ResultSet) -> set[str]:
    return {launch.place for series in results.series for launch in series.side.launches}


def excuse(comparison: Comparison, slow: SlowPlaces) -> Comparison:
    """The comparison with what only slow devices show as worse made inconclusive."""
    if not slow:
        return comparison
    excused = {
        entry.series.key: _excused(entry.judgement, found)
        for entry in comparison.entries
        if (found := _culprit(entry, slow)) is not None
    }
    return rejudged(comparison, excused) if excused else comparison


def _culprit(entry: Entry, slow: SlowPlaces) -> SlowDevice | None:
    """The slow device that accounts for an entry; none when it was measured elsewhere too, or is far worse."""
    judgement = entry.judgement
    if judgement.verdict is not Verdict.REGRESSED or judgement.worsening is None:
        return None
    places = {launch.place for launch in entry.series.side.launches}
    if not places or not places <= slow.keys():
        return None
    worst = max((slow[place] for place in places), key=lambda device: device.slower_by)
    enough = _FAR_BEYOND * worst.slower_by + judgement.minimum_effect
    return worst if judgement.worsening <= enough else None


def _excused(judgement: Judgement, device: SlowDevice) -> Judgement:
    slower = percent(device.slower_by).lstrip("+")
    return replace(
        judgement,
        verdict=Verdict.INCONCLUSIVE,
        reason=Reason.ENVIRONMENT_MISMATCH,
        severity=None,
        launches_to_settle=None,
        points_at_host=True,
        explanation=(
            f"{judgement.explanation} But it was measured on {device.device} alone, which is known to be {slower} "
            f"slower than its siblings ({device.finding})."
        ),
        recommendation="Measure it on another host; tbctl node compare shows which devices are like their siblings.",
    )
