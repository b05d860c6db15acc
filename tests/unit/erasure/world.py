"""A table, its copies in memory, and the function that erases."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dynamodb_streams_cdc import Aggregation, ChangeLog, Search
from dynamodb_streams_cdc.change import Attributes, Change, Image
from dynamodb_streams_cdc.control.erasure import Erasure
from dynamodb_streams_cdc.control.erasure_copies import (
    IndexPlace,
    LedgerPlace,
    LogPlace,
    MarkersPlace,
)
from dynamodb_streams_cdc.control.erasure_objects import (
    DeadLettersPlace,
    ImagesPlace,
)
from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.identity import item_id
from dynamodb_streams_cdc.operations.forget import Forget, ForgetReport, ForgetStatus
from dynamodb_streams_cdc.sinks.aggregation import Expiry
from dynamodb_streams_cdc.sinks.base import TablePage
from dynamodb_streams_cdc.testing.memory import (
    MemoryErasureRecords,
    MemoryIndex,
    MemoryLedger,
    MemoryLog,
    MemoryMarkers,
    MemoryNotes,
    MemoryObjects,
)
from tests.factories import ManualClock, as_delivered, change, order

ANNA, BEN = order("00004-0001"), order("00005-0001")


DAY = 24 * 3600.0


ERASED, WAITING, NOTHING, HELD, REFUSED = ForgetStatus


def keys(item: Image) -> Attributes:
    return as_delivered({name: item[name] for name in ("customer_id", "order_id")})


def identity(item: Image) -> str:
    return item_id("orders", {name: item[name] for name in ("customer_id", "order_id")})


def contributions(image: Image) -> Any:
    return {f"customer#{image['customer_id']}": {"revenue": image["total"]}}


@dataclass
class World:
    """A table, its copies in memory, and the function that erases.

    Attributes:
        items: what is in the table, by identity.
        fails: raises in the place of the store with that name.
        before_read: called before the table is read.
    """

    clock: ManualClock = field(default_factory=ManualClock)
    items: dict[str, Image] = field(default_factory=dict)
    log: MemoryLog = field(default_factory=MemoryLog)
    index: MemoryIndex = field(default_factory=MemoryIndex)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    objects: MemoryObjects = field(default_factory=MemoryObjects)
    images: MemoryObjects = field(default_factory=MemoryObjects)
    markers: MemoryMarkers = field(default_factory=MemoryMarkers)
    records: MemoryErasureRecords = field(default_factory=MemoryErasureRecords)
    notes: MemoryNotes = field(default_factory=MemoryNotes)
    expiry: Expiry = Expiry.DROP
    before_read: Callable[[], None] = lambda: None
    outages: int = 0
    asked: list[Mapping[str, Any]] = field(default_factory=list)

    def read(self, keys: Attributes) -> Image | None:
        raise AssertionError

    def read_many(
        self, keys: Sequence[Attributes], deadline: Deadline
    ) -> Sequence[Attributes | None]:
        self.before_read()
        names = [item_id("orders", {n: str(v["S"]) for n, v in each.items()}) for each in keys]
        return [{} if name in self.items else None for name in names]

    def scan(self, *_: Any, **__: Any) -> TablePage:
        raise AssertionError

    @property
    def erasure(self) -> Erasure:
        def dead_letters(prefix: str) -> DeadLettersPlace:
            waits = prefix != "archive/"
            own = {"warehouse": "warehouse-1A2B"} if waits else {}
            return DeadLettersPlace(self.objects, prefix, "orders", may_move=waits, own=own)

        return Erasure(
            "orders",
            self,
            places={
                "given-up": dead_letters("aws/"),
                "dead-letters": dead_letters("dead-letters/"),
                "archive": dead_letters("archive/"),
                "change-log": LogPlace(self.log),
                "large-images": ImagesPlace(self.images),
                "markers": MarkersPlace(self.markers),
            },
            copies={
                "search": IndexPlace(self.index.every),
                "aggregation": LedgerPlace(self.ledger),
            },
            records=self.records,
            notes=self.notes,
        )

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        assert processor == "erasure"
        self.asked.append(event)
        if self.outages:
            self.outages -= 1
            message = "the function is out"
            raise InvocationFailed(message, outage=True)
        deadline = Deadline(self.clock, self.clock.now() + 60)
        answer = self.erasure.respond(json.loads(json.dumps(event)), deadline)
        return json.loads(json.dumps(answer, allow_nan=False))

    def apply(self, *changes: Change) -> None:
        """Apply changes to the three copies."""
        deadline = Deadline(self.clock)
        sums = Aggregation(self.ledger, contributions, self.expiry)
        for sink in (sums, ChangeLog(self.log), Search(self.index, dict)):
            outcome = sink.apply(list(changes), deadline)
            assert not outcome.failures

    def delete(self, item: Image, *sequences: int, **others: Any) -> None:
        """Let an item be inserted, and deleted again."""
        first, last = sequences or (1, 2)
        self.apply(change(first, None, item), change(last, item, None, **others))

    def put(self, key: str, document: object) -> None:
        self.objects.objects[key] = json.dumps(document).encode()
        self.objects.written[key] = self.clock.now()

    def forget(self, *items: Image, erases: bool = True) -> ForgetReport:
        work = Forget(self, "orders", self.clock)
        return work.run(map(keys, items), erases=erases)

    def pass_days(self, days: float) -> None:
        self.clock.time += days * DAY

    def held(self) -> str:
        """Return everything that the stores hold, in one text."""
        stores = [self.log.entries, self.index.documents, self.index.others, self.ledger.rows]
        stores += [self.objects.objects, self.images.objects, self.markers.keys]
        return repr(stores) + repr(self.records)


def only(report: ForgetReport) -> Any:
    (result,) = report.items
    return result
