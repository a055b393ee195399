"""Log lines of both daemons hold no values of variables: a password may be among them."""

import sys
from collections.abc import Callable

import pytest
import structlog
from tesserabench.agent import logs as agent_logs
from tesserabench.collector import log as collector_log


@pytest.mark.parametrize("configure", [collector_log.configure, agent_logs.configure])
@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_shows_no_variables(
    capsys: pytest.CaptureFixture[str], configure: Callable[[str], None], form: str
) -> None:
    before = structlog.get_config()
    try:
        configure(form)
        _fail(b"guarded-".hex())
    finally:
        structlog.configure(**before)
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said
    assert b"guarded-".hex() not in said


def _fail(secret: str) -> None:
    try:
        len(secret) / 0
    except ZeroDivisionError:
        structlog.get_logger(sys.argv[0]).exception("it.broke")
