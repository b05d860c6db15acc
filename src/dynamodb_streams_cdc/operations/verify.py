"""Verify that the copies of a pipeline are right, through the deployed functions.

    report = Verify(deployment, source, processors, job).run()

A walk of the table compares each item with its copies; a walk of each sink looks up the items of
its copies; sums are compared with what the ledger's rows add up to. A difference counts once it was
seen twice, further apart than changes take, with the copy unchanged in between: what is on its way
is none. Memory does not grow with the table: what was found is in the job.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from threading import Lock
from typing import Any

from dynamodb_streams_cdc.aws.dynamodb.log import DynamoDbLog
from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.control.functions import (
    FINAL,
    RESPONSE_TOO_LARGE,
    Functions,
    InvocationFailed,
    not_understood,
)
from dynamodb_streams_cdc.deadline import Clock, Deadline, SystemClock
from dynamodb_streams_cdc.entities import AGGREGATION, AUDIT, SEARCH
from dynamodb_streams_cdc.errors import RetryableError
from dynamodb_streams_cdc.guards.halves import halves
from dynamodb_streams_cdc.names import Operation
from dynamodb_streams_cdc.operations.errors import OperationError
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.report import Report
from dynamodb_streams_cdc.operations.walk import (
    PATIENCE,
    CapacityLimit,
    Walk,
    WalkedPart,
    pause_after,
)
from dynamodb_streams_cdc.sinks.comparison import DifferenceKind
from dynamodb_streams_cdc.sinks.log_entries import kind_of

SETTLE_SECONDS = 20.0
"""How long after it was first seen a difference is asked about again."""

LOOKS = 4
"""How often a copy is looked at that changes all the time, until it counts as not verified."""

ROUNDS = 3
"""How often the ledger is read for sums that move meanwhile, until they count as not verified."""

FRESH_SECONDS = 3600.0
"""Age of a reading that ended at which a run that goes on reads again: it would call complete what
was damaged since."""

ASKED_AT_ONCE = 100
"""Differences of a request that asks about them again."""

LOOKS_AT_ONCE = 16
"""Such requests under way at one time, at most: this machine sends them, also with `--on aws`."""

SHARES = 1000
"""Segments of which a share is some: `--share 1%` reads ten."""

SIDES = ("before", "after", "before revisions", "after revisions", "ledger")
"""What is added up of an aggregate: its sums twice, their revisions, and the ledger's rows."""

NOT_COMPARABLE = (
    "its function cannot read the copies of its sink one by one, or does not read the table"
)

SEEN, CONFIRMED, MOVING = "seen", "confirmed", "moving"

_READ_AT = "read at"
"""Name under which the job remembers when everything was read."""

_One = tuple[int, str, str]
_There = dict[_One, tuple[Mapping[str, Any] | None, str] | None]
"""Differences that are there now, with the kind that the change log tells; None for no answer."""


def _of_one(difference: Mapping[str, Any]) -> _One:
    """Return the store and the item of a difference, and what of them differs.

    That an item is refused is told of its keys. A store may have a copy of it all the same.
    """
    is_refused = difference["kind"] == DifferenceKind.REFUSED
    return difference["store"], difference["item"], "keys" if is_refused else "copy"


