"""A webhook receiver that keeps what Alertmanager sends it, for tests of the alarm chain."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedAlert:
    """One alert of one notification.

    `received_at` is `time.monotonic()` in seconds; `receiver` is the name of Alertmanager's receiver.
    """

    status: str
    receiver: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    received_at: float

    @property
    def name(self) -> str:
        """The rule that made it."""
        return self.labels["alertname"]


class WebhookReceiver:
    """An HTTP server on loopback that accepts JSON on any path and understands Alertmanager's version 4 payload."""

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self._alerts: list[ReceivedAlert] = []
        self._payloads: list[Mapping[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._serve, name="webhook-receiver", daemon=True)

    @property
    def url(self) -> str:
        """Where Alertmanager must post."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/alerts"

    @property
    def alerts(self) -> list[ReceivedAlert]:
        """Everything received so far, oldest first."""
        with self._arrived:
            return list(self._alerts)

    @property
    def payloads(self) -> list[Mapping[str, Any]]:
        """Every JSON body received so far, oldest first, in whatever format it came."""
        with self._arrived:
            return list(self._payloads)

    def start(self) -> None:
        """Begin to accept notifications."""
        self._thread.start()

    def stop(self) -> None:
        """End the server and its thread; harmless when called again."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(timeout=5)
        self._server.server_close()

    def wait_for(
        self, predicate: Callable[[ReceivedAlert], bool], seconds: float, *, after: float = 0.0
    ) -> ReceivedAlert:
        """Return the first alert that satisfies `predicate` and came after `after` (`time.monotonic()`).

        Raises:
            AssertionError: none came within `seconds`; the message lists what did come.
        """
        deadline = time.monotonic() + seconds
        with self._arrived:
            while True:
                for alert in self._alerts:
                    if alert.received_at >= after and predicate(alert):
                        return alert
                if (left := deadline - time.monotonic()) <= 0:
                    seen = [(alert.status, dict(alert.labels)) for alert in self._alerts]
                    message = f"waited {seconds} s for an alert; received: {seen}"
                    raise AssertionError(message)
                self._arrived.wait(left)

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def _keep(self, payload: Mapping[str, Any]) -> None:
        now = time.monotonic()
        with self._arrived:
            self._payloads.append(payload)
            self._alerts += [
                ReceivedAlert(
                    status=alert["status"],
                    receiver=payload["receiver"],
                    labels=alert["labels"],
                    annotations=alert["annotations"],
                    received_at=now,
                )
                for alert in payload.get("alerts", ())
            ]
            self._arrived.notify_all()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        keep = self._keep

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                keep(json.loads(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                """Stay silent: pytest shows what failed."""

        return Handler
