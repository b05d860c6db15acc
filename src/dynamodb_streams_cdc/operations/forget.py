"""Erase items from all that a pipeline holds, through the function that may delete.

    report = Forget(functions, clock=...).run(keys)

It may be interrupted and repeated at any time; see `dynamodb_streams_cdc.control.erasure`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from typing import Any

from dynamodb_streams_cdc.change import Attributes, Image
from dynamodb_streams_cdc.control.functions import Functions, InvocationFailed
from dynamodb_streams_cdc.deadline import Clock, SystemClock, backoff
from dynamodb_streams_cdc.deserializer import base64_text, deserialize_item
from dynamodb_streams_cdc.identity import item_id
from dynamodb_streams_cdc.names import ERASURE, ErasureOperation
from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.item_keys import read_json_keys
from dynamodb_streams_cdc.operations.manifest import DeployedTable
from dynamodb_streams_cdc.operations.report import Report

AT_ONCE = 100
"""Items of one request: those of one read of the table."""

PATIENCE = 5
"""Requests in a row without progress after which the work ends."""


class ForgetStatus(StrEnum):
    """The result for an item."""

    ERASED = "erased"
    """Every place was read, and nothing is left."""
    WAITING = "waiting"
    """Nothing but the key is left, in tombstones and in the record of the erasure; see `due`."""
    NOTHING = "nothing held"
    """Every place was read, and nothing was there."""
    HELD = "held"
    """Traces are left: run it again; with --check, traces were found."""
    REFUSED = "refused"
    """The item is in the table, or a copy still shows it: nothing of it is erased from then on."""


@dataclass
class ForgottenItem:
    """The result for one item.

    Attributes:
        found: traces by place, tombstones not counted.
        tombstones: tombstones by place.
        left: what is left by place, tombstones not counted.
        due: when to run it again, in ISO 8601; empty if there is no need.
        receipt: name of the receipt of a complete erasure; of an item that is held, of one that may
            be complete.
        why: why it was refused, or why it waits although it is due.
    """

    item: str
    status: ForgetStatus = ForgetStatus.HELD
    found: dict[str, int] = field(default_factory=dict)
    tombstones: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    due: str = ""
    receipt: str = ""
    why: str = ""


@dataclass
class ForgetReport(Report):
    """The result of `cdc forget`.

    Attributes:
        unclear: objects that cannot be read and may be of one of the items.
        unreached: sinks that the function does not know.
        problems: sentences on why the work ended early.
    """

    items: list[ForgottenItem] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing of the items is left anywhere."""
        done = (ForgetStatus.ERASED, ForgetStatus.NOTHING)
        are_done = all(each.status in done for each in self.items)
        return self.ended and are_done and not (self.unclear or self.problems)


