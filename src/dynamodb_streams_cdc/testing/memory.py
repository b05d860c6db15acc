"""The ports of the sinks in memory: for simulations, and for tests that need no server.

They keep the contracts of the real ones; one suite of tests runs against both.
"""

import json
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Context, Decimal
from typing import Any
from zlib import crc32

from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.dead_letters import DeadLetter
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import DeadlineExceeded, PermanentError
from dynamodb_streams_cdc.names import ARCHIVE, DEAD_LETTERS
from dynamodb_streams_cdc.operations.dead_letter_store import StoredDeadLetter
from dynamodb_streams_cdc.sinks.change_log import Inserted, LogPage
from dynamodb_streams_cdc.sinks.comparison import Place, Segment
from dynamodb_streams_cdc.sinks.contributions import MAX_ACTIONS, Amount, Contribution, add
from dynamodb_streams_cdc.sinks.documents import (
    CDC,
    DocumentPage,
    Held,
    IndexStatus,
    Pair,
    Stale,
    Upsert,
    Upserted,
    supersedes,
    token_of,
)
from dynamodb_streams_cdc.sinks.generations import Generations, generation_of, of_generation
from dynamodb_streams_cdc.sinks.ledger import (
    DropPage,
    LedgerPage,
    LedgerRow,
    RowUpdate,
    SumsPage,
    WriteConflict,
)
from dynamodb_streams_cdc.sinks.log_entries import Entry

DIGITS = 38
"""The most significant digits of a DynamoDB number."""

_EXACT = Context(prec=300)


@dataclass
class MemoryLedger:
    """A `LedgerStore`, with its rows and sums to look at."""

    rows: dict[str, LedgerRow] = field(default_factory=dict)
    totals: dict[str, dict[str, Decimal]] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)
    state: Generations = field(default_factory=Generations)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def read(self, item_ids: Collection[str], deadline: Deadline) -> Mapping[str, LedgerRow]:
        """Return the rows that exist, by item."""
        deadline.check()
        with self._lock:
            return {item_id: self.rows[item_id] for item_id in item_ids if item_id in self.rows}

    def commit(self, updates: Sequence[RowUpdate], deltas: Contribution) -> None:
        """Write the rows and add the deltas, all or nothing."""
        with self._lock:
            if len(updates) + len(deltas) > MAX_ACTIONS:
                message = f"{len(updates) + len(deltas)} actions; a transaction holds {MAX_ACTIONS}"
                raise ValueError(message)
            conflicts = [
                update.after.item_id
                for update in updates
                if _item_version(self.rows.get(update.after.item_id))
                != _item_version(update.before)
            ]
            if conflicts:
                raise WriteConflict(conflicts)
            totals = {name: self._added(name, measures) for name, measures in deltas.items()}
            self.rows |= {update.after.item_id: update.after for update in updates}
            self.totals |= totals
            self.moved |= {name: self.moved.get(name, 0) + 1 for name in deltas}

    def _added(self, aggregate: str, measures: Mapping[str, Amount]) -> dict[str, Decimal]:
        total = add(({aggregate: self.totals.get(aggregate, {})}, {aggregate: measures}))
        added = {name: Decimal(amount) for name, amount in total.get(aggregate, {}).items()}
        for name, amount in added.items():
            if len(amount.normalize(_EXACT).as_tuple().digits) > DIGITS:
                message = f"{aggregate}.{name}: {amount} has more than {DIGITS} digits"
                raise PermanentError(message, "NumberOverflow")
        return added

    def purge(self, before: float, deadline: Deadline) -> int:
        """Delete the rows of deleted items written before then; return how many."""
        deadline.check()
        with self._lock:
            old = [
                item_id
                for item_id, row in self.rows.items()
                if row.deleted and not row.retained and row.written_at < before
            ]
            for item_id in old:
                del self.rows[item_id]
        return len(old)

    def walk(
        self, segment: Segment, place: Place | None, most: int, deadline: Deadline
    ) -> LedgerPage:
        """Return the next rows of a segment in the order of their items."""
        deadline.check()
        with self._lock:
            names, following = _next(self.rows, segment, place, most)
            return LedgerPage([self.rows[name] for name in names], following)

    def sums(self, place: Place | None, most: int, deadline: Deadline) -> SumsPage:
        """Return the next sums; a revision is the number of their writes."""
        deadline.check()
        with self._lock:
            names, following = _next(self.totals, Segment(), place, most)
            sums = add({name: self.totals[name]} for name in names)
            return SumsPage(sums, {name: self.moved.get(name, 0) for name in names}, following)

    def total(self, aggregate: str) -> dict[str, Decimal]:
        """Return the live measures of an aggregate; empty for an unknown one."""
        return {**self.live().get(aggregate, {})}

    def live(self) -> dict[str, dict[str, Decimal]]:
        """Return the sums that readers read."""
        return self.sums_of(self.state.live)

    def sums_of(self, generation: int) -> dict[str, dict[str, Decimal]]:
        """Return the sums of a generation."""
        found = of_generation(self.totals, generation)
        return {
            aggregate: {name: Decimal(amount) for name, amount in measures.items()}
            for aggregate, measures in found.items()
        }

    def generations(self, deadline: Deadline) -> Generations:
        """Return the generations of the sums."""
        deadline.check()
        return self.state

    def set_generations(self, before: Generations, after: Generations, deadline: Deadline) -> bool:
        """Write the generations, unless `before` has moved."""
        deadline.check()
        with self._lock:
            if self.state.revision != before.revision:
                return False
            self.state = replace(after, revision=before.revision + 1)
        return True

    def drop(self, generation: int, place: Place | None, most: int, deadline: Deadline) -> DropPage:
        """Remove the measures of a generation from the next sums."""
        deadline.check()
        with self._lock:
            names, following = _next(self.totals, Segment(), place, most)
            dropped = 0
            for name in names:
                sums = self.totals[name]
                kept = {n: amount for n, amount in sums.items() if generation_of(n) != generation}
                self.totals[name] = kept
                dropped += len(kept) < len(sums)
        return DropPage(len(names), dropped, following)


