"""Telling systemd how we are, when it started us: readiness, watchdog, end. Without systemd nothing happens."""

import asyncio
import os
import socket


def notify(*lines: str) -> None:
    """Send lines such as `READY=1` to the service manager, if there is one."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto("\n".join(lines).encode(), address)
        except OSError:
            # The manager is gone or restarting; the work is more important than the notice.
            return


async def watchdog() -> None:
    """Show signs of life at half the interval that systemd waits for. Runs until cancelled.

    Stands in the event loop, so that a loop that is held up for good is noticed.
    """
    interval_us = os.environ.get("WATCHDOG_USEC", "")
    mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not (interval_us.isdigit() and int(interval_us) and mine):
        await asyncio.Event().wait()
        return
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(int(interval_us) / 2_000_000)
