"""Injects faults while a demo runs, and reports their observed effects.

Worker processes of the functions and the poller are killed with SIGKILL at work, functions are
throttled, OpenSearch is stopped for twenty seconds, and the poller loses responses and checkpoints,
so that records come twice (`local.deployed.poller_process`). The seed decides which faults are
injected in which order and where; the machine decides what is under way at that moment.

The report counts effects in the trace of the poller: a worker that was killed while idle does not
count, nor does a throttle that no invocation met.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from random import Random
from typing import TYPE_CHECKING

from local.deployed.deployment import session
from local.deployed.poller_process import TRACE
from local.deployed.trace import TraceReader
from local.scenarios import chaos_report
from local.scenarios.chaos_report import InjectedFaults, Observed
from local.scenarios.probes import TolerantProbe
from local.waiting import wait_until
from local.workload.traffic import WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from local.console import DemoConsole
    from local.deployed.pipeline import Pipeline
    from local.scenarios.probes import Probe

OUTAGE_SECONDS = 20.0
FIRST_WAVE_SECONDS = 18.0
_WRITES_PER_STORY = 2.0
LOST_RESPONSES = 0.08
REWIND_EVERY_SECONDS = 6.0
_BEGINS_AFTER = (0.2, 1.2)  # seconds from the first write until OpenSearch stops
_BETWEEN = (0.2, 1.4)  # seconds between two faults
_PATIENCE = 4.0  # seconds that a fault waits for an invocation to hit
_ATTEMPTS = 3
_THROTTLE_SECONDS = 4.0
_DEATH_SECONDS = 0.6  # until the emulator has noticed
_POLL_SECONDS = 0.02

FIRST_WAVE = ("worker",) * 7 + ("throttle",) * 4 + ("poller",) * 3
SECOND_WAVE = ("worker", "throttle", "poller", "worker")


def poller_faults(seed: int) -> list[str]:
    """Return options of `local.deployed.poller_process`: how much the poller loses."""
    return [
        *("--lose", str(LOST_RESPONSES)),
        *("--rewind-every", str(REWIND_EVERY_SECONDS)),
        *("--seed", str(seed)),
    ]


class NoFaults:
    """Fault injection of a demo without faults."""

    pace = "at full speed"

    def __enter__(self) -> NoFaults:
        return self

    def start(self, *_: object) -> None:
        """Do nothing."""

    second_wave = wait = __exit__ = start

    def pause(self, stories: int) -> float:
        """Return 0: the writers do not rest."""
        return 0.0

    def tolerant(self, probes: Mapping[str, Probe]) -> Mapping[str, Probe]:
        """Return the probes: a sink that does not answer is an error."""
        return probes

    def report(self) -> list[str]:
        """Return no problems."""
        return []


class FaultInjection:
    """Injects faults into a pipeline from threads; leaving the context manager ends them."""

    pace = "while faults are injected"

    def __init__(self, pipeline: Pipeline, console: DemoConsole, seed: int) -> None:
        self._poller = pipeline.poller
        self._emulator = pipeline.aws.pid
        self._node = pipeline.node
        self._console = console
        self._random = Random(f"{seed}/chaos")
        self._client = session(pipeline.aws.url).client("lambda")
        self._functions = pipeline.functions
        self._trace = TraceReader(self._poller.folder / TRACE)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._error: BaseException | None = None
        self._injected = InjectedFaults()

    def __enter__(self) -> FaultInjection:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._join()
        self._client.close()

    def start(self) -> None:
        """Begin the outage and the first wave: faults of workers, functions and the poller."""
        self._begin(self._outage, self._random.uniform(*_BEGINS_AFTER))
        self._begin(self._inject_all, self._shuffled(FIRST_WAVE))

    def pause(self, stories: int) -> float:
        """Return the seconds that a writer rests after each write, so that the writing lasts."""
        return FIRST_WAVE_SECONDS * WORKERS / (_WRITES_PER_STORY * max(1, stories))

    def second_wave(self) -> None:
        """Begin a few more faults."""
        self._begin(self._inject_all, self._shuffled(SECOND_WAVE))

    def wait(self) -> None:
        """Return when all faults are over and everything is up again.

        Raises:
            Exception: the error of a fault that could not be injected.
        """
        self._join()
        if self._error is not None:
            raise self._error

    def tolerant(self, probes: Mapping[str, Probe]) -> Mapping[str, Probe]:
        """Return probes to which a sink that does not answer shows no item."""
        return {sink: TolerantProbe(probe) for sink, probe in probes.items()}

    def report(self) -> list[str]:
        """Print the chaos report; return a sentence for each effect that was not observed."""
        self._trace.read()
        observed = Observed.of(self._injected, self._trace)
        chaos_report.show(self._console, self._injected, observed)
        return observed.missing

    def _shuffled(self, kinds: tuple[str, ...]) -> list[str]:
        return self._random.sample(kinds, len(kinds))

    def _begin(self, work: Callable[..., None], argument: object) -> None:
        def guarded() -> None:
            try:
                work(argument)
            except Exception as error:  # raised again by `wait`
                self._error = error

        thread = threading.Thread(target=guarded, name="chaos", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _join(self) -> None:
        while self._threads:
            self._threads.pop().join()

    # Faults

    def _inject_all(self, kinds: Sequence[str]) -> None:
        inject = {"worker": self._kill_worker, "throttle": self._throttle, "poller": self._restart}
        for kind in kinds:
            if self._stop.wait(self._random.uniform(*_BETWEEN)):
                return
            inject[kind]()

    def _kill_worker(self) -> None:
        """Kill worker processes of functions at work, until an invocation died with one."""
        died = self._trace.outcomes()["died"]
        for _ in range(_ATTEMPTS):
            function = self._at_work()
            workers = _workers(self._emulator, function) if function else []
            if not workers or not self._kill(self._random.choice(workers)):
                continue
            if self._until(lambda: self._trace.outcomes()["died"] > died, _DEATH_SECONDS):
                return

    def _kill(self, worker: int) -> bool:
        try:
            os.kill(worker, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self._injected.kills += 1
        return True

    def _throttle(self) -> None:
        """Leave no concurrency to any function for a moment, until an invocation was refused.

        All of them, as when an account has none left: the function at work might have an
        invocation that takes longer than the moment, and no other is refused meanwhile.
        """
        met = self._trace.outcomes()["throttled"]
        for _ in range(_ATTEMPTS):
            self._at_work()
            self._injected.throttles += 1
            try:
                for function in self._functions:
                    self._client.put_function_concurrency(
                        FunctionName=function, ReservedConcurrentExecutions=0
                    )
                if self._until(
                    lambda: self._trace.outcomes()["throttled"] > met, _THROTTLE_SECONDS
                ):
                    return
            finally:
                for function in self._functions:
                    self._client.delete_function_concurrency(FunctionName=function)

    def _restart(self) -> None:
        """Kill the poller, at work if possible, and start it again."""
        self._at_work()
        self._poller.kill()
        self._poller.start()
        self._injected.restarts += 1

    def _outage(self, delay: float) -> None:
        node = self._node
        if node is None or self._stop.wait(delay):
            return
        node.progress = self._unless_stopped
        node.stop()
        began = time.monotonic()
        self._say("OpenSearch is stopped")
        self._stop.wait(OUTAGE_SECONDS)
        self._injected.outage = time.monotonic() - began
        node.start()
        self._injected.back_after = time.monotonic() - began
        self._say(f"OpenSearch is back, after {self._injected.back_after:.0f} s")

    def _unless_stopped(self, sentence: str) -> None:
        if self._stop.is_set():
            raise _StoppedError(sentence)

    def _say(self, text: str) -> None:
        self._console.line(f"{self._console.seconds:6.1f} s  {text}", "yellow")

    # Observation

    def _at_work(self) -> str | None:
        """Return a function with an invocation under way; None if none begins in time."""
        found: list[str] = []

        def busy() -> bool:
            found[:] = sorted({c.function for c in self._trace.under_way(self._poller.pid)})
            return bool(found)

        return self._random.choice(found) if self._until(busy, _PATIENCE) else None

    def _until(self, seen: Callable[[], bool], seconds: float) -> bool:
        """Read the trace until `seen()`; return False after so many seconds, or at the end."""
        result = False

        def over() -> bool:
            nonlocal result
            self._trace.read()
            result = seen()
            return result or self._stop.is_set()

        wait_until(over, seconds=seconds, every=_POLL_SECONDS, pause=self._stop.wait)
        return result


class _StoppedError(Exception):
    """The demo ends while OpenSearch is starting."""


def _workers(emulator: int, function: str) -> list[int]:
    """Return the worker processes that the emulator has for a function."""
    listing = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=", "-o", "ppid=", "-o", "args="],  # -ww: whole lines
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    worker = re.compile(rf"/ministack-lambda-{re.escape(function)}-[^-/]+/_worker\.py")
    rows = (line.split(maxsplit=2) for line in listing.splitlines())
    return [
        int(row[0])
        for row in rows
        if len(row) == 3 and row[1] == str(emulator) and worker.search(row[2])
    ]