def _next(
    rows: Mapping[str, object], segment: Segment, place: Place | None, most: int
) -> tuple[list[str], Place | None]:
    """Return the next names of a segment, and where to go on."""
    left = [
        name
        for name in sorted(rows)
        if crc32(name.encode()) % segment.of == segment.number and (place is None or name > place)
    ]
    return left[:most], left[most - 1] if len(left) > most else None


def _item_version(row: LedgerRow | None) -> tuple[str, int] | None:
    return None if row is None else (row.version, row.revision)


@dataclass
class MemoryLog:
    """A `LogStore`, with its entries to look at, by item and version."""

    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)

    def insert(self, entries: Sequence[Entry], deadline: Deadline) -> Sequence[Inserted]:
        """Write entries that are not there; return each result, in order."""
        results: list[Inserted] = []
        for entry in entries:
            try:
                deadline.check()
            except DeadlineExceeded as error:
                return [*results, *[error] * (len(entries) - len(results))]
            key = (entry["item"]["S"], entry["version"]["S"])
            results.append(key not in self.entries)
            self.entries.setdefault(key, entry)
        return results

    def read(self, item_id: str) -> Iterable[Attributes]:
        """Return the entries of an item in the order of their versions."""
        return [entry for key, entry in sorted(self.entries.items()) if key[0] == item_id]

    def newest(self, item_ids: Collection[str], deadline: Deadline) -> Mapping[str, Attributes]:
        """Return the newest entry of each item that has any."""
        deadline.check()
        found = {item_id: entry for (item_id, _), entry in sorted(self.entries.items())}
        return {item_id: found[item_id] for item_id in item_ids if item_id in found}

    def walk(self, segment: Segment, place: Place | None, most: int, deadline: Deadline) -> LogPage:
        """Return the next items of a segment with all of their entries."""
        deadline.check()
        newest = {item_id: e["kind"]["S"] for (item_id, _), e in sorted(self.entries.items())}
        names, following = _next(newest, segment, place, most)
        return LogPage({name: newest[name] for name in names}, following, len(names))


@dataclass
class MemoryImageStore:
    """An `ImageStore`, with its objects to look at."""

    objects: dict[str, str] = field(default_factory=dict)

    def keep(self, name: str, text: str) -> None:
        """Write an object; that it is there already is success."""
        self.objects.setdefault(name, text)

    def read(self, name: str) -> str:
        """Return the text of an object."""
        if name not in self.objects:
            message = f"the object {name} is gone"
            raise PermanentError(message, "LargeImageGone")
        return self.objects[name]


