"""Telling systemd how the service does: READY, STATUS, WATCHDOG, STOPPING (sd_notify(3)). Silent without systemd."""

import asyncio
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends states to the socket that systemd names in the environment."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # An at sign stands for the null byte of an abstract socket.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        own = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watchdog_usec = int(environment.get("WATCHDOG_USEC") or 0) if own else 0

    def ready(self) -> None:
        """The agent is up."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The agent goes down."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    async def run(self) -> None:
        """Feed the watchdog at half its period, for as long as the event loop turns."""
        if not self._address or not self._watchdog_usec:
            return
        while True:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_usec / 2e6)

    def _send(self, state: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            try:
                channel.sendto(state.encode(), self._address)
            except OSError:
                # systemd is gone or deaf; the agent's work does not depend on it.
                return
