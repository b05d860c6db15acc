"""Which stream each processor reads, and which of its records reach the function.

A stream of DynamoDB serves two readers per shard, one if the table is a global table
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html). The change log has
a stream of its own with every change of the audited entities, so a processor whose entities are all
audited can read either.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dynamodb_streams_cdc.entities import AUDIT, SEARCH, Entity, KeyPattern, Table, exactly
from dynamodb_streams_cdc.esm.filters import FILTER_QUOTA, LONGEST_PATTERN
from dynamodb_streams_cdc.names import CANARY
from stacks.constructs.change_feed import FeedKind, TooManyReadersError
from stacks.settings.tables import READERS_PER_SHARD


def plan(table: Table, sinks: Sequence[str], readers: int) -> dict[str, FeedKind]:
    """Return the stream that each sink's processor reads.

    Audit reads the table's stream, because it writes the change log. Search reads the change log's
    if it can: a log with every version can rebuild an index. The others read the table's stream
    while it serves another reader.

    Args:
        table: the declaration.
        sinks: those that the table's entities use.
        readers: number of processors that the table's stream serves.

    Raises:
        TooManyReadersError: the streams cannot serve all.
    """
    movable = [sink for sink in sinks if sink != AUDIT and _is_audited(table, sink)]
    fixed = [sink for sink in sinks if sink not in movable]
    if len(fixed) > readers:
        raise TooManyReadersError(_too_many(table, fixed, readers))
    feeds: dict[str, FeedKind] = dict.fromkeys(fixed, "table")
    for sink in sorted(movable, key=lambda sink: sink == SEARCH):
        has_room = sink != SEARCH and list(feeds.values()).count("table") < readers
        feeds[sink] = "table" if has_room else "change-log"
    behind = [sink for sink, feed in feeds.items() if feed == "change-log"]
    if len(behind) > READERS_PER_SHARD:
        message = (
            f"Table {table.name!r}: {', '.join(behind)} would all read the change log's stream, "
            f"which serves {READERS_PER_SHARD} readers per shard: let one function apply two of "
            "them, or fan out through Kinesis Data Streams or EventBridge Pipes."
        )
        raise TooManyReadersError(message)
    return feeds


def _is_audited(table: Table, sink: str) -> bool:
    return all(entity.audited for entity in table.using(sink))


def _too_many(table: Table, fixed: Sequence[str], readers: int) -> str:
    unaudited = sorted({e.name for sink in fixed for e in table.using(sink) if not e.audited})
    advice = (
        f"audit {', '.join(unaudited)}, so that the others can read the change log's stream"
        if unaudited
        else "remove another reader of the stream, or fan out through Kinesis Data Streams"
    )
    return (
        f"Table {table.name!r}: {' and '.join(fixed)} must read its stream, which serves {readers} "
        f"of this app's processors per shard: {advice}."
    )


def patterns(table: Table, sink: str, kind: FeedKind) -> list[dict[str, Any]]:
    """Return the filter patterns of a sink's mapping; empty if every record is wanted.

    A pattern is over the item's keys, and one lets the canary pass. With more patterns than a
    mapping may have, or a longer one, the function gets every record and skips those that it does
    not need.
    """
    wanted = table.using(sink)
    if kind == "table":
        if table.unknown == "dead-letter" or _covers(table.entities, wanted):
            return []
        return _allowed(_over(table, wanted, ("Keys",)))
    inserts = {"eventName": ["INSERT"]}
    if len(wanted) == len(table.using(AUDIT)):
        return [inserts]
    found = _over(table, wanted, ("NewImage", "keys", "M"))
    return _allowed([{**inserts, **pattern} for pattern in found]) or [inserts]


def _allowed(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the patterns, or none if a mapping may not have that many or that long ones."""
    fits = all(len(json.dumps(pattern)) <= LONGEST_PATTERN for pattern in found)
    return found if fits and len(found) <= FILTER_QUOTA else []


def _covers(entities: Sequence[Entity], wanted: Sequence[Entity]) -> bool:
    """Return whether the wanted entities are all, and their keys fit every item."""
    if len(wanted) != len(entities):
        return False
    if any(not entity.keys for entity in wanted):
        return True
    attributes = {name for entity in wanted for name in entity.keys}
    if len(attributes) > 1:
        return False
    found = [pattern for entity in wanted for pattern in entity.keys.values()]
    excluded = [set(p.values) for p in found if p.kind == "anything-but"]
    included = {value for p in found if p.kind == "exactly" for value in p.values}
    return any(values <= included for values in excluded)


def _over(table: Table, wanted: Iterable[Entity], path: Sequence[str]) -> list[dict[str, Any]]:
    """Return patterns over the keys at `path`; one if all are over the same attribute."""
    alternatives = [dict(entity.keys) for entity in wanted]
    if not all(alternatives):
        return []  # an entity of any key: nothing can be excluded
    attributes = {tuple(keys) for keys in alternatives}
    canary = _key_of_the_canary(table, preferred={name for names in attributes for name in names})
    if attributes == {(canary,)}:
        rules = [rule for keys in alternatives for rule in keys[canary].rules]
        found = [{canary: {"S": [*rules, CANARY]}}]
    else:
        found = [_typed(keys) for keys in (*alternatives, {canary: exactly(CANARY)})]
    return [{"dynamodb": _nested(path, keys)} for keys in found]


def _key_of_the_canary(table: Table, preferred: set[str]) -> str:
    """Return the text key by which the canary is recognised.

    There is one: entities have patterns, and patterns are of text keys.
    """
    texts = [name for name, kind in table.keys.items() if kind == "S"]
    return next((name for name in texts if name in preferred), texts[0])


def _typed(keys: Mapping[str, KeyPattern]) -> dict[str, Any]:
    return {name: {"S": pattern.rules} for name, pattern in keys.items()}


def _nested(path: Sequence[str], keys: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = dict(keys)
    for name in reversed(path):
        found = {name: found}
    return found
