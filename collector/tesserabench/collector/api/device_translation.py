"""Standings of devices and noise of series as messages."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from tesserabench.analysis.attribution.noise_shares import NoiseShares
from tesserabench.analysis.attribution.siblings import DeviceStanding
from tesserabench.collector.api.enums import number
from tesserabench.collector.api.translation import timestamp
from tesserabench.collector.core.noise_ranking import NoisySeries
from tesserabench.collector.store.tables import Regression
from tesserabench.v1 import host_service_pb2 as pb
from tesserabench.wire.names import host_name, regression_name


def device_comparison(
    one: DeviceStanding,
    *,
    cordoned: Collection[str],
    findings: Mapping[str, Regression],
    indices: Mapping[str, int],
) -> pb.DeviceComparison:
    """A device in one class of tests."""
    finding = findings.get(one.device)
    return pb.DeviceComparison(
        host=host_name(one.host),
        device=one.device,
        device_model=one.model,
        test_class=one.test_class,
        standing=number(pb.DeviceStanding, one.standing),
        reason=one.reason,
        deviation=one.deviation,
        z=one.z,
        smallest_visible=one.smallest_visible,
        series_count=one.series,
        run_count=one.runs,
        sibling_count=one.siblings,
        drift=one.drift,
        drifting=one.drifting,
        recent=one.recent,
        last_time=timestamp(datetime.fromtimestamp(one.last_at, UTC)),
        cordoned=one.host in cordoned,
        regression=regression_name(finding.id) if finding is not None else "",
        device_index=indices.get(one.device),
    )


def noise_entry(noisy: NoisySeries, shares: NoiseShares) -> pb.NoiseEntry:
    """A series with its noise."""
    row = noisy.series
    return pb.NoiseEntry(
        project=noisy.project,
        suite=row.suite,
        benchmark=row.benchmark,
        case_id=row.case_id,
        mode=row.mode,
        metric=row.metric,
        device_model=row.device_key,
        hosts=[host_name(host) for host in noisy.hosts],
        run_count=shares.runs,
        launch_count=shares.launches,
        relative_deviation=shares.relative_deviation,
        within_run_share=shares.within_run,
        between_run_share=shares.between_runs,
        between_device_share=shares.between_devices,
        detectable_change=shares.detectable,
        launches_a_side=shares.launches_a_side,
        spent_seconds=noisy.spent_seconds,
        false_alarm_rate=noisy.false_alarm_rate,
    )