@dataclass
class MemoryIndex:
    """A `RebuildableIndex`, with its documents to look at, tombstones included.

    Attributes:
        documents: of the live index.
        name: by which readers find it.
        live, second: numbers of the live index and of the second one.
        others: documents of the indexes that are not live, by number.
        mapping: stands for the mapping that is deployed; a new index gets it.
    """

    documents: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    name: str = "items"
    live: int = 1
    second: int | None = None
    others: dict[int, dict[str, Mapping[str, Any]]] = field(default_factory=dict)
    mapping: str = "first"
    mappings: dict[int, str] = field(default_factory=dict)
    begun: int = 0

    def read(self, item_id: str, deadline: Deadline) -> Held | None:
        """Return the document or tombstone of an item; its revision is the document itself."""
        deadline.check()
        source = self.documents.get(item_id)
        return None if source is None else Held(source, source)

    def replace(self, held: Held | None, upsert: Upsert, deadline: Deadline) -> bool:
        """Write a document in the place of the one held; return False if that one has moved."""
        deadline.check()
        if self.documents.get(upsert.item_id) is not (held.revision if held else None):
            return False
        self.documents[upsert.item_id] = upsert.source
        return True

    def purge(self, before: float, deadline: Deadline) -> int:
        """Delete the tombstones written before then; return how many."""
        deadline.check()
        stamps = {item_id: source[CDC] for item_id, source in self.documents.items()}
        old = [
            item_id
            for item_id, item_version in stamps.items()
            if item_version["deleted"] and item_version["written_at"] < before
        ]
        for item_id in old:
            del self.documents[item_id]
        return len(old)

    def upsert(self, upserts: Sequence[Upsert], deadline: Deadline) -> Sequence[Upserted]:
        """Write each document whose version is greater than the one held."""
        results: list[Upserted] = []
        deadline.check()
        for upsert in upserts:
            held = self.documents.get(upsert.item_id, {}).get(CDC, {})
            if supersedes(held.get("version"), upsert.source[CDC]["version"]):
                self.documents[upsert.item_id] = upsert.source
                results.append(None)
            else:
                results.append(Stale(held["changed_at"]))
        return results

    def read_many(self, item_ids: Sequence[str], deadline: Deadline) -> Mapping[str, Held]:
        """Return the documents and tombstones that exist, by item."""
        deadline.check()
        there = (item_id for item_id in item_ids if item_id in self.documents)
        return {name: Held(self.documents[name], self.documents[name]) for name in there}

    def walk(self, place: Place | None, most: int, deadline: Deadline) -> DocumentPage:
        """Return the next documents in the order of their names."""
        deadline.check()
        names, following = _next(self.documents, Segment(), place, most)
        about = {name: (self.documents[name].get(CDC) or {}) for name in names}
        live = [n for n, each in about.items() if "item" in each and not each["deleted"]]
        strange = [name for name, each in about.items() if "item" not in each]
        foreign = {name: self._token(name) for name in strange}
        deleted = [n for n, each in about.items() if "item" in each and each["deleted"]]
        return DocumentPage(live, foreign, following, len(names), deleted)

    def remove(self, name: str, token: str, deadline: Deadline) -> bool:
        """Delete a document that has not moved; return False if it has."""
        deadline.check()
        if self._token(name) != token:
            return False
        del self.documents[name]
        return True

    def pair(self, deadline: Deadline) -> Pair | None:
        """Return the live index and the second one; `None` if there is no second one."""
        deadline.check()
        if self.second is None:
            return None
        return Pair(type(self)(self.documents), type(self)(self.others[self.second]))

    def status(self, deadline: Deadline) -> IndexStatus:
        """Return the indexes behind the name."""
        deadline.check()
        mapping = self.mappings.get(self.second or self.live, self.mapping)
        leftovers = sorted(self.others.keys() - {self.second})
        made = "" if self.second is None else str(self.begun)
        return IndexStatus(self.live, self.second, mapping == self.mapping, leftovers, made)

    def begin(self, deadline: Deadline) -> None:
        """Make a second index, unless there is one."""
        deadline.check()
        if self.second is None:
            self.second = max((self.live, *self.others)) + 1
            self.others[self.second] = {}
            self.begun += 1
            self.mappings[self.second] = self.mapping

    def swap(self, live: int, second: int, deadline: Deadline) -> bool:
        """Exchange the live index and the second one; return False if others are it."""
        deadline.check()
        if (live, second) != (self.live, self.second):
            return False
        self.others[live], self.documents = self.documents, self.others.pop(second)
        self.live, self.second = second, live
        return True

    def release(self, second: int, deadline: Deadline) -> bool:
        """Take the name from the second index; return False if it is another."""
        deadline.check()
        if second != self.second:
            return False
        self.second = None
        return True

    def delete(self, number: int, deadline: Deadline) -> bool:
        """Delete an index that is neither live nor second; return False if it is, or is gone."""
        deadline.check()
        return number != self.second and self.others.pop(number, None) is not None

    def _token(self, name: str) -> str:
        source = self.documents.get(name)
        return token_of(None if source is None else Held(source, source))

    def search(self) -> dict[str, dict[str, Any]]:
        """Return the documents that readers find, by item: their own fields, no tombstones."""
        return {
            item_id: {name: value for name, value in source.items() if name != CDC}
            for item_id, source in self.documents.items()
            if not source[CDC]["deleted"]
        }


