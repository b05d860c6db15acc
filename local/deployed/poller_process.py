"""The deployed mappings, run as AWS would run them, in a process of their own.

    python -m local.deployed.poller_process URL FOLDER [--lose SHARE --rewind-every SECONDS --seed
    N]

takes the emulator's event source mappings over and runs them until SIGTERM. Checkpoints are kept in
FOLDER, so that the process may be killed at any moment and started again. The options make it
forget answers and checkpoints, which Lambda may do as well: records are delivered again.

`PollerProcess` is the starter's end: it holds that process under a guard, like an engine.
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
from typing import TYPE_CHECKING

from dynamodb_streams_cdc.errors import visible
from dynamodb_streams_cdc.esm.poller.runner import Lost, Returned, runner_of, running, take_over
from local.deployed.deployment import ROOT, session
from local.deployed.trace import TraceWriter
from local.services import loopback
from local.services.errors import EngineError
from local.services.process_guard import ProcessGuard

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from dynamodb_streams_cdc.esm import Invoke
    from dynamodb_streams_cdc.esm.poller.invocation import Answer, Function

TRACE = "trace.jsonl"
_READY = "ready"
_LOG = "live.log"
_PATIENCE = 60.0  # seconds until the mappings are taken over
_POLL_SECONDS = 0.02
_TAIL_LINES = 12


class PollerProcess:
    """The process that runs the mappings; as a context manager it runs from entry to exit."""

    def __init__(self, url: str, *, faults: Sequence[str] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cdc-live-")).resolve()
        self.pid = 0
        self.mappings = 0
        environment = {**loopback.clean(), "TMPDIR": str(self.folder)}
        self._guard = ProcessGuard(
            [sys.executable, "-m", "local.deployed.poller_process", url, str(self.folder), *faults],
            folder=self.folder,
            log=self.log,
            environment=environment,
            directory=ROOT,
            grace=3.0,
        )

    def __enter__(self) -> PollerProcess:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the process and return when it runs the mappings.

        Raises:
            EngineError: It ended before that, or took too long.
        """
        ready = self.folder / _READY
        ready.unlink(missing_ok=True)
        self.pid = self._guard.start()
        deadline = time.monotonic() + _PATIENCE
        while not ready.exists():
            if self._guard.status() is not None or time.monotonic() > deadline:
                message = f"The live runner is not up. Its log ends:\n{self.tail()}"
                raise EngineError(message)
            time.sleep(_POLL_SECONDS)
        self.mappings = int(ready.read_text("utf-8"))

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would; `start` goes on from its checkpoints."""
        self._guard.kill()

    def close(self) -> None:
        """End it and remove its folder."""
        self._guard.close()

    @property
    def log(self) -> Path:
        return self.folder / _LOG

    @property
    def running(self) -> bool:
        return self._guard.status() is None

    def tail(self, lines: int = _TAIL_LINES) -> str:
        """The last lines of the log."""
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


class Forgetful:
    """Wraps a function: calls are traced, and of some the answer is lost."""

    def __init__(self, trace: TraceWriter, random: Random, share: float) -> None:
        self._trace = trace
        self._random = random
        self._share = share

    def around(self, name: str, function: Function) -> Function:
        def traced(command: Invoke) -> Answer:
            call = self._trace.begin(name, command)
            answer = function(command)
            if isinstance(answer, Returned) and self._random.random() < self._share:
                answer = Lost()
            self._trace.end(call, answer)
            return answer

        return traced


def run(url: str, folder: Path, *, lose: float, rewind_every: float, seed: str) -> None:
    """Run the mappings of the emulator at `url` until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    random = Random(seed)
    made = session(url)
    trace = TraceWriter(folder / TRACE)
    forgetful = Forgetful(trace, Random(f"{seed}/answers"), lose)
    mappings = take_over(made.client("lambda"), folder / "checkpoints")
    runners = [
        runner_of(
            mapping,
            made,
            folder / "checkpoints",
            around=partial(forgetful.around, mapping["FunctionArn"].split(":")[6]),
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
    """Log lines and tracebacks command no terminal, whatever the data in them."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m local.deployed.poller_process", description=__doc__
    )
    parser.add_argument("url", help="of the emulator")
    parser.add_argument("folder", type=Path, help="for checkpoints and the trace")
    parser.add_argument("--lose", type=float, default=0.0, help="share of answers to forget")
    parser.add_argument("--rewind-every", type=float, default=0.0, help="seconds between rewinds")
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