@dataclass
class Forget:
    """The erasure of items of one table.

    Attributes:
        functions: the deployed functions; the one named `erasure` is asked.
        table: logical name of the source table.
        progress: called with the name of each place that is read.
    """

    functions: Functions
    table: str
    clock: Clock = field(default_factory=SystemClock)
    progress: Callable[[str], None] = lambda place: None
    report: ForgetReport = field(default_factory=ForgetReport)

    def run(self, keys: Iterable[Attributes], *, erases: bool = True) -> ForgetReport:
        """Erase the items with these keys, or look at what is held of them."""
        left = iter(keys)
        while chunk := list(islice(left, AT_ONCE)):
            items = {self._identity(key): key for key in chunk}
            results = {item: ForgottenItem(item) for item in items}
            self.report.items += results.values()
            try:
                self._run(items, results, erases=erases)
            except _Stopped as error:
                self.report.problems.append(str(error))
                break
        return self.report

    def _identity(self, key: Attributes) -> str:
        decoded: Image = deserialize_item(key)
        return item_id(self.table, decoded)

    def _run(
        self,
        items: Mapping[str, Attributes],
        results: Mapping[str, ForgottenItem],
        *,
        erases: bool,
    ) -> None:
        wanted = dict(items)
        for answer in self._walk(ErasureOperation.ERASE, wanted) if erases else ():
            self._refuse(answer, wanted, results)
            for item, number in answer["found"].items():
                _add(results[item].found, answer["place"], number)
        revisions: dict[str, int] = {}
        receipts: dict[str, str] = {}
        due: dict[str, float] = {}
        fill = ""
        unclear: list[str] = []
        for answer in self._walk(ErasureOperation.FIND, wanted):
            fill = answer.get("fill", "")
            for item, number in answer["found"].items():
                _add(results[item].left, answer["place"], number)
            for item, number in answer["tombstones"].items():
                _add(results[item].tombstones, answer["place"], number)
            unclear += (each for each in answer["unclear"] if each not in unclear)
            revisions |= answer["revisions"]
            receipts |= answer.get("receipts", {})
            for item, moment in answer["due"].items():
                due[item] = max(moment, due.get(item, moment))
        self.report.unclear += (each for each in unclear if each not in self.report.unclear)
        for item in {} if unclear else wanted:
            self._judge(results[item], revisions, due.get(item, 0.0), fill)
        if erases and not unclear:
            self._complete(wanted, results, revisions, receipts)

    def _refuse(
        self,
        answer: Mapping[str, Any],
        wanted: dict[str, Attributes],
        results: Mapping[str, ForgottenItem],
    ) -> None:
        reasons = dict.fromkeys(answer["present"], "the item is in the table: delete it there")
        for item, copy in answer["blocked"].items():
            reasons.setdefault(
                item,
                f"{copy}: wait until its delete has been applied (cdc status), redrive it "
                "(cdc redrive), or repair it (cdc repair)",
            )
        for item, why in reasons.items():
            if wanted.pop(item, None) is not None:
                results[item].status, results[item].why = ForgetStatus.REFUSED, why

    def _judge(
        self,
        result: ForgottenItem,
        revisions: Mapping[str, int],
        due: float,
        fill: str,
    ) -> None:
        if result.left:
            return
        if not (result.tombstones or result.item in revisions):
            result.status = ForgetStatus.NOTHING
        elif due > self.clock.now():
            result.status = ForgetStatus.WAITING
            result.due = f"{datetime.fromtimestamp(due, UTC):%Y-%m-%dT%H:%M:%SZ}"
        elif result.tombstones and fill:
            result.status, result.why = ForgetStatus.WAITING, fill

    def _complete(
        self,
        wanted: Mapping[str, Attributes],
        results: Mapping[str, ForgottenItem],
        revisions: Mapping[str, int],
        receipts: Mapping[str, str],
    ) -> None:
        """Turn the records of items of which nothing is left, and that are due, into receipts."""
        ready = {
            item: {"Keys": key, "revision": revisions[item], **_named(receipts.get(item))}
            for item, key in wanted.items()
            if results[item].status is ForgetStatus.HELD
            and item in revisions
            and not (results[item].left or results[item].tombstones)
        }
        for item in ready.keys() & receipts.keys():
            results[item].receipt = receipts[item]
        fruitless = 0
        while ready:
            event = {"operation": ErasureOperation.COMPLETE, "Records": [*ready.values()]}
            answer = self._ask(event)
            for item, receipt in answer["receipts"].items():
                ready.pop(item, None)
                results[item].status, results[item].receipt = ForgetStatus.ERASED, receipt
            problem = answer.get("problem", "")
            if not (problem and ready):
                break
            fruitless = 0 if answer["receipts"] else fruitless + 1
            if fruitless == PATIENCE:
                message = f"receipts cannot be written: {problem}"
                raise _Stopped(message)
            self.clock.sleep(backoff(fruitless))
        for item in ready:  # another operator found something since
            results[item].receipt = ""

    def _walk(
        self, operation: ErasureOperation, items: Mapping[str, Attributes]
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the answers about all places; `items` may lose some meanwhile."""
        at: Sequence[Any] | None = None
        fruitless = 0
        while items:
            records = [{"Keys": key} for key in items.values()]
            answer = self._ask({"operation": operation, "at": at, "Records": records})
            self.progress(answer["place"])
            yield answer
            if answer["problem"]:
                fruitless += 1
                if fruitless == PATIENCE:
                    message = f"{answer['place']} cannot be read or erased: {answer['problem']}"
                    raise _Stopped(message)
                self.clock.sleep(backoff(fruitless))
                continue
            fruitless = 0
            at = answer["at"]
            if at is None:
                return

    def _ask(self, event: Mapping[str, Any]) -> Any:
        """Return the answer of the function; ask again after a failure."""
        plain = json.loads(json.dumps(event, default=base64_text))
        for attempt in range(PATIENCE):
            try:
                return self.functions.invoke(ERASURE, plain)
            except InvocationFailed as error:
                if attempt + 1 == PATIENCE:
                    raise _Stopped(str(error)) from error
                self.clock.sleep(backoff(attempt))
        raise AssertionError


def _named(receipt: str | None) -> Mapping[str, str]:
    return {} if receipt is None else {"receipt": receipt}


class _Stopped(Exception):
    """The work cannot go on; says why."""


def _add(counts: dict[str, int], place: str, number: int) -> None:
    counts[place] = counts.get(place, 0) + number


def keys_of_lines(text: str, name: str, table: DeployedTable) -> list[Attributes]:
    """Return the keys of items, one a line, as JSON.

    A line is an object of text and numbers, of which bytes are base64 text, or the item's identity,
    as the change log has it.

    Raises:
        UsageError: a line is not of this form, or there is none.
    """
    found: list[Attributes] = []
    # A text may have U+2028, which JSON does not escape: only this character ends a line.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found.append(read_json_keys(line, table))
        except UsageError as error:
            message = f"{name}, line {number}: {error}"
            raise UsageError(message) from error
    if not found:
        message = f"{name} has no items: give one a line, as JSON."
        raise UsageError(message)
    return found
