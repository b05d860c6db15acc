"""Everything that may go wrong, on purpose, while a demo runs; and an account of what did.

Worker processes of the functions and the runner of the mappings are killed with SIGKILL in the
middle of their work, functions are throttled, OpenSearch is stopped for twenty seconds, and the
runner forgets answers and checkpoints, so that records come twice
(`local.deployed.poller_process`). The seed decides what happens in which order and to whom; the
machine decides what is under way at that moment.

What is reported was observed, in the trace of the runner: a worker that was killed while it had
nothing to do is no hit, and a throttle that no invocation met is none either.
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
from local.scenarios import chaos_report as account
from local.scenarios.chaos_report import Observed, Strikes
from local.verify import ReadError
from local.workload.traffic import WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from local.console import DemoConsole
    from local.deployed.pipeline import Pipeline
    from local.scenarios.lag import Look
    from local.workload.traffic import Finished, Key

OUTAGE_SECONDS = 20.0
FIRST_WAVE_SECONDS = 18.0
_WRITES_PER_PURCHASE = 2.2
LOST_ANSWERS = 0.08
REWIND_EVERY_SECONDS = 6.0
_BEGINS_AFTER = (0.2, 1.2)  # seconds from the first write until OpenSearch stops
_BETWEEN = (0.2, 1.4)  # seconds between two strikes
_PATIENCE = 4.0  # seconds that a strike waits for an invocation to hit
_AIMS = 3
_THROTTLE_SECONDS = 2.0
_DEATH_SECONDS = 0.6  # until the emulator has noticed
_LOOK_EVERY = 0.02

FIRST_WAVE = ("worker",) * 7 + ("throttle",) * 4 + ("runner",) * 3
SECOND_WAVE = ("worker", "throttle", "runner", "worker")


def forgetfulness(seed: int) -> list[str]:
    """Options of `local.deployed.poller_process`: how forgetful the runner is."""
    return [
        *("--lose", str(LOST_ANSWERS)),
        *("--rewind-every", str(REWIND_EVERY_SECONDS)),
        *("--seed", str(seed)),
    ]


class NoFaults:
    """Chaos where none was asked for."""

    manner = "at full speed"

    def __enter__(self) -> NoFaults:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was begun."""

    def start(self) -> None:
        """Leave everything alone."""

    def second_wave(self) -> None:
        """Leave everything alone."""

    def wait(self) -> None:
        """There is nothing to wait for."""

    def pause(self, purchases: int) -> float:
        """Nobody waits between two writes."""
        return 0.0

    def patient(self, looks: Mapping[str, Look]) -> Mapping[str, Look]:
        """A sink that does not answer is an error."""
        return looks

    def account(self) -> list[str]:
        """There is nothing to tell."""
        return []


