"""Throttling as the device itself counts it: how much of the measured time, why, and whether a pause may help.

Shares of the measured time decide, never the mere fact: any loaded device is limited for a moment now and then.
"""

from dataclasses import dataclass

from tesserabench.bench.device.protocol import DeviceState
from tesserabench.bench.timing.sampling import COOL_DOWN_SECONDS, Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttling:
    """What limited the device while samples were taken."""

    reason: str = ""
    """Why the numbers are void, in a sentence, or nothing."""
    thermal: bool = False
    """Whether a pause may help."""
    power_limited: bool = False
    retried: bool = False
    """Whether this was the second try."""


def judge(before: DeviceState, after: DeviceState, elapsed_seconds: float, limit: float) -> Throttling:
    """Return what the counter says; a device without one throttles as far as anybody knows never."""
    if before.throttled_ns is None or after.throttled_ns is None or elapsed_seconds <= 0:
        return Throttling()
    fraction = (after.throttled_ns - before.throttled_ns) / 1e9 / elapsed_seconds
    if fraction <= limit:
        return Throttling()
    why = after.throttle_reason or "unknown"
    if "power" in why:
        # A power cap is how such a device works; its numbers hold for that regime.
        return Throttling(power_limited=True)
    return Throttling(
        reason=(
            f"the device was throttled for {fraction:.1%} of the measured time (limit {limit:.1%}, reason: {why}); "
            "let it cool down or check its power and cooling"
        ),
        thermal="thermal" in why,
    )


def cool_down(setup: Setup, before: DeviceState | None) -> None:
    """Pause, longer each time, until the device is as cool as before it was measured, or the pauses end."""
    wanted = None if before is None else before.temperature_celsius
    for seconds in COOL_DOWN_SECONDS:
        setup.keep_going()
        setup.pause(seconds)
        now = setup.device.state().temperature_celsius
        if wanted is not None and now is not None and now <= wanted:
            return
