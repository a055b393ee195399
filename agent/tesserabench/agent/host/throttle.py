"""From cumulative counters to what limited the clocks: pure (docs/guide tells how to read the classes).

Fractions of the time with a threshold, never the momentary mask and never "any non-zero": every loaded GPU trips those.
"""

from collections.abc import Mapping

from tesserabench.v1 import measurement_pb2 as pb

SW_POWER_CAP = "sw_power_cap"
SW_THERMAL = "sw_thermal"
HW_THERMAL = "hw_thermal"
HW_POWER_BRAKE = "hw_power_brake"
HW_SLOWDOWN = "hw_slowdown"
SYNC_BOOST = "sync_boost"

_NOTICEABLE = 0.01
_BRAKE = 0.001


def fractions(before: Mapping[str, int], after: Mapping[str, int], elapsed_ns: int) -> Mapping[str, float] | None:
    """The share of the elapsed time under each limit, 0 to 1, by reason.

    Reasons that only one of the readings has are left out. None when a counter went back, which means that the driver
    was loaded anew, or when no time has passed: then nothing is known.
    """
    if elapsed_ns <= 0:
        return None
    shares: dict[str, float] = {}
    for reason in before.keys() & after.keys():
        spent = after[reason] - before[reason]
        if spent < 0:
            return None
        # Counters and clock are read a moment apart, so that the ratio may exceed 1 by a hair.
        shares[reason] = min(1.0, spent / elapsed_ns)
    return shares


def classify(shares: Mapping[str, float], *, locked: bool = False) -> pb.ThrottleClass.ValueType:
    """The class of a trial from the shares of its time; the worst reason wins. Without any share nothing is known."""
    if not shares:
        return pb.THROTTLE_CLASS_LOCKED if locked else pb.THROTTLE_CLASS_UNSPECIFIED
    if max(shares.get(HW_POWER_BRAKE, 0.0), shares.get(HW_SLOWDOWN, 0.0)) >= _BRAKE:
        return pb.THROTTLE_CLASS_BRAKE
    if max(shares.get(SW_THERMAL, 0.0), shares.get(HW_THERMAL, 0.0)) >= _NOTICEABLE:
        return pb.THROTTLE_CLASS_THERMAL
    if shares.get(SW_POWER_CAP, 0.0) >= _NOTICEABLE:
        return pb.THROTTLE_CLASS_POWER_LIMITED
    return pb.THROTTLE_CLASS_LOCKED if locked else pb.THROTTLE_CLASS_CLEAN
