"""A change log and its large images in memory."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import DeadlineExceeded, PermanentError
from dynamodb_streams_cdc.sinks.change_log import Inserted, LogPage
from dynamodb_streams_cdc.sinks.comparison import Place, Segment
from dynamodb_streams_cdc.sinks.log_entries import Entry, kind_of
from dynamodb_streams_cdc.testing.memory.pages import next_names


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

    def delete(self, item_id: str, versions: Sequence[str], deadline: Deadline) -> None:
        """Delete entries of an item."""
        deadline.check()
        for version in versions:
            self.entries.pop((item_id, version), None)

    def newest(self, item_ids: Collection[str], deadline: Deadline) -> Mapping[str, Attributes]:
        """Return the newest entry of each item that has any."""
        deadline.check()
        found = {item_id: entry for (item_id, _), entry in sorted(self.entries.items())}
        return {item_id: found[item_id] for item_id in item_ids if item_id in found}

    def walk(self, segment: Segment, place: Place | None, most: int, deadline: Deadline) -> LogPage:
        """Return the next items of a segment with all of their entries."""
        deadline.check()
        newest = {item_id: kind_of(e) for (item_id, _), e in sorted(self.entries.items())}
        names, following = next_names(newest, segment, place, most)
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
