"""Statistics in a process of their own: a thread that computes raises the latency of every call tenfold."""

import asyncio
import atexit
import functools
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import ForkServerContext
from typing import Any, ParamSpec, TypeVar

import structlog

_P = ParamSpec("_P")
_T = TypeVar("_T")

_IMPORTED_ONCE = [
    "scipy.special",
    "tesserabench.collector.core.judging",
    "tesserabench.collector.core.policy_trials",
    "tesserabench.collector.core.series_watch",
    "tesserabench.collector.core.finding_causes",
]

_log = structlog.get_logger(__name__)


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end with it however it ends: a killed parent closes no queues."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def analysis_processes(processors: int) -> int:
    """How many processes compute on a machine with so many processors: the event loop and PostgreSQL need some too."""
    return max(1, min(4, processors // 2))


class AnalysisPool:
    """Processes that compute; started with the first task, and again when they die."""

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None

    async def __call__(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """The value of a module's function for values that can be pickled.

        Raises:
            BrokenProcessPool: the process died over it twice.
        """
        task = functools.partial(function, *args, **kwargs)
        executor = self._processes()
        try:
            return await _carried_out(executor, task)
        except BrokenProcessPool:
            _log.warning("analysis.worker_died", function=function.__name__)
            if self._executor is executor:
                # Not the one that another task has started meanwhile.
                self._executor = None
            return await _carried_out(self._processes(), task)

    def _processes(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(self._workers, mp_context=_forked(), initializer=_follow_parent)
        return self._executor

    async def close(self) -> None:
        """End the processes once what they compute is done."""
        executor, self._executor = self._executor, None
        if executor is not None:
            await asyncio.to_thread(executor.shutdown, wait=True, cancel_futures=True)


@functools.cache
def _forked() -> ForkServerContext:
    # gRPC does not survive a fork of this process. Another one is forked, which has imported everything: a worker
    # starts in no time, and all of them share what it holds.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED_ONCE)
    atexit.register(_end_forked)
    return context


def _end_forked() -> None:
    # It would end by itself, but after this process: whoever waits for this one would still find the other. The pools
    # have been waited for by now. The library has no public call for it.
    server: Any = multiprocessing.forkserver._forkserver  # noqa: SLF001
    server._stop()  # noqa: SLF001


async def _carried_out(executor: ProcessPoolExecutor, task: Callable[[], _T]) -> _T:
    # Handing over starts a worker when all are busy, and waits for the imports of the process that is forked.
    return await asyncio.wrap_future(await asyncio.to_thread(executor.submit, task))
