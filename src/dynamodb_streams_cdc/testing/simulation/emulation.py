"""Emulation while a function runs: the end of its process, its time, its threads.

`time.sleep` and asyncio take virtual time, `time.time` and its like tell it, and `os._exit` ends
the function alone. Code that runs outside of a function, in another thread of the tests say, sees
the originals.
"""

import asyncio
import contextlib
import functools
import gc
import heapq
import os
import signal
import sys
import threading
import time
import weakref
from asyncio import BaseEventLoop
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, NoReturn

from dynamodb_streams_cdc.testing.simulation.process import (
    Invocation,
    ProcessKilled,
    Strand,
    current_invocation,
    this_thread,
)


def run(invocation: Invocation, function: Callable[[], Any]) -> Any:
    """Return the response of a function, as Lambda would get it.

    Raises:
        ProcessKilled: its process is gone: it crashed, exited, or came to its timeout.
    """
    token = current_invocation.set(invocation)
    strand, this_thread.strand = this_thread.strand, None
    answer = None
    try:
        try:
            with _emulated():
                answer = function()
        except SystemExit as exit_:
            invocation.died = invocation.died or ProcessKilled(_exit_reason(exit_.code))
        except (asyncio.CancelledError, GeneratorExit) as error:
            # The runtime of Lambda catches `Exception`: anything else ends the process.
            invocation.died = invocation.died or ProcessKilled(f"{_exit_reason(1)} ({error!r})")
        except ProcessKilled as killed:
            invocation.died = invocation.died or ProcessKilled(*killed.args)
        except Exception:
            invocation.finish()
            raise
        if invocation.died is not None:
            # What the process held is gone with it, such as a connection and the locks of it. One
            # of sqlite3 refers to itself, so it takes a collection, of what is young.
            gc.collect(1)
        invocation.finish()
        return answer
    finally:
        current_invocation.reset(token)
        this_thread.strand = strand


def _exit_reason(code: object) -> str:
    """Return Lambda's words for a process that ended by itself."""
    if code is None or code == 0:
        return "Runtime.ExitError: Runtime exited without providing a reason"
    status = code if isinstance(code, int) else 1
    return f"Runtime.ExitError: Runtime exited with error: exit status {status}"


# Replacements while a function runs

_REAL_TIME = frozenset(
    {
        "_pytest",
        "asyncio",
        "concurrent",
        "http",
        "multiprocessing",
        "queue",
        "selectors",
        "socket",
        "ssl",
        "subprocess",
        "threading",
        "urllib3",
    }
)
"""Packages that wait for the machine, by its time."""

_lock = threading.RLock()
_depth = 0
_originals: list[tuple[Any, str, Any]] = []
_sleep = time.sleep
_loop_time = BaseEventLoop.time
_run_loop_once = BaseEventLoop._run_once  # type: ignore[attr-defined]
_monotonic = time.monotonic
_start = threading.Thread.start
_join = threading.Thread.join
_submit = ThreadPoolExecutor.submit
_result = Future.result
_real_exit, _real_abort, _real_kill = os._exit, os.abort, os.kill


@contextlib.contextmanager
def _emulated() -> Iterator[None]:
    """Put the emulations in place, and the originals back once no function runs."""
    global _depth
    with _lock:
        _depth += 1
        if _depth == 1:
            _install()
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                while _originals:
                    owner, name, original = _originals.pop()
                    setattr(owner, name, original)


def _install() -> None:
    for owner, name, replacement in _replacements():
        _originals.append((owner, name, getattr(owner, name)))
        setattr(owner, name, replacement)


@functools.cache
def _replacements() -> list[tuple[Any, str, Any]]:
    return [
        (time, "sleep", _virtual_sleep),
        (BaseEventLoop, "time", _virtual_loop_time),
        (BaseEventLoop, "_run_once", _run_virtual_loop_once),
        (os, "_exit", _exit),
        (os, "abort", _abort),
        (os, "kill", _kill),
        (threading.Thread, "start", _start_thread),
        (threading.Thread, "join", _join_thread),
        (ThreadPoolExecutor, "submit", _submit_work),
        (Future, "result", _result_of),
        *(
            (time, name, _telling(getattr(time, name), per_second))
            for name, per_second in [
                ("time", None),
                ("monotonic", None),
                ("perf_counter", None),
                ("time_ns", 10**9),
                ("monotonic_ns", 10**9),
                ("perf_counter_ns", 10**9),
            ]
        ),
    ]


def _virtual(frames: int = 2) -> Invocation | None:
    """Return the invocation whose time is asked for, unless the machine's is wanted."""
    invocation = current_invocation.get()
    if invocation is None or not invocation.virtual:
        return None
    caller = sys._getframe(frames).f_globals.get("__name__", "")
    return None if caller.partition(".")[0] in _REAL_TIME else invocation


