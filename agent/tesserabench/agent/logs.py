"""How log lines look: for people on a terminal, or JSON for a log store. Always on stderr."""

import logging
import sys
from typing import Literal

import structlog

_MASKED = ("token", "authorization", "password", "secret", "key_file")


def configure(log_format: Literal["console", "json"]) -> None:
    """Set structlog up for this process."""
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _mask,
        _drop_absent,
    ]
    if log_format == "json":
        renderers: list[structlog.typing.Processor] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    else:
        # Plain tracebacks: prettier ones show the values of variables, and with them tokens.
        plain = structlog.dev.plain_traceback
        renderers = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )


def _mask(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Hide what may be a secret, whoever logs it."""
    return {name: "(hidden)" if name.lower() in _MASKED else value for name, value in event.items()}


def _drop_absent(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {name: value for name, value in event.items() if value is not None}