@dataclass
class MemoryDeadLetters:
    """`DeadLetterWriter`, by processor and name."""

    dead_letters: dict[str, DeadLetter] = field(default_factory=dict)

    def write(self, dead_letter: DeadLetter) -> bool:
        """Keep the dead letter; return False if it was there already."""
        name = f"{dead_letter.processor}/{dead_letter.name}"
        is_new = name not in self.dead_letters
        self.dead_letters.setdefault(name, dead_letter)
        return is_new


@dataclass
class MemoryIdempotencyStore:
    """`IdempotencyStore`; actions of a transaction are kept to look at."""

    keys: set[str] = field(default_factory=set)
    actions: list[Mapping[str, Any]] = field(default_factory=list)

    def seen(self, key: str) -> bool:
        """Return whether the marker is there."""
        return key in self.keys

    def mark(self, key: str, keep_seconds: int) -> None:
        """Write the marker."""
        self.keys.add(key)

    def mark_with(self, key: str, keep_seconds: int, actions: Sequence[Mapping[str, Any]]) -> bool:
        """Write the marker and do the actions, if the marker is not there."""
        if key in self.keys:
            return False
        self.keys.add(key)
        self.actions += actions
        return True


@dataclass
class MemoryAttempts:
    """`Attempts` that did not end, by name."""

    begun: dict[str, int] = field(default_factory=dict)

    def begin(self, name: str, now: float) -> int:
        """Count an attempt; return how many began before and did not end."""
        self.begun[name] = self.begun.get(name, 0) + 1
        return self.begun[name] - 1

    def end(self, name: str, now: float) -> None:
        """Forget the attempts at a record."""
        self.begun.pop(name, None)


@dataclass
class MemoryDeadLetterStore:
    """A `DeadLetterStore` that is `DeadLetterWriter` too, with its objects to look at.

    Attributes:
        objects: dead letters of both buckets as they are stored, by key, the archive included.
        written: when each was written, in seconds since 1970.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    written: dict[str, float] = field(default_factory=dict)

    def write(self, dead_letter: DeadLetter) -> bool:
        """Keep a processor's dead letter; return False if it was there already."""
        return self._add(
            f"{DEAD_LETTERS}{dead_letter.processor}/{dead_letter.name}",
            dead_letter.envelope(),
            dead_letter.written_at,
        )

    def deliver(self, key: str, document: Mapping[str, Any]) -> None:
        """Keep a document of Lambda's mapping; the key begins with `aws/lambda/`."""
        self._add(key, document)

    @property
    def archived(self) -> Sequence[str]:
        """The keys that dead letters had before they were archived."""
        return [key.removeprefix(ARCHIVE) for key in sorted(self.objects) if _archived(key)]

    def dead_letters(self) -> Iterable[StoredDeadLetter]:
        """Return the dead letters that are not archived, in the order of their keys."""
        return [
            StoredDeadLetter(key, len(self.objects[key]), self.written[key])
            for key in sorted(self.objects)
            if not _archived(key)
        ]

    def read(self, key: str) -> bytes | None:
        """Return a dead letter as it is stored; None if it is gone."""
        return self.objects.get(key)

    def holds(self, key: str) -> bool:
        """Return whether a dead letter is there."""
        return key in self.objects

    def keep(self, key: str, document: Mapping[str, Any]) -> bool:
        """Write a dead letter; return False, and change nothing, if the key is taken."""
        return self._add(key, document)

    def archive(self, key: str) -> bool:
        """Move a dead letter to the archive; return False if it is gone."""
        if key not in self.objects:
            return False
        self.objects[ARCHIVE + key] = self.objects.pop(key)
        self.written[ARCHIVE + key] = self.written.pop(key)
        return True

    def _add(self, key: str, document: Mapping[str, Any], now: float | None = None) -> bool:
        if key in self.objects:
            return False
        self.objects[key] = json.dumps(document).encode()
        written = now if now is not None else _seconds(document.get("timestamp"))
        self.written[key] = written
        return True


def _archived(key: str) -> bool:
    return key.startswith(ARCHIVE)


def _seconds(timestamp: object) -> float:
    return datetime.fromisoformat(timestamp).timestamp() if isinstance(timestamp, str) else 0.0
