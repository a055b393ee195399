"""The detector's score as messages."""

from tesserabench.collector.api.enums import number
from tesserabench.collector.api.translation import duration, timestamp
from tesserabench.collector.core.detector_score import GroupScore, Score
from tesserabench.collector.core.false_alarms import FalseAlarmRate
from tesserabench.v1 import false_alarms_pb2
from tesserabench.v1 import regression_service_pb2 as pb


def score_message(score: Score) -> pb.DetectorScore:
    """How right the detector has been."""
    return pb.DetectorScore(
        rows=map(_row, score.groups),
        false_alarm_rates=map(rate_message, score.false_alarm_rates),
        remark=score.remark,
    )


def rate_message(rate: FalseAlarmRate) -> false_alarms_pb2.FalseAlarmRate:
    """What the gate said of identical code on one class of hosts."""
    return false_alarms_pb2.FalseAlarmRate(
        host_class=rate.host_class,
        comparisons=rate.comparisons,
        false_alarms=rate.false_alarms,
        inconclusive=rate.inconclusive,
        rate=rate.rate,
        rate_low=rate.low,
        rate_high=rate.high,
        limit_factor=rate.limit_factor,
        last_time=timestamp(rate.last_at),
    )


def _row(score: GroupScore) -> pb.DetectorScoreRow:
    message = pb.DetectorScoreRow(
        policy=score.group.policy,
        host_class=score.group.host_class,
        kind=number(pb.FindingKind, score.group.kind),
        findings=score.findings,
        right=score.right,
        wrong=score.wrong,
        precision=score.precision,
        outcomes=score.outcomes,
        untriaged=score.untriaged,
    )
    interval = score.precision_interval
    if interval is not None:
        message.precision_low, message.precision_high = interval
    if score.seconds_to_triage is not None:
        message.median_time_to_triage.CopyFrom(duration(score.seconds_to_triage))
    return message