@dataclass
class VerifyReport(Report):
    """Result of a verification.

    Attributes:
        read: items, copies and sums read, by processor.
        differences: number of differences, by processor and kind.
        moving: copies and sums that changed all the time, or had no answer: not verified.
        unchecked: copies whose identity is a digest: their items cannot be looked up.
        problems: sentences on why a processor's verification ended early.
        unverified: processors with a problem, or with copies or sums that were not verified.
        not_compared: processors that cannot be compared with the table.
        left_out: what of a processor was not compared, and why, by processor.
        share: part of the table that was read; 1 for all.
    """

    read: dict[str, int] = field(default_factory=dict)
    differences: dict[str, Counter[str]] = field(default_factory=dict)
    moving: int = 0
    unchecked: int = 0
    problems: list[str] = field(default_factory=list)
    unverified: set[str] = field(default_factory=set)
    not_compared: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    share: float = 1.0
    seconds: float = 0.0
    units: float = 0.0

    @property
    def count(self) -> int:
        """Number of differences."""
        return sum(kinds.total() for kinds in self.differences.values())

    def has_verified(self, processor: str) -> bool:
        """Return whether all of a processor was read and compared."""
        return self.ended and processor not in (*self.unverified, *self.not_compared)

    @property
    def verified(self) -> bool:
        """Whether everything was read, and every copy and sum stood still to be compared."""
        return self.ended and not (self.moving or self.problems)

    @property
    def complete(self) -> bool:
        """Whether everything was verified, and every copy is right."""
        return self.verified and not self.count


