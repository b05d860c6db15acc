"""Runs the deployed event source mappings as AWS would, in a process of its own.

    python -m local.deployed.poller_process URL FOLDER [--lose SHARE] [--rewind-every SECONDS]
                                                       [--seed N]

takes over the event source mappings of the emulator at URL and runs them until SIGTERM. FOLDER
holds the checkpoints, so the process may be killed at any moment and started again. The options
make it lose responses and checkpoints, as Lambda may: records are delivered again.

`PollerProcess` is the starter's end: it holds that process under a guard.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Self

from dynamodb_streams_cdc.errors import visible
from dynamodb_streams_cdc.esm.poller.runner import (
    ConnectionLost,
    FunctionReturned,
    runner_of,
    running,
    take_over,
)
from local.deployed.deployment import ROOT, session
from local.deployed.trace import TraceWriter
from local.services import loopback
from local.services.errors import ServiceError
from local.services.guarded import GuardedProcess
from local.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynamodb_streams_cdc.esm import Invoke
    from dynamodb_streams_cdc.esm.poller.invocation import Function, InvocationOutcome

TRACE = "trace.jsonl"
_READY = "ready"
_PATIENCE = 60.0  # seconds to take the mappings over


class PollerProcess(GuardedProcess):
    """The process that runs the mappings; started again, it goes on from its checkpoints."""

    def __init__(self, url: str, *, faults: Sequence[str] = ()) -> None:
        self.mappings = 0
        self._url = url
        self._faults = faults

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="cdc-poller-")).resolve()
        return super().__enter__()

    def start(self) -> None:
        """Start the process and return when it runs the mappings.

        Raises:
            ServiceError: It ended before that, or took too long.
        """
        ready = self.folder / _READY
        ready.unlink(missing_ok=True)
        environment = {**loopback.clean(), "TMPDIR": str(self.folder)}
        module = "local.deployed.poller_process"
        command = [sys.executable, "-m", module, self._url, str(self.folder), *self._faults]
        self.pid = self.guard(command, environment, grace=3.0, directory=ROOT).start()
        wait_until(lambda: ready.exists() or not self.running, seconds=_PATIENCE, every=0.02)
        if not ready.exists():
            message = f"The poller is not running. Its log ends:\n{self.tail()}"
            raise ServiceError(message)
        self.mappings = int(ready.read_text("utf-8"))


class Interceptor:
    """Traces the invocations of a function and loses a share of the responses."""

    def __init__(self, trace: TraceWriter, random: Random, share: float) -> None:
        self._trace = trace
        self._random = random
        self._share = share

    def around(self, name: str, function: Function) -> Function:
        def traced(command: Invoke) -> InvocationOutcome:
            call = self._trace.begin(name, command)
            answer = function(command)
            if isinstance(answer, FunctionReturned) and self._random.random() < self._share:
                answer = ConnectionLost()
            self._trace.end(call, answer)
            return answer

        return traced


def run(url: str, folder: Path, *, lose: float, rewind_every: float, seed: str) -> None:
    """Run the mappings of the emulator at `url` until SIGTERM or SIGINT.

    Args:
        url: of the emulator.
        folder: for checkpoints and the trace.
        lose: share of the responses to lose, 0 to 1.
        rewind_every: seconds between two lost checkpoints; 0 for none.
        seed: of both.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    random = Random(seed)
    made = session(url)
    trace = TraceWriter(folder / TRACE)
    interceptor = Interceptor(trace, Random(f"{seed}/answers"), lose)
    mappings = take_over(made.client("lambda"), folder / "checkpoints")
    runners = [
        runner_of(
            mapping,
            made,
            folder / "checkpoints",
            around=partial(interceptor.around, mapping["FunctionArn"].split(":")[6]),
        )
        for mapping in mappings
    ]
    with running(runners):
        (folder / f".{_READY}").write_text(str(len(runners)), "utf-8")
        (folder / f".{_READY}").replace(folder / _READY)
        rewind_at = _next(random, rewind_every)
        while not stop.wait(min(0.5, max(0.0, rewind_at - time.monotonic()))):
            for runner in runners:
                runner.check()
            if runners and time.monotonic() >= rewind_at:
                chosen = random.choice(runners)
                trace.rewound(chosen.uuid)
                chosen.rewind()
                rewind_at = _next(random, rewind_every)
    trace.close()


def _next(random: Random, every: float) -> float:
    return time.monotonic() + random.uniform(0.5, 1.5) * every if every else float("inf")


class _Visible(logging.Formatter):
    """Log lines and tracebacks with control characters of the data escaped."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m local.deployed.poller_process", description=__doc__
    )
    parser.add_argument("url", help="URL of the emulator")
    parser.add_argument("folder", type=Path, help="folder for checkpoints and the trace")
    parser.add_argument("--lose", type=float, default=0.0, help="share of responses lost, 0 to 1")
    parser.add_argument(
        "--rewind-every",
        type=float,
        default=0.0,
        help="seconds between lost checkpoints",
    )
    parser.add_argument("--seed", default="1")
    options = parser.parse_args(arguments)
    handler = logging.StreamHandler()
    handler.setFormatter(_Visible("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("botocore").setLevel(logging.WARNING)
    run(
        options.url,
        options.folder,
        lose=options.lose,
        rewind_every=options.rewind_every,
        seed=options.seed,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
