"""The ports of an erasure in memory."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dynamodb_streams_cdc.control.erasure import ErasureRecord, Start
from dynamodb_streams_cdc.control.erasure_copies import Marker
from dynamodb_streams_cdc.control.erasure_objects import StoredVersion
from dynamodb_streams_cdc.deadline import Deadline


@dataclass
class MemoryObjects:
    """`ObjectVersions` of a bucket without versions.

    Attributes:
        objects: contents by key.
        written: when each was written, in seconds since 1970; an object that is missing, at 0.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    written: dict[str, float] = field(default_factory=dict)

    def page(
        self, prefix: str, start: Start, most: int, deadline: Deadline
    ) -> tuple[Sequence[StoredVersion], Start]:
        """Return the next objects in the order of their keys."""
        deadline.check()
        keys = [
            key
            for key in sorted(self.objects)
            if key.startswith(prefix) and (start is None or key > start)
        ]
        page = [StoredVersion(key, "null", self.written.get(key, 0.0)) for key in keys[:most]]
        return page, keys[most - 1] if len(keys) > most else None

    def after(self, stored: StoredVersion) -> Start:
        """Return where a walk goes on after an object."""
        return stored.key

    def read(self, stored: StoredVersion, deadline: Deadline) -> tuple[bytes, str] | None:
        """Return the content of an object, which is its token as well."""
        deadline.check()
        content = self.objects.get(stored.key)
        return None if content is None else (content, content.hex())

    def replace(self, stored: StoredVersion, token: str, body: bytes, deadline: Deadline) -> bool:
        """Replace the content that was read; return False if it has moved."""
        deadline.check()
        content = self.objects.get(stored.key)
        if content is None or content.hex() != token:
            return False
        self.objects[stored.key] = body
        return True

    def delete(self, versions: Sequence[StoredVersion], deadline: Deadline) -> None:
        """Delete objects."""
        deadline.check()
        for stored in versions:
            self.objects.pop(stored.key, None)
            self.written.pop(stored.key, None)


@dataclass
class MemoryErasureRecords:
    """`ErasureRecords`, with the receipts to look at."""

    records: dict[str, ErasureRecord] = field(default_factory=dict)
    receipts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _made: int = 0

    def read(self, item_ids: Collection[str], deadline: Deadline) -> Mapping[str, ErasureRecord]:
        """Return the records of erasures that are not complete, by item."""
        deadline.check()
        return {item: self.records[item] for item in item_ids if item in self.records}

    def note(self, item_id: str, since: float, deadline: Deadline) -> None:
        """Make the record of an item, or raise its `since`."""
        deadline.check()
        record = self.records.get(item_id)
        if record is None:
            self._made += 1
            record = ErasureRecord(f"receipt-{self._made}", deadline.now(), since, 0)
        since = max(record.since, since)
        self.records[item_id] = replace(record, since=since, revision=record.revision + 1)

    def complete(self, item_id: str, record: ErasureRecord, deadline: Deadline) -> bool:
        """Write the receipt and delete the record; return False if it moved."""
        deadline.check()
        if self.records.get(item_id) != record:
            return False
        del self.records[item_id]
        self.receipts[record.receipt] = {
            "began_at": record.began_at,
            "erased_at": deadline.now(),
        }
        return True

    def find_receipts(self, names: Collection[str], deadline: Deadline) -> Collection[str]:
        """Return which of these receipts have been written."""
        deadline.check()
        return self.receipts.keys() & set(names)


@dataclass
class MemoryMarkers:
    """`ErasableMarkers` of the keys of a `MemoryIdempotencyStore`.

    Attributes:
        written_at: when each was written; one that is not there, long ago.
    """

    keys: set[str] = field(default_factory=set)
    written_at: dict[str, float] = field(default_factory=dict)

    def walk(self, start: Start, deadline: Deadline) -> tuple[Iterable[Marker], Start]:
        """Return all markers."""
        deadline.check()
        return [Marker(key, self.written_at.get(key, 0.0)) for key in sorted(self.keys)], None

    def delete(self, keys: Sequence[str], deadline: Deadline) -> None:
        """Delete markers."""
        deadline.check()
        self.keys -= set(keys)