@dataclass
class Verify:
    """The verification of the copies of one table.

    Attributes:
        functions: the deployed functions.
        keys: types of the table's key attributes, by name.
        processors: whose copies are compared; their sinks, by processor.
        job: keeps what was found.
        entity: compares items of this entity alone.
        share: part of the table to read.
        numbers: segments that the share is, and of how many; random ones if they are not given.
        segments: parts that the table is cut into.
        log: the change log, to tell stale from wrong and resurrected from extra; None without one.
        settle: seconds after which a difference is asked about again.
        progress: called with the number of items read, after each answer.
        walk: makes the walks: `Walk`, or `RemoteWalk` with its executions.
        keeps_problems: after a problem the next run of the job goes on, and does not begin again.
        named: whether the processors were chosen by name; one that cannot be compared then is an
            error.
    """

    functions: Functions
    keys: Mapping[str, str]
    processors: Mapping[str, str]
    job: Job
    entity: str | None = None
    share: float = 1.0
    numbers: tuple[Sequence[int], int] | None = None
    segments: int = 8
    workers: int = 4
    capacity: CapacityLimit = field(default_factory=CapacityLimit)
    log: DynamoDbLog | None = None
    settle: float = SETTLE_SECONDS
    clock: Clock = field(default_factory=SystemClock)
    progress: Callable[[int, str], None] = lambda read, phase: None
    walk: Callable[..., Walk] = Walk
    keeps_problems: bool = False
    named: bool = False
    report: VerifyReport = field(default_factory=VerifyReport)
    _silent: set[str] = field(default_factory=set, init=False)
    _without_sums: set[str] = field(default_factory=set, init=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def run(self) -> VerifyReport:
        """Verify everything that was asked for.

        Raises:
            OperationError: a processor that was named cannot be compared with the table.
        """
        begun = self.clock.now()
        numbers, of = self._numbers()
        self.report.share = len(numbers) / of
        if self.job.resumed:
            self._resume()
        try:
            stores = {name: self._stores(name) for name in self.processors}
            able = {name: number for name, number in stores.items() if number}
            self._complain_if_nothing_is_compared()
            self._walk("", self._sums_parts("before", able))
            self._walk("comparing", [*self._table_parts(able), *self._copies_parts(able)])
            if all(part.done for part in self.job.parts()):
                self.job.remember(_READ_AT, self.job.recall(_READ_AT) or self.clock.now())
            self._verify_sums(able)
            self._look_again()
        finally:
            self.report.seconds = self.clock.now() - begun
            self._tell()
        return self.report

    def finish(self) -> None:
        """End the job, once what was found is told: it is forgotten then."""
        # Also after a problem: what was read then says nothing of a later day.
        if not (self.keeps_problems and self.report.problems):
            self.job.finish()

    def _resume(self) -> None:
        """Look again at what an earlier run found: it may be repaired by now."""
        read_at = self.job.recall(_READ_AT)
        with self.job.transaction():
            if read_at is not None and self.clock.now() - read_at > FRESH_SECONDS:
                self.job.forget_parts("")
                self.job.forget_amounts(SIDES)
                self.job.remember(_READ_AT, None)
            for state in (CONFIRMED, MOVING):
                for name, document, _ in self.job.found(state):
                    is_sum = document["kind"] == DifferenceKind.SUM
                    self.job.settle(name, None if is_sum else document, SEEN, 0.0)
            if self.job.parts("after/"):
                self._forget_sums()

    def _forget_sums(self) -> None:
        """Let the sums and the ledger be read again."""
        for part in self.job.parts():
            kind, processor, *_ = part.name.split("/")
            if kind != "table" and self.processors[processor] == AGGREGATION:
                self.job.forget_parts(part.name)
        self.job.forget_amounts(SIDES)

    def run_items(self, items: Sequence[Attributes]) -> VerifyReport:
        """Verify the copies of these items, by their keys as DynamoDB JSON.

        Raises:
            OperationError: a processor that was named cannot be compared with the table.
        """
        if self.job.resumed:
            self._resume()
        for name in self.processors:
            answer = self._ask(name, [{"Keys": keys} for keys in items])
            if answer is None or not self._is_comparable(name, answer):
                continue
            self._leave_out(name, answer)
            self.report.read[name] = len(items) - len(answer.get("lost", ()))
            self._keep_differences(name, answer["differences"])
        self._complain_if_nothing_is_compared()
        self._look_again()
        self._tell()
        return self.report

    def differences(self) -> Iterator[dict[str, Any]]:
        """Yield the differences, in the order of their sinks and items.

        A difference that a repair would add to sums says whether these are what the ledger adds up
        to now, and a repair is right; None if sums were not compared.
        """
        for document in self.job.all_found(CONFIRMED):
            if "delta" in document:
                yield {**document, "sums_agree": self._agree(document["delta"])}
            else:
                yield document

    def _agree(self, aggregates: Iterable[str]) -> bool | None:
        if not self._sums_compared:
            return None
        return all(
            self.job.amounts("ledger", each) == self.job.amounts("after", each)
            and self.job.amounts("before revisions", each)
            == self.job.amounts("after revisions", each)
            for each in aggregates
        )

    # Walks

    def _stores(self, processor: str) -> int:
        answer = self._ask(processor, [])
        if not answer or not self._is_comparable(processor, answer):
            return 0
        self._leave_out(processor, answer)
        comparable = 1 if self.processors[processor] == AGGREGATION else 0
        if answer.get("ledgers", 0) > comparable and self._reads_all:
            self._without_sums.add(processor)
            why = "its sums: those of the aggregation alone can be compared, and of one ledger"
            self.report.left_out.setdefault(processor, []).append(why)
        return int(answer["stores"])

    def _leave_out(self, processor: str, answer: Mapping[str, Any]) -> None:
        left_out = [
            f"entity {entity}: the copies of its sink cannot be read one by one"
            for entity in answer.get("uncompared", ())
            if self.entity in (None, entity)
        ]
        if left_out:
            self.report.left_out[processor] = left_out

    def _is_comparable(self, processor: str, answer: Mapping[str, Any]) -> bool:
        if answer["comparable"]:
            return True
        if self.named:
            self.job.finish()  # no run of it can end, and the next one may name other processors
            message = f"{processor} cannot be compared with the table: {NOT_COMPARABLE}."
            raise OperationError(message)
        self.report.not_compared.append(processor)
        return False

    def _complain_if_nothing_is_compared(self) -> None:
        """Add a problem if the processors have copies, and none can be compared."""
        built_in = (AGGREGATION, SEARCH, AUDIT)
        copying = [name for name, sink in self.processors.items() if sink in built_in]
        if copying and set(copying) <= set(self.report.not_compared):
            names = " and ".join(copying)
            problem = f"Nothing of {names} was compared: look at the settings of their functions."
            self.report.problems.append(problem)

    def _numbers(self) -> tuple[Sequence[int], int]:
        """Return the numbers of the segments to read, and how many there are."""
        if self.share >= 1:
            return range(self.segments), self.segments
        if self.numbers is not None:
            return self.numbers
        number = max(1, round(self.share * SHARES))
        # Of the job, so that it goes on with the same ones.
        return sorted(random.Random(self.job.name).sample(range(SHARES), number)), SHARES

    def _parts(self, kind: str, processor: str, **event: Any) -> Iterator[WalkedPart]:
        numbers, of = self._numbers()
        for number in numbers:
            asked = {
                "operation": Operation.VERIFY,
                "segment": number,
                "segments": of,
                "keys": dict(self.keys),
                "entity": self.entity,
                **event,
            }
            yield WalkedPart(f"{kind}/{processor}/{number:04}", processor, asked)

    def _table_parts(self, able: Mapping[str, int]) -> Iterator[WalkedPart]:
        for processor in able:
            yield from self._parts("table", processor, of="table")

    def _copies_parts(self, able: Mapping[str, int], **event: Any) -> Iterator[WalkedPart]:
        for processor, stores in able.items():
            for store in range(stores):
                asked = {"of": "copies", "store": store, **event}
                yield from self._parts(f"copies{store}", processor, **asked)

    def _sums_parts(self, side: str, able: Mapping[str, int]) -> Iterator[WalkedPart]:
        for processor in filter(self._compares_sums, able):
            asked = {"operation": Operation.VERIFY, "of": "sums"}
            yield WalkedPart(f"{side}/{processor}", processor, asked)

    def _compares_sums(self, processor: str) -> bool:
        is_aggregation = self.processors[processor] == AGGREGATION
        return self._reads_all and is_aggregation and processor not in self._without_sums

    @property
    def _reads_all(self) -> bool:
        return self.entity is None and self.share >= 1

    def _walk(self, phase: str, parts: Iterator[WalkedPart] | Sequence[WalkedPart]) -> None:
        walk = self.walk(
            self.functions, self.job, self._keep, self.capacity, self.workers, clock=self.clock
        )
        walk.progress = lambda: self.progress(walk.read, walk.trouble or phase)
        walk.run(list(parts))
        self.report.units += walk.units
        for processor, problem in walk.problems.items():
            self._add_problem(processor, problem)

    _sums_compared = False

    def _keep(self, part: WalkedPart, answer: Mapping[str, Any]) -> Mapping[str, int]:
        kind = part.name.partition("/")[0]
        if kind in ("before", "after"):
            self.job.add_amounts(kind, answer["sums"])
            revisions = {name: {"": str(n)} for name, n in answer["revisions"].items()}
            self.job.add_amounts(f"{kind} revisions", revisions)
        elif kind.startswith("copies") and self._compares_sums(part.processor):
            self.job.add_amounts("ledger", answer["sums"])
        self._keep_differences(part.processor, answer["differences"])
        return {"unchecked": answer["unchecked"]}

    def _keep_differences(self, processor: str, differences: Sequence[Mapping[str, Any]]) -> None:
        named = (
            ("/".join(map(str, (processor, *_of_one(each)))), {**each, "processor": processor})
            for each in differences
        )
        self.job.add_found(named, self.clock.now())

    # Sums

    def _verify_sums(self, able: Mapping[str, int]) -> None:
        """Compare sums with the ledger; read the ledger again for those that moved meanwhile."""
        names = [*filter(self._compares_sums, able)]
        if not names:
            return
        [processor] = names
        for left in reversed(range(ROUNDS)):
            self._walk("sums", list(self._sums_parts("after", able)))
            parts = self.job.parts()
            if not all(part.done for part in parts if part.name.split("/")[1] == processor):
                return
            self._sums_compared = True
            moved = 0
            for aggregate in self.job.aggregates(SIDES):
                revisions = [self.job.amounts(f"{s} revisions", aggregate) for s in SIDES[:2]]
                if revisions[0] != revisions[1]:
                    moved += 1
                else:
                    self._compare_sum(processor, aggregate)
            if not moved or not left:
                self.report.moving += moved
                self.report.unverified |= {processor} if moved else set()
                return
            with self.job.transaction():
                self._forget_sums()
            only = {processor: able[processor]}
            self._walk("sums", list(self._sums_parts("before", only)))
            # Their items were looked up in the first round.
            self._walk("sums", list(self._copies_parts(only, lookUp=False)))

    def _compare_sum(self, processor: str, aggregate: str) -> None:
        ledger, held = self.job.amounts("ledger", aggregate), self.job.amounts("after", aggregate)
        if ledger == held:
            return
        differing = sorted(m for m in ledger.keys() | held.keys() if ledger.get(m) != held.get(m))
        document = {
            "item": aggregate,
            "kind": DifferenceKind.SUM.value,
            "keys": None,
            "store": 0,
            "token": "",
            "version": None,
            "detail": ", ".join(differing),
            "processor": processor,
            "off": {m: str(held.get(m, 0) - ledger.get(m, 0)) for m in differing},
        }
        name = f"{processor}/sum/{aggregate}"
        with self.job.transaction():
            self.job.add_found([(name, document)], self.clock.now())
            self.job.settle(name, document, CONFIRMED, self.clock.now())

    # Differences that stay

    def _look_again(self) -> None:
        """Ask about each difference until it was seen twice with its copy unchanged, or is gone."""
        looks: Counter[str] = Counter()
        at_once = min(self.workers, LOOKS_AT_ONCE)
        with ThreadPoolExecutor(at_once) as pool:
            while waiting := self.job.found(SEEN, ASKED_AT_ONCE * at_once):
                pause = waiting[-1][2] + self.settle - self.clock.now()
                if pause > 0:
                    read = sum(part.read for part in self.job.parts())
                    self.progress(read, "waiting for changes on their way")
                    self.clock.sleep(pause)
                by_processor: dict[str, list[tuple[str, dict[str, Any]]]] = {}
                for name, document, _ in waiting:
                    by_processor.setdefault(document["processor"], []).append((name, document))
                groups = [
                    (processor, group[start : start + ASKED_AT_ONCE])
                    for processor, group in by_processor.items()
                    for start in range(0, len(group), ASKED_AT_ONCE)
                ]
                for (_, group), there in zip(groups, pool.map(self._look, groups), strict=True):
                    self._keep_look(group, there, looks)

    def _look(self, asked: tuple[str, list[tuple[str, dict[str, Any]]]]) -> _There:
        """Ask about differences again; return what is there now."""
        processor, group = asked
        records = [
            {"item": d["item"], "store": d["store"]}
            if d["keys"] is None
            else {"Keys": d["keys"], "store": d["store"]}
            for _, d in group
        ]
        answer = self._ask(processor, records) or {"differences": (), "lost": records}
        told = self._told(answer["differences"])
        there: _There = {
            (one := _of_one(each)): (each, told.get(one, each["kind"]))
            for each in answer["differences"]
        }
        lost = answer.get("lost", ())
        for record, (_, document) in zip(records, group, strict=True):
            if record in lost:
                there[_of_one(document)] = None
        return there

    def _keep_look(
        self,
        group: list[tuple[str, dict[str, Any]]],
        there: _There,
        looks: Counter[str],
    ) -> None:
        now = self.clock.now()
        with self.job.transaction():
            for name, document in group:
                seen = there.get(_of_one(document), (None, ""))
                if seen is None:
                    self.job.settle(name, document, MOVING, now)
                    continue
                looks[name] += 1
                found, kind = seen
                if found is None:
                    self.job.settle(name, None, SEEN, now)
                elif found["token"] == document["token"] and found["kind"] == document["kind"]:
                    confirmed = {**document, **found, "kind": kind}
                    self.job.settle(name, confirmed, CONFIRMED, now)
                elif looks[name] < LOOKS:
                    self.job.settle(name, {**document, **found}, SEEN, now)
                    continue
                else:
                    self.job.settle(name, {**document, **found}, MOVING, now)
                del looks[name]

    def _told(self, differences: Iterable[Mapping[str, Any]]) -> Mapping[_One, str]:
        """Return the kinds that the change log tells better."""
        kinds = (DifferenceKind.WRONG, DifferenceKind.EXTRA)
        asked = [each for each in differences if each["kind"] in kinds]
        if self.log is None or not asked:
            return {}
        newest = self.log.newest({each["item"] for each in asked}, Deadline(self.clock))
        told: dict[_One, str] = {}
        for each in asked:
            entry, version = newest.get(each["item"]), each["version"]
            is_extra = each["kind"] == DifferenceKind.EXTRA
            if entry is None:
                continue
            if is_extra and kind_of(entry) == "REMOVE":
                told[_of_one(each)] = DifferenceKind.RESURRECTED.value
            if not is_extra and version and version < entry["version"]["S"]:
                told[_of_one(each)] = DifferenceKind.STALE.value
        return told

    def _ask(self, processor: str, records: Sequence[Mapping[str, Any]]) -> Any:
        """Ask about items; None, and a problem in the report, if there is no answer.

        A processor without an answer after `PATIENCE` requests is asked once each time from then
        on, until it answers. Several records may take more time or memory than it has: after two
        requests it is asked for each half. Without records nothing is lost yet: it is asked once.
        """
        event = {
            "operation": Operation.VERIFY,
            "of": "items",
            "keys": dict(self.keys),
            "Records": list(records),
        }
        for failures in count(1):
            try:
                answer = self.functions.invoke(processor, event)
                if not isinstance(answer, Mapping) or "differences" not in answer:
                    raise not_understood(processor, Operation.VERIFY, answer)
                if answer["problem"]:
                    raise RetryableError(answer["problem"])
            except (InvocationFailed, RetryableError) as error:
                reason = error.reason if isinstance(error, InvocationFailed) else ""
                if reason == RESPONSE_TOO_LARGE and len(records) > 1:
                    return self._ask_in_halves(processor, records)
                is_last = failures == PATIENCE or processor in self._silent or not records
                if is_last or reason in FINAL:
                    self._silent.add(processor)
                    self._add_problem(processor, str(error))
                    return None
                is_outage = isinstance(error, InvocationFailed) and error.outage
                if failures == 2 and len(records) > 1 and not is_outage:
                    return self._ask_in_halves(processor, records)
                self.clock.sleep(pause_after(failures))
            else:
                self._silent.discard(processor)
                return answer
        raise AssertionError  # count() has no end

    def _add_problem(self, processor: str, problem: str) -> None:
        sentence = f"{processor} was not verified to its end: {problem}"
        with self._lock:
            self.report.unverified.add(processor)
            if sentence not in self.report.problems:
                self.report.problems.append(sentence)

    def _ask_in_halves(self, processor: str, records: Sequence[Mapping[str, Any]]) -> Any:
        """Ask about items that are too many for one request; `lost` are those without an answer."""
        lost: list[Mapping[str, Any]] = []
        answers: list[Mapping[str, Any]] = []
        for half in halves(records):
            answer = self._ask(processor, half) or {"differences": (), "lost": half}
            answers.append(answer)
            lost += answer.get("lost", ())
        if len(lost) == len(records):
            return None
        differences = [each for answer in answers for each in answer["differences"]]
        return {"comparable": True, "differences": differences, "lost": lost}

    def _tell(self) -> None:
        """Count what was found."""
        for part in self.job.parts():
            processor = part.name.split("/")[1]
            self.report.read[processor] = self.report.read.get(processor, 0) + part.read
            self.report.unchecked += part.counts.get("unchecked", 0)
        for document in self.differences():
            kinds = self.report.differences.setdefault(document["processor"], Counter())
            kinds[document["kind"]] += 1
        for document in self.job.all_found(MOVING):
            self.report.unverified.add(document["processor"])
            self.report.moving += 1
