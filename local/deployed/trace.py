"""The trace of the poller: one line of JSON before and after each invocation.

The lines outlive a poller that is killed: a call that begins and never ends was under way at that
moment. The chaos report counts its observations from them.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.esm.poller.runner import (
    ConnectionLost,
    FunctionFailed,
    FunctionReturned,
    NotInvoked,
)

if TYPE_CHECKING:
    from pathlib import Path

    from dynamodb_streams_cdc.esm import Invoke
    from dynamodb_streams_cdc.esm.poller.runner import InvocationOutcome

DEATHS = ("Worker process died", "Worker process exited", "Worker init failed")
"""Errors of the emulator for an invocation whose worker was killed: at work, or as it started. In
the second case it ends the function's other workers as well."""
THROTTLED = "TooManyRequestsException"


class TraceWriter:
    """Appends to a file; each line is written at once, so that a kill cuts none of them."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._calls = itertools.count(1)
        self._lock = threading.Lock()

    def close(self) -> None:
        self._file.close()

    def begin(self, function: str, command: Invoke) -> str:
        """Write that a function is about to be invoked; return the call's id."""
        call = f"{os.getpid()}-{next(self._calls)}"
        changes = [each["dynamodb"] for each in command.event["Records"]]
        self._write(
            begin=call,
            function=function,
            records=[change["SequenceNumber"] for change in changes],
            keys=[change.get("Keys", {}) for change in changes],
        )
        return call

    def end(self, call: str, answer: InvocationOutcome) -> None:
        match answer:
            case FunctionReturned(response) if isinstance(response, dict):
                reported = bool(response.get("batchItemFailures"))
                self._write(end=call, outcome="reported" if reported else "done")
            case FunctionReturned():
                self._write(end=call, outcome="done")
            case FunctionFailed(reason):
                died = any(death in reason for death in DEATHS)
                self._write(end=call, outcome="died" if died else "failed", why=reason)
            case NotInvoked(reason):
                throttled = THROTTLED in reason
                outcome = "throttled" if throttled else "not invoked"
                self._write(end=call, outcome=outcome, why=reason)
            case ConnectionLost():
                self._write(end=call, outcome="lost")

    def rewound(self, mapping: str) -> None:
        self._write(rewound=mapping)

    def _write(self, **fields: Any) -> None:
        fields["at"] = round(time.time(), 3)
        line = json.dumps(fields, separators=(",", ":")) + "\n"
        with self._lock:
            self._file.write(line.encode())


@dataclass(slots=True)
class Call:
    """One invocation, of which `outcome` is None while it is under way.

    `records` and `keys` are the sequence number and the typed keys of each record.
    """

    process: str
    function: str
    records: list[str]
    keys: list[dict[str, Any]]
    outcome: str | None = None


class TraceReader:
    """Follows a trace while it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0
        self.calls: dict[str, Call] = {}
        self.rewinds = 0

    def read(self) -> None:
        """Read the lines that were written since the last call."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._place)
            whole, _, _ = file.read().rpartition(b"\n")
        self._place += len(whole) + 1 if whole else 0
        for line in whole.splitlines():
            self._take(json.loads(line))

    def _take(self, line: dict[str, Any]) -> None:
        if "begin" in line:
            process = line["begin"].partition("-")[0]
            self.calls[line["begin"]] = Call(
                process, line["function"], line["records"], line["keys"]
            )
        elif "end" in line:
            self.calls[line["end"]].outcome = line["outcome"]
        else:
            self.rewinds += 1

    def under_way(self, process: int) -> list[Call]:
        """Return the calls of a process that have not ended."""
        return [
            call
            for call in self.calls.values()
            if call.outcome is None and call.process == str(process)
        ]

    def outcomes(self) -> Counter[str]:
        """Return the number of calls by outcome; `cut off`: the poller was killed, or it runs."""
        return Counter(call.outcome or "cut off" for call in self.calls.values())

    @property
    def retries(self) -> int:
        """Number of calls with records of an earlier call that failed."""
        failed: set[tuple[str, str]] = set()
        count = 0
        for call in self.calls.values():
            keys = {(call.function, number) for number in call.records}
            if keys & failed:
                count += 1
                failed -= keys
            if call.outcome in ("died", "failed", "reported"):
                failed |= keys
        return count

    @property
    def redelivered(self) -> int:
        """Number of records that were delivered again after the function had processed them."""
        done: set[tuple[str, str]] = set()
        again = 0
        for call in self.calls.values():
            if call.outcome in ("throttled", "not invoked"):
                continue
            keys = {(call.function, number) for number in call.records}
            again += len(keys & done)
            if call.outcome in ("done", "lost"):
                done |= keys
        return again
