"""Read items by their keys, no more at one time than a function of 512 MB can hold.

An item of 400 KB takes up to 13 MB as dictionaries of Python: a hundred of them would be more than
a gigabyte. A slice begins with few items and grows while they are small.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.deserializer import base64_text
from dynamodb_streams_cdc.sinks.base import WholeTable

AT_FIRST = 10
AT_MOST = 100
"""Keys of a BatchGetItem
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html)."""
HELD_BYTES = 4_000_000
"""Of a slice, as JSON: ten items of the largest size."""


@dataclass
class Slices:
    """Reads items of a table; the next slice is as large as the items of the last one allow.

    Attributes:
        units: read capacity units that it consumed: one for every 4 KB of an item, and one for no
            item
            (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html).
    """

    table: WholeTable
    deadline: Deadline
    units: float = 0.0
    at_once: int = AT_FIRST

    def read(
        self, keys: Sequence[Attributes]
    ) -> Iterator[list[tuple[Attributes, Attributes | None]]]:
        """Yield slices of the keys in their order, each key with its item; None for no item."""
        start = 0
        while start < len(keys):
            some = keys[start : start + self.at_once]
            found = self.table.read_many(some, self.deadline)
            sizes = list(map(_size, found))
            self.units += sum(max(1, ceil(size / 4096)) for size in sizes)
            yield list(zip(some, found, strict=True))
            start += len(some)
            fitting = HELD_BYTES // max(1, sum(sizes) // len(sizes))
            # Twice as many: the items that follow may be larger than those so far.
            self.at_once = min(AT_MOST, max(1, fitting), 2 * len(some))

    def items(self, keys: Sequence[Attributes]) -> Iterator[Attributes | None]:
        """Yield the item of each key, None for no item; a slice of them is held at one time."""
        for some in self.read(keys):
            for _, item in some:
                yield item


def _size(item: Attributes | None) -> int:
    return 0 if item is None else len(json.dumps(item, default=base64_text))
