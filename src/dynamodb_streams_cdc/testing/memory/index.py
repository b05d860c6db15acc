"""A search index in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.sinks.comparison import Place, Segment
from dynamodb_streams_cdc.sinks.documents import (
    CDC,
    DocumentPage,
    Held,
    IndexStatus,
    Pair,
    SearchIndex,
    Stale,
    Upsert,
    Upserted,
    supersedes,
    token_of,
)
from dynamodb_streams_cdc.testing.memory.pages import next_names


@dataclass
class MemoryIndex:
    """A `RebuildableIndex`, with its documents to look at, tombstones included.

    Attributes:
        documents: of the live index.
        name: by which readers find it.
        live, second: numbers of the live index and of the second one.
        others: documents of the indexes that are not live, by number.
        mapping: stands for the mapping that is deployed; a new index gets it.
        made: tells it from another index that had its name.
    """

    documents: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    name: str = "items"
    live: int = 1
    second: int | None = None
    others: dict[int, dict[str, Mapping[str, Any]]] = field(default_factory=dict)
    mapping: str = "first"
    mappings: dict[int, str] = field(default_factory=dict)
    begun: int = 0
    made: str = "first"

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

    def tombstones(self, before: float | None, deadline: Deadline) -> int:
        """Return the number of tombstones; of those written before then, if a time is given."""
        deadline.check()
        return len(self._tombstones(before))

    def purge(self, before: float, most: int, deadline: Deadline) -> int:
        """Delete tombstones written before then, at most so many; return how many."""
        deadline.check()
        old = self._tombstones(before)[:most]
        for item_id in old:
            del self.documents[item_id]
        return len(old)

    def _tombstones(self, before: float | None) -> list[str]:
        stamps = {item_id: source[CDC] for item_id, source in self.documents.items()}
        return [
            item_id
            for item_id, stamp in stamps.items()
            if stamp.get("deleted") and (before is None or stamp["written_at"] < before)
        ]

    def upsert(self, upserts: Sequence[Upsert], deadline: Deadline) -> Sequence[Upserted]:
        """Write each document whose version is greater than the one held."""
        results: list[Upserted] = []
        deadline.check()
        for upsert in upserts:
            held = self.documents.get(upsert.item_id, {})
            if supersedes(held, upsert.source[CDC]["version"]):
                self.documents[upsert.item_id] = upsert.source
                results.append(None)
            else:
                results.append(Stale.than(held))
        return results

    def read_many(self, item_ids: Sequence[str], deadline: Deadline) -> Mapping[str, Held]:
        """Return the documents and tombstones that exist, by item."""
        deadline.check()
        there = (item_id for item_id in item_ids if item_id in self.documents)
        return {name: Held(self.documents[name], self.documents[name]) for name in there}

    def walk(
        self,
        segment: Segment,
        place: Place | None,
        most: int,
        deadline: Deadline,
        *,
        tombstones: bool = False,
    ) -> DocumentPage:
        """Return the next documents of a segment in the order of their names."""
        deadline.check()
        documents = {
            name: source
            for name, source in self.documents.items()
            if not tombstones or (source.get(CDC) or {}).get("deleted")
        }
        names, following = next_names(documents, segment, place, most)
        about = {name: (self.documents[name].get(CDC) or {}) for name in names}
        live = [n for n, each in about.items() if "item" in each and not each.get("deleted")]
        strange = [name for name, each in about.items() if "item" not in each]
        foreign = {name: self._token(name) for name in strange}
        deleted = [n for n, each in about.items() if "item" in each and each.get("deleted")]
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

    def every(self, deadline: Deadline) -> Sequence[SearchIndex]:
        """Return the live index, the second one, and leftovers."""
        deadline.check()
        return [self, *(type(self)(documents) for documents in self.others.values())]

    def status(self, deadline: Deadline) -> IndexStatus:
        """Return the indexes behind the name."""
        deadline.check()
        mapping = self.mappings.get(self.second or self.live, self.mapping)
        leftovers = sorted(self.others.keys() - {self.second})
        made = "" if self.second is None else str(self.begun)
        fits = mapping == self.mapping
        return IndexStatus(
            self.live, self.second, fits, leftovers, made, f"{self.made}/{self.live}"
        )

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
            if source[CDC].get("deleted") is False
        }
