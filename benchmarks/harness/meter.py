"""Counts the requests, bytes and capacity units of a DynamoDB client.

DynamoDB Local reports no units for PartiQL and wrong ones for transactions, so they are counted by
the published rules: a write takes one unit for each started KB of the item, the larger of before
and after; a consistent read one for each 4 KB; a transaction twice that. A failed condition is
charged as a write. The result of an update is read back with another client.
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html)
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness.units import item_size, read_units, write_units

COUNTS = ("requests", "bytes", "write_units", "read_units")
"""The counts of `Traffic` that have a cost for each change."""

_INSERT = re.compile(r'INSERT INTO "(?P<table>[^"]+)" VALUE \{(?P<members>.*)\}')
_READS = frozenset({"GetItem", "BatchGetItem", "TransactGetItems", "Scan", "Query"})

Item = Mapping[str, Any]


@dataclass
class Traffic:
    """Counts of the sent requests.

    Attributes:
        requests: HTTP requests, including failed ones and retries.
        bytes: of their bodies.
        read_units, write_units: as AWS would charge them.
    """

    requests: int = 0
    bytes: int = 0
    read_units: float = 0.0
    write_units: float = 0.0

    def since(self, before: "Traffic") -> dict[str, float]:
        """Return the growth of each of `COUNTS`."""
        return {name: getattr(self, name) - getattr(before, name) for name in COUNTS}


@dataclass
class Meter:
    """Counts what `client` sends from now on.

    Attributes:
        client: its requests are counted.
        reader: another client of the same tables, which reads results of updates back.
    """

    client: Any
    reader: Any
    traffic: Traffic = field(default_factory=Traffic)
    _keys: dict[str, list[str]] = field(default_factory=dict)
    _large: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        events = self.client.meta.events
        events.register("before-send.dynamodb", self._sending)
        events.register("after-call.dynamodb", self._answered)
        events.register("before-parameter-build.dynamodb", self._asked)

    def _sending(self, request: Any, **others: Any) -> None:
        self.traffic.requests += 1
        self.traffic.bytes += len(request.body)

    def _asked(self, params: dict[str, Any], context: dict[str, Any], **others: Any) -> None:
        context["asked"] = dict(params)  # our clients replace what they have encoded

    def _answered(self, parsed: Item, context: Mapping[str, Any], model: Any, **_: Any) -> None:
        asked = context["asked"]
        if model.name in _READS:
            self.traffic.read_units += sum(self._read(model.name, asked, parsed))
        else:
            doubled = 2 if model.name == "TransactWriteItems" else 1
            written = sum(write_units(size) for size in self._written(model.name, asked))
            self.traffic.write_units += doubled * written

    def _read(self, operation: str, asked: Item, parsed: Item) -> Iterator[float]:
        if operation == "GetItem":
            yield read_units(item_size(parsed.get("Item", {})), asked.get("ConsistentRead", False))
            return
        if operation in ("Scan", "Query"):
            # By the page; what a filter leaves out is not counted.
            read = sum(map(item_size, parsed.get("Items", [])))
            yield read_units(read, asked.get("ConsistentRead", False))
            return
        for table, keys in asked["RequestItems"].items():
            consistent = keys.get("ConsistentRead", False)
            found = parsed.get("Responses", {}).get(table, [])
            missing = len(keys["Keys"]) - len(found)
            yield from (read_units(item_size(item), consistent) for item in found)
            yield missing * read_units(0, consistent)

    def _written(self, operation: str, asked: Item) -> Iterator[int]:
        """Yield the larger size of each item, before and after."""
        match operation:
            case "PutItem":
                yield self._put(asked["TableName"], asked["Item"])
            case "UpdateItem" | "DeleteItem":
                yield self._updated(asked["TableName"], asked["Key"])
            case "TransactWriteItems":
                for action in asked["TransactItems"]:
                    if "Put" in action:
                        yield self._put(action["Put"]["TableName"], action["Put"]["Item"])
                    elif "Update" in action:
                        yield self._updated(action["Update"]["TableName"], action["Update"]["Key"])
            case "BatchExecuteStatement":
                for statement in asked["Statements"]:
                    yield self._put(*_inserted(statement))

    def _put(self, table: str, item: Item) -> int:
        return self._larger(table, {name: item[name] for name in self._key(table)}, item)

    def _updated(self, table: str, key: Item) -> int:
        found = self.reader.get_item(TableName=table, Key=key, ConsistentRead=True)
        return self._larger(table, key, found.get("Item", {}))

    def _larger(self, table: str, key: Item, after: Item) -> int:
        name = json.dumps([table, key], sort_keys=True)
        size = item_size(after)
        before = self._large.pop(name, 0)
        if write_units(size) > 1:
            self._large[name] = size
        return max(before, size)

    def _key(self, table: str) -> list[str]:
        if table not in self._keys:
            schema = self.reader.describe_table(TableName=table)["Table"]["KeySchema"]
            self._keys[table] = [attribute["AttributeName"] for attribute in schema]
        return self._keys[table]


def _inserted(statement: Item) -> tuple[str, dict[str, Any]]:
    match = _INSERT.fullmatch(statement["Statement"])
    assert match is not None, statement["Statement"]
    names = [member.partition(":")[0].strip(" '") for member in match["members"].split(",")]
    return match["table"], dict(zip(names, statement["Parameters"], strict=True))
