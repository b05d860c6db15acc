"""What the functions of the exercises write to: tables and an index, in memory."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, TypeAlias

Entry: TypeAlias = Mapping[str, Any]
Document: TypeAlias = Mapping[str, Any]


class AlreadyThere(Exception):
    """There is an item under this key; nothing was written."""


class AuditTable:
    """A DynamoDB table with partition key `item` and sort key `sort`, both text."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Entry] = {}
        self.overwritten: list[tuple[str, str]] = []
        self.meanwhile: Callable[[], object] | None = None

    def put(self, item: str, sort: str, entry: Entry) -> None:
        """Write an entry; one that is there under the same key is overwritten."""
        key = _key(item, sort)
        if key in self.rows:
            self.overwritten.append(key)
        self.rows[key] = _copy("an entry", entry)

    def insert(self, item: str, sort: str, entry: Entry) -> None:
        """Write an entry that is not there yet.

        Raises:
            AlreadyThere: there is one under this key.
        """
        key = _key(item, sort)
        if key in self.rows:
            message = f"there is an entry of {item} under {sort!r}"
            raise AlreadyThere(message)
        self.rows[key] = _copy("an entry", entry)

    def history(self, item: str) -> list[Entry]:
        """Return the entries of an item in the order of their sort keys, as a query does."""
        found = [
            entry for (owner, _), entry in sorted(self.rows.items(), key=_by_key) if owner == item
        ]
        _let_others_act(self)
        return found


def _by_key(row: tuple[tuple[str, str], Entry]) -> tuple[str, str]:
    return row[0]


def _key(item: object, sort: object) -> tuple[str, str]:
    for name, value in (("item", item), ("sort", sort)):
        if not isinstance(value, str):
            message = f"the key attribute {name} is text, got {value!r}"
            raise TypeError(message)
    return str(item), str(sort)


def _let_others_act(store: "AuditTable | SearchIndex") -> None:
    """Do what others do between this call and the next."""
    if store.meanwhile is not None:
        happens, store.meanwhile = store.meanwhile, None
        happens()


def _copy(what: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        message = f"{what} is a dictionary, got {type(value).__name__}"
        raise TypeError(message)
    return deepcopy(dict(value))


class SearchIndex:
    """An index: one document for each id. Readers do not see those with `"deleted": True`."""

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.meanwhile: Callable[[], object] | None = None

    def get(self, doc_id: str) -> Document | None:
        """Return a document as it is now; None if there is none."""
        found = deepcopy(self.documents.get(doc_id))
        _let_others_act(self)
        return found

    def put(self, doc_id: str, document: Document) -> None:
        """Write a document, over what is there."""
        self.documents[doc_id] = _copy("a document", document)

    def delete(self, doc_id: str) -> None:
        """Remove a document; that there is none is fine."""
        self.documents.pop(doc_id, None)

    def update(self, doc_id: str, script: Callable[[Document | None], Document | None]) -> None:
        """Replace a document by what `script` makes of it, inside of the index and in one step.

        `script` gets the document, or None if there is none, and returns the one to keep. If it
        returns None, nothing is changed. No one else writes this document meanwhile.
        """
        kept = script(deepcopy(self.documents.get(doc_id)))
        if kept is not None:
            self.documents[doc_id] = _copy("what a script returns", kept)
        _let_others_act(self)

    def search(self) -> dict[str, Document]:
        """Return what readers find, by id."""
        return {
            doc_id: document
            for doc_id, document in self.documents.items()
            if document.get("deleted") is not True
        }
