"""Walk a table or a sink through the deployed functions: parts at once, at a limited rate.

Each part is asked for again from the place that its last answer gave. A function, or its sink, that
does not answer is given time, and fewer items: those of the last request may take more time or
memory than it has. After `PATIENCE` answers in a row that bring nothing on, its parts stop, and the
others go on.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any

from dynamodb_streams_cdc.control.functions import Functions, InvocationFailed, not_understood
from dynamodb_streams_cdc.deadline import Clock, SystemClock, backoff
from dynamodb_streams_cdc.errors import RetryableError
from dynamodb_streams_cdc.operations.jobs import Job, PartState

PATIENCE = 6
"""Answers in a row that bring a part no further, until it is stopped; the pauses between them add
up to about a minute."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 20.0

REST_SECONDS = 15.0
"""Between two looks whether a walk is still to rest."""

MOST_ITEMS = 2000
"""Items of one request: a function takes a few seconds for them."""

FEWEST_UNITS = 12.5
"""Of one request, however low the rate: 25 small items."""

LARGEST_UNITS = 100.0
"""A consistent read of the largest item, 400 KB: an item of a part that was not read yet may cost
as much
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html)."""


@dataclass(frozen=True)
class WalkedPart:
    """A part of a walk.

    Attributes:
        name: unique in the job.
        processor: whose function is asked.
        event: what it is asked, without `place` and `limit`.
        records: returns the next records of the request and the place behind them, from a place and
            a limit, where the function does not read them itself; the place is None at the end.
    """

    name: str
    processor: str
    event: Mapping[str, Any]
    records: Callable[[Any, int], tuple[list[Any], Any]] | None = None


@dataclass
class CapacityLimit:
    """Capacity units a second that the walk may consume; infinite without a limit."""

    units_per_second: float = float("inf")
    clock: Clock = field(default_factory=SystemClock)
    _free_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def settle(self, units: float) -> None:
        """Pay for what a request consumed beyond the units that it waited for, or get some back."""
        if self.units_per_second != float("inf"):
            with self._lock:
                self._free_at += units / self.units_per_second

    def spend(self, units: float) -> None:
        """Wait until so many units fit: what was consumed before is paid for now."""
        if self.units_per_second == float("inf"):
            return
        with self._lock:
            now = self.clock.now()
            begin = max(now, self._free_at)
            self._free_at = begin + units / self.units_per_second
        self.clock.sleep(max(0.0, begin - now))


Keep = Callable[[WalkedPart, Mapping[str, Any]], Mapping[str, int]]
"""Keeps an answer in the job, in its transaction; returns counts to add to the part's."""