class Chaos:
    """Strikes at a pipeline from threads of its own; as a context manager they end with it."""

    manner = "in the storm"

    def __init__(self, pipeline: Pipeline, console: DemoConsole, seed: int) -> None:
        self._live = pipeline.live
        self._emulator = pipeline.aws.pid
        self._node = pipeline.node
        self._console = console
        self._random = Random(f"{seed}/chaos")
        self._client = session(pipeline.aws.url).client("lambda")
        self._functions = list(pipeline.manifest.functions.values())
        self._trace = TraceReader(self._live.folder / TRACE)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._error: BaseException | None = None
        self._strikes = Strikes()

    def __enter__(self) -> Chaos:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._join()
        self._client.close()

    def start(self) -> None:
        """Begin: the outage, and strikes at workers, functions and the runner."""
        self._begin(self._outage, self._random.uniform(*_BEGINS_AFTER))
        self._begin(self._strike_all, self._shuffled(FIRST_WAVE))

    def pause(self, purchases: int) -> float:
        """The seconds that a writer rests after each write, so that the writing lasts."""
        return FIRST_WAVE_SECONDS * WORKERS / (_WRITES_PER_PURCHASE * max(1, purchases))

    def second_wave(self) -> None:
        """Begin a few strikes more."""
        self._begin(self._strike_all, self._shuffled(SECOND_WAVE))

    def wait(self) -> None:
        """Return when all that was begun is over and everything is up again.

        Raises:
            Exception: whatever a strike failed with.
        """
        self._join()
        if self._error is not None:
            raise self._error

    def patient(self, looks: Mapping[str, Look]) -> Mapping[str, Look]:
        """A sink that does not answer shows nothing, for now."""

        def patiently(look: Look) -> Look:
            def looking(orders: Sequence[Finished]) -> set[Key]:
                try:
                    return look(orders)
                except ReadError:
                    return set()

            return looking

        return {sink: patiently(look) for sink, look in looks.items()}

    def account(self) -> list[str]:
        """Print what was observed; return what was to be observed and was not, in sentences."""
        self._trace.read()
        observed = Observed.of(self._strikes, self._trace)
        account.show(self._console, self._strikes, observed)
        return observed.missing

    def _shuffled(self, kinds: tuple[str, ...]) -> list[str]:
        return self._random.sample(kinds, len(kinds))

    def _begin(self, work: Callable[..., None], argument: object) -> None:
        def guarded() -> None:
            try:
                work(argument)
            except Exception as error:  # for the thread that waits
                self._error = error

        thread = threading.Thread(target=guarded, name="chaos", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _join(self) -> None:
        while self._threads:
            self._threads.pop().join()

    # Strikes

    def _strike_all(self, kinds: Sequence[str]) -> None:
        should_fail = {"worker": self._worker, "throttle": self._throttle, "runner": self._runner}
        for kind in kinds:
            if self._stop.wait(self._random.uniform(*_BETWEEN)):
                return
            should_fail[kind]()

    def _worker(self) -> None:
        """Kill worker processes of functions at work, until one was in the middle of it."""
        died = self._trace.outcomes()["died"]

        def hit() -> bool:
            return self._trace.outcomes()["died"] > died

        for _ in range(_AIMS):
            function = self._at_work()
            workers = _workers(self._emulator, function) if function else []
            if not workers or not self._kill(self._random.choice(workers)):
                continue
            if self._until(hit, within=_DEATH_SECONDS):
                return

    def _kill(self, worker: int) -> bool:
        try:
            os.kill(worker, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self._strikes.kills += 1
        return True

    def _throttle(self) -> None:
        """Let functions take no invocation for a moment, until one was refused."""
        met = self._trace.outcomes()["throttled"]

        def refused() -> bool:
            return self._trace.outcomes()["throttled"] > met

        for _ in range(_AIMS):
            function = self._at_work() or self._random.choice(self._functions)
            self._strikes.throttles += 1
            self._client.put_function_concurrency(
                FunctionName=function, ReservedConcurrentExecutions=0
            )
            try:
                if self._until(refused, within=_THROTTLE_SECONDS):
                    return
            finally:
                self._client.delete_function_concurrency(FunctionName=function)

    def _runner(self) -> None:
        """Kill the runner of the mappings, at work if possible, and start it again."""
        self._at_work()
        self._live.kill()
        self._live.start()
        self._strikes.restarts += 1

    def _outage(self, delay: float) -> None:
        node = self._node
        if node is None or self._stop.wait(delay):
            return
        node.progress = self._unless_stopped
        node.stop()
        began = time.monotonic()
        self._say("OpenSearch is stopped")
        self._stop.wait(OUTAGE_SECONDS)
        self._strikes.outage = time.monotonic() - began
        node.start()
        self._strikes.back_after = time.monotonic() - began
        self._say(f"OpenSearch is back, after {self._strikes.back_after:.0f} s")

    def _unless_stopped(self, sentence: str) -> None:
        if self._stop.is_set():
            raise _StoppedError(sentence)

    def _say(self, text: str) -> None:
        self._console.line(f"{self._console.seconds:6.1f} s  {text}", "yellow")

    # Looking

    def _at_work(self) -> str | None:
        """A function of which an invocation is under way; None if none begins in time."""
        found: list[str] = []

        def looked() -> bool:
            found[:] = sorted({c.function for c in self._trace.under_way(self._live.pid)})
            return bool(found)

        return self._random.choice(found) if self._until(looked, within=_PATIENCE) else None

    def _until(self, seen: Callable[[], bool], *, within: float) -> bool:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            self._trace.read()
            if seen():
                return True
            if self._stop.wait(_LOOK_EVERY):
                return False
        return False


class _StoppedError(Exception):
    """The demo ends while OpenSearch is starting."""


def _workers(emulator: int, function: str) -> list[int]:
    """The worker processes that the emulator holds for a function."""
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
