"""The copies of a deployed example domain, as its own checker reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.verify import DeployedCopies


class ExampleCopies:
    """Reads the table, its copies, and both indexes."""

    def __init__(self, copies: DeployedCopies) -> None:
        self._copies = copies

    def orders(self) -> Iterator[dict[str, Any]]:
        return (image for _, image in self._copies.items())

    def aggregates(self) -> Iterator[dict[str, Any]]:
        return self._copies.aggregates()

    def ledger(self) -> Iterator[tuple[str, Any]]:
        for item, row in self._copies.ledger():
            if not row.get("deleted"):
                yield item, row["contribution"]

    def entries(self) -> Iterator[dict[str, Any]]:
        return self._copies.entries()

    def documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for index in self._copies.resources.indexes:
            yield from self._copies.documents(index)

    def document_count(self) -> int:
        return sum(map(self._copies.document_count, self._copies.resources.indexes))