@dataclass
class Walk:
    """A walk of some parts.

    Attributes:
        functions: the deployed functions.
        job: keeps how far it has come.
        keep: keeps what an answer says.
        capacity: capacity that it may consume.
        workers: requests under way at one time.
        progress: called after each answer.
        rests: returns whether no request is to be made for now.
        problems: by processor, why its parts were stopped.
        trouble: why the last answer brought a part no further; empty if it did.
    """

    functions: Functions
    job: Job
    keep: Keep
    capacity: CapacityLimit = field(default_factory=CapacityLimit)
    workers: int = 4
    progress: Callable[[], None] = lambda: None
    rests: Callable[[], bool] = lambda: False
    clock: Clock = field(default_factory=SystemClock)
    problems: dict[str, str] = field(default_factory=dict)
    trouble: str = ""
    _states: dict[str, PartState] = field(default_factory=dict)
    _failing: dict[str, int] = field(default_factory=dict)
    _most: dict[str, int] = field(default_factory=dict)
    """Items of the next request of a part, at most, after one that brought nothing on."""

    def run(self, parts: Sequence[WalkedPart]) -> None:
        """Bring all parts to their end, or to a problem.

        A keyboard interrupt ends it once the requests that are under way are answered.
        """
        left = self._left(parts)
        pool = ThreadPoolExecutor(self.workers)
        running: dict[Future[Any], WalkedPart] = {}
        try:
            while left or running:
                is_resting = self.rests()
                while left and not is_resting and len(running) < self.workers:
                    part = left.pop(0)
                    if part.processor not in self.problems:
                        state = self._states[part.name]
                        running[pool.submit(self._ask, part, state)] = part
                if is_resting and not running:
                    self.clock.sleep(REST_SECONDS)
                for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
                    part = running.pop(future)
                    if self._take(part, future):
                        # A file that is open is read to its end before the next one is opened.
                        left.insert(len(left) if part.records is None else 0, part)
                    self.progress()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            for future, part in running.items():
                if future.done() and not future.cancelled() and future.exception() is None:
                    self._take(part, future)

    def _left(self, parts: Sequence[WalkedPart]) -> list[WalkedPart]:
        """Add the parts to the job; return those that are not done."""
        self.job.add_parts(part.name for part in parts)
        known = {state.name: state for state in self.job.parts()}
        self._states = {part.name: known[part.name] for part in parts}
        return [part for part in parts if not self._states[part.name].done]

    def _ask(self, part: WalkedPart, state: PartState) -> Any:
        fails = self._failing.get(part.name, 0)
        if fails:
            self.clock.sleep(pause_after(fails))
        limit = limit_of_request(state, self.capacity.units_per_second)
        limit = min(limit, self._most.get(part.name, MOST_ITEMS))
        self.capacity.spend(limit * _units_of_an_item(state))
        answer = self._invoke(part, state, limit)
        if isinstance(answer, Mapping):
            consumed = float(answer.get("units", 0.0))
            self.capacity.settle(consumed - limit * _units_of_an_item(state))
        return answer

    def _invoke(self, part: WalkedPart, state: PartState, limit: int) -> Any:
        if part.records is None:
            event = {"Records": [], **part.event, "place": state.place, "limit": limit}
            return self.functions.invoke(part.processor, event)
        records, following = part.records(state.place, limit)
        event = {**part.event, "Records": records}
        answer = self.functions.invoke(part.processor, event) if records else {"read": 0}
        if not isinstance(answer, Mapping):
            return answer
        if answer.get("problem"):
            return {**answer, "place": state.place, "done": False}
        return {**answer, "place": following, "done": following is None}

    def _take(self, part: WalkedPart, future: Future[Any]) -> bool:
        """Keep the answer to a request; return whether the part goes on."""
        try:
            answer = future.result()
        except (InvocationFailed, RetryableError) as error:
            return self._excuse(part, str(error))
        return self._keep_answer(part, answer)

    def _keep_answer(self, part: WalkedPart, answer: Any, **notes: Any) -> bool:
        """Keep an answer, and notes with it, in the job; return whether the part goes on."""
        state = self._states[part.name]
        if not isinstance(answer, Mapping) or "place" not in answer or "read" not in answer:
            self.problems[part.processor] = str(
                not_understood(part.processor, str(part.event["operation"]), answer)
            )
            return False
        with self.job.transaction():
            counts = dict(state.counts)
            for name, count in self.keep(part, answer).items():
                counts[name] = counts.get(name, 0) + count
            state = replace(
                state,
                place=answer["place"],
                done=answer["done"],
                read=state.read + answer["read"],
                units=state.units + float(answer.get("units", 0.0)),
                counts=counts,
            )
            self.job.advance(state)
            for name, value in notes.items():
                self.job.remember(name, value)
        self._states[part.name] = state
        if answer.get("problem") and not answer["read"]:
            return self._excuse(part, answer["problem"])
        self._failing.pop(part.name, None)
        self.trouble = ""
        self._grow(part)
        return not state.done

    def _grow(self, part: WalkedPart) -> None:
        """Ask a part that came on for more items again."""
        self._most[part.name] = min(MOST_ITEMS, 2 * self._most.get(part.name, MOST_ITEMS))

    def _excuse(self, part: WalkedPart, problem: str) -> bool:
        """Give a part that did not come on another chance, or stop its processor's."""
        self._failing[part.name] = self._failing.get(part.name, 0) + 1
        self._most[part.name] = max(1, self._most.get(part.name, MOST_ITEMS) // 4)
        self.trouble = f"{part.processor} brought nothing on ({problem})"
        if self._failing[part.name] < PATIENCE:
            return True
        self.problems[part.processor] = problem
        return False

    @property
    def read(self) -> int:
        """Number of items and copies read, by all runs of the job."""
        return sum(state.read for state in self._states.values())

    @property
    def units(self) -> float:
        """Capacity units consumed, by all runs of the job."""
        return sum(state.units for state in self._states.values())


def pause_after(failures: int) -> float:
    """Return the seconds to wait after so many requests in a row that brought nothing on."""
    return backoff(failures - 1, first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS)


def _units_of_an_item(state: PartState) -> float:
    return state.units / state.read if state.read else LARGEST_UNITS


def limit_of_request(state: PartState, units_per_second: float) -> int:
    """Return the number of items of the next request of a part: those of a second, about."""
    per_item = _units_of_an_item(state)
    if units_per_second == float("inf") or not per_item:
        return MOST_ITEMS
    return min(MOST_ITEMS, max(1, int(max(units_per_second, FEWEST_UNITS) / per_item)))
