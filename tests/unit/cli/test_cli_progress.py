"""Lines of progress where there is no terminal."""

import io

from support.contract_values import a_run
from tesserabench.cli.errors import CallError
from tesserabench.cli.progress import PlainProgress, describe


def test_lines_come_with_a_new_state_and_then_now_and_then() -> None:
    now, stream = [0.0], io.StringIO()
    progress = PlainProgress(stream=stream, clock=lambda: now[0])
    progress.seen(a_run(state="queued", reason="no host is free"))
    for second in range(1, 26):
        now[0] = float(second)
        progress.seen(a_run(state="running"))
        progress.tick()
    running = "running, 1/2 cases, gemm/matmul[m=512,n=512,k=512,dtype=float32] (measure)"
    assert stream.getvalue().splitlines() == [
        "[0s] run 42: queued, 1/2 cases, no host is free",
        f"[1s] run 42: {running}",
        f"[11s] run 42: {running}",
        f"[21s] run 42: {running}",
    ]


def test_lost_connection_is_told_instead_of_an_old_state() -> None:
    now, stream = [0.0], io.StringIO()
    progress = PlainProgress(stream=stream, clock=lambda: now[0])
    progress.seen(a_run(state="running"))
    progress.lost(CallError("gone", status="UNAVAILABLE"))
    now[0] = 12.0
    progress.tick()
    progress.found()
    assert stream.getvalue().splitlines()[1:] == [
        "[0s] run 42: connection lost, trying again: gone",
        "[12s] run 42: no connection for 12s, trying again",
        "[12s] run 42: connected again",
    ]


def test_description_cannot_steer_a_terminal() -> None:
    run = a_run(state="running")
    run.progress.current_case = "a\x1b[2J"
    assert "\x1b" not in describe(run)