def _telling(original: Callable[[], Any], per_second: int | None) -> Callable[[], Any]:
    def tell() -> Any:
        invocation = _virtual()
        if invocation is None:
            return original()
        now = invocation.read_time()
        return now if per_second is None else int(now * per_second)

    return tell


def _virtual_sleep(seconds: float, /) -> None:
    invocation = _virtual()
    if invocation is None:
        _sleep(seconds)
    else:
        invocation.sleep(seconds)


def _virtual_loop_time(loop: BaseEventLoop) -> float:
    invocation = current_invocation.get()
    if invocation is None or not invocation.virtual:
        return _loop_time(loop)
    return invocation.now()


def _run_virtual_loop_once(loop: Any) -> None:
    """Go on with the tasks of an event loop: come to the next timer if nothing else can happen.

    Threads and connections may make something happen: they have the machine's time for it.
    """
    invocation = current_invocation.get()
    due = [timer.when() for timer in loop._scheduled if not timer.cancelled()]
    if invocation is None or not invocation.virtual or loop._ready or not due:
        _run_loop_once(loop)
        return
    loop._clock_resolution = max(loop._clock_resolution, 1e-6)  # what a float of now can tell
    wait = min(due) - invocation.now()
    if invocation.working or len(loop._selector.get_map()) > 1:
        began = _monotonic()
        _run_loop_once(loop)
        if loop._ready or _monotonic() - began < wait:
            return
    invocation.come_to(min(due))
    _run_loop_once(loop)


def _exit(status: int) -> NoReturn:
    invocation = current_invocation.get()
    if invocation is None:
        _real_exit(status)
    invocation.die(_exit_reason(status))


def _abort() -> NoReturn:
    invocation = current_invocation.get()
    if invocation is None:
        _real_abort()
    invocation.die("Runtime.ExitError: Runtime exited with error: signal: aborted")


def _kill(pid: int, number: int, /) -> None:
    invocation = current_invocation.get()
    if invocation is None or pid != os.getpid() or number == 0:
        _real_kill(pid, number)
    else:
        name = (signal.strsignal(number) or str(number)).lower()
        invocation.die(f"Runtime.ExitError: Runtime exited with error: signal: {name}")


def _start_thread(thread: threading.Thread) -> None:
    """Start a thread as one of the function's, unless it is a pool's: that has many masters."""
    invocation = current_invocation.get()
    if invocation is not None and not _belongs_to_a_pool(thread):
        context, inner, strand = copy_context(), thread.run, Strand(invocation.now())

        def work() -> None:
            this_thread.strand = strand
            inner()

        def live() -> None:
            with contextlib.suppress(ProcessKilled):  # a process that is gone reports no error
                context.run(work)

        thread.run = live  # type: ignore[method-assign]
        _strands[thread] = strand
    _start(thread)


def _belongs_to_a_pool(thread: threading.Thread) -> bool:
    target = getattr(thread, "_target", None)
    return getattr(target, "__module__", "") == "concurrent.futures.thread"


def _submit_work(
    pool: Executor, function: Callable[..., Any], /, *args: Any, **options: Any
) -> Any:
    invocation = current_invocation.get()
    if invocation is None:
        return _submit(pool, function, *args, **options)
    context, strand = copy_context(), Strand(invocation.now())
    workers: int = getattr(pool, "_max_workers", 1)
    with _lock:
        free = invocation.workers.setdefault(id(pool), [strand.now] * workers)

    def work() -> Any:
        # What is done in virtual time is done at once: whichever thread takes it, in the lab it is
        # the worker that is free first.
        with _lock:
            strand.now = max(strand.now, heapq.heappop(free))
        this_thread.strand = strand
        try:
            return function(*args, **options)
        finally:
            this_thread.strand = None
            with _lock:
                heapq.heappush(free, strand.now)

    future = _submit(pool, context.run, work)
    _strands[future] = strand
    invocation.working.add(future)
    future.add_done_callback(invocation.working.discard)
    return future


_strands: "weakref.WeakKeyDictionary[Any, Strand]" = weakref.WeakKeyDictionary()
"""The time of a thread, or of what was handed to a pool: who waits for it comes to that time."""


def _result_of(future: "Future[Any]", timeout: float | None = None) -> Any:
    try:
        return _result(future, timeout)
    finally:
        if future.done():
            _come_to_the_time_of(future)


def _join_thread(thread: threading.Thread, timeout: float | None = None) -> None:
    _join(thread, timeout)
    if not thread.is_alive():
        _come_to_the_time_of(thread)


def _come_to_the_time_of(work: Any) -> None:
    invocation, strand = current_invocation.get(), _strands.get(work)
    if invocation is not None and strand is not None:
        invocation.wait_until(strand.now)
