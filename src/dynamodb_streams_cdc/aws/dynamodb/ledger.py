"""The ledger and the sums of the aggregation sink, on two DynamoDB tables.

Ledger rows are in the idempotency table, under `ledger/<item>`: they are the aggregation's
idempotency records. The generations of the sums are an item of that table as well, under
`generations/sums`. Sums are in the aggregates table. Each aggregate is spread over a number of
rows (shards), which a reader adds up, so that one hot aggregate is not one hot row. A transaction
picks one shard for all that it adds.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.aws.dynamodb.reads import ScanPage, read_items, scan_page
from dynamodb_streams_cdc.aws.errors import meaning, translated
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.deserializer import deserialize_item, serialize_item
from dynamodb_streams_cdc.errors import ConflictError, RetryableError
from dynamodb_streams_cdc.names import AGGREGATES_KEYS, GENERATIONS, IDEMPOTENCY_KEY, LEDGER
from dynamodb_streams_cdc.sinks.base import PurgePage
from dynamodb_streams_cdc.sinks.comparison import Place, Segment
from dynamodb_streams_cdc.sinks.contributions import MAX_ADDITIONS, RESERVED, Contribution, add
from dynamodb_streams_cdc.sinks.generations import (
    Generations,
    as_document,
    generation_of,
    of_generation,
)
from dynamodb_streams_cdc.sinks.ledger import (
    DropPage,
    LedgerPage,
    LedgerRow,
    RowUpdate,
    SumsPage,
    WriteConflict,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

FORMS: Mapping[str, str] = {
    "version": "S",
    "revision": "N",
    "contribution": "M",
    "changed_at": "N",
    "written_at": "N",
    "deleted": "BOOL",
    "retained": "BOOL",
    "generation": "N",
}
"""Data type descriptors of a ledger row's attributes."""

_OPTIONAL: Mapping[str, Mapping[str, str]] = {"generation": {"N": "0"}}
_NOTHING: Mapping[str, Any] = {
    **{"version": "", "contribution": {}, "deleted": False, "retained": False},
    **dict.fromkeys(("revision", "changed_at", "written_at", "generation"), 0),
}

_SHORT_OF_CAPACITY = frozenset({"ProvisionedThroughputExceeded", "ThrottlingError"})


@dataclass(frozen=True)
class DynamoDbLedger:
    """A `LedgerStore`.

    Attributes:
        client: client of DynamoDB.
        table: the idempotency table: partition key `id`.
        aggregates: the aggregates table: partition key `aggregate`, sort key `shard`.
        shards: number of rows that each aggregate is spread over. More may be added at any time:
            readers add up all rows.
    """

    client: "DynamoDBClient"
    table: str
    aggregates: str
    shards: int = 1

    def read(self, item_ids: Collection[str], deadline: Deadline) -> Mapping[str, LedgerRow]:
        """Return the rows that exist, by item, read consistently."""
        keys = [{IDEMPOTENCY_KEY: {"S": LEDGER + item_id}} for item_id in item_ids]
        found = read_items(self.client, self.table, keys, deadline)
        return {row.item_id: row for row in map(_row, found)}

    def commit(self, updates: Sequence[RowUpdate], deltas: Contribution) -> None:
        """Write the rows and add the deltas to the sums, all or nothing."""
        shard = str(random.randrange(self.shards))
        actions: list[Any] = [{"Put": self._put(update)} for update in updates]
        actions += [
            {"Update": self._update(aggregate, shard, measures)}
            for aggregate, measures in deltas.items()
        ]
        try:
            with translated():
                self.client.transact_write_items(TransactItems=actions)
        except self.client.exceptions.TransactionCanceledException as error:
            raise _cancelled(updates, error.response.get("CancellationReasons", [])) from error

    def purge(
        self,
        before: float,
        segment: Segment,
        place: Place | None,
        most: int,
        deadline: Deadline,
        *,
        dry_run: bool = False,
    ) -> PurgePage:
        """Delete the rows of deleted items written before then: one page of a scan.

        The filter saves the transfer of other rows, not their read units.
        """
        page = scan_page(
            self.client,
            self.table,
            segment,
            place,
            most,
            deadline,
            FilterExpression="begins_with(id, :ledger) AND deleted = :true AND retained = :false",
            ExpressionAttributeValues=serialize_item(
                {":ledger": LEDGER, ":true": True, ":false": False}
            ),
        )
        old = [row for row in map(_row, page.items) if row.written_at < before]
        purged = len(old)
        if not dry_run:
            purged = 0
            for row in old:
                deadline.check()
                purged += self.forget(row)
        return PurgePage(most, len(page.items), purged, page.following, page.units)

    def walk(
        self, segment: Segment, place: Place | None, most: int, deadline: Deadline
    ) -> LedgerPage:
        """Return the next rows of a segment: one page of a scan.

        The table also has markers and attempts, so a page may be empty.
        """
        page = scan_page(
            self.client,
            self.table,
            segment,
            place,
            most,
            deadline,
            FilterExpression="begins_with(id, :ledger)",
            ExpressionAttributeValues={":ledger": {"S": LEDGER}},
        )
        return LedgerPage([_row(item) for item in page.items], page.following, page.units)

    def sums(self, place: Place | None, most: int, deadline: Deadline) -> SumsPage:
        """Return the next rows of sums: one page of a scan."""
        page = self._scan_sums(place, most, deadline)
        rows: list[dict[str, Any]] = [deserialize_item(item) for item in page.items]
        revisions: dict[str, int] = {}
        for row in rows:
            name = row["aggregate"]
            revisions[name] = revisions.get(name, 0) + int(_numbers(row).get("revision", 0))
        sums = add({row["aggregate"]: _amounts(row)} for row in rows)
        return SumsPage(sums, revisions, page.following, page.units)

    def generations(self, deadline: Deadline) -> Generations:
        """Return the generations of the sums, read consistently."""
        deadline.check()
        with translated():
            response = self.client.get_item(
                TableName=self.table,
                Key={IDEMPOTENCY_KEY: {"S": GENERATIONS}},
                ConsistentRead=True,
            )
        return _generations(response.get("Item"))

    def set_generations(self, before: Generations, after: Generations, deadline: Deadline) -> bool:
        """Write the generations, unless `before` has moved."""
        deadline.check()
        document = {**as_document(after), "revision": before.revision + 1}
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(id)"}
        if before.revision:
            condition = {
                "ConditionExpression": "revision = :revision",
                "ExpressionAttributeValues": {":revision": {"N": str(before.revision)}},
            }
        numbers = {name: _number(value) for name, value in document.items() if value is not None}
        try:
            with translated():
                self.client.put_item(
                    TableName=self.table,
                    Item=serialize_item({IDEMPOTENCY_KEY: GENERATIONS, **numbers}),
                    **condition,
                )
        except self.client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def drop(self, generation: int, place: Place | None, most: int, deadline: Deadline) -> DropPage:
        """Remove the measures of a generation from the next rows of sums: one page of a scan."""
        page = self._scan_sums(place, most, deadline)
        dropped = 0
        for row in page.items:
            names = [n for n in row.keys() - RESERVED if generation_of(n) == generation]
            if not names:
                continue
            dropped += 1
            for at in range(0, len(names), MAX_ADDITIONS):
                some = {f"#m{i}": name for i, name in enumerate(names[at : at + MAX_ADDITIONS])}
                deadline.check()
                with translated():
                    self.client.update_item(
                        TableName=self.aggregates,
                        Key={key: row[key] for key in AGGREGATES_KEYS},
                        UpdateExpression="REMOVE " + ", ".join(some),
                        ExpressionAttributeNames=some,
                    )
        return DropPage(len(page.items), dropped, page.following, page.units)

    def _scan_sums(self, place: Place | None, most: int, deadline: Deadline) -> ScanPage:
        return scan_page(self.client, self.aggregates, Segment(), place, most, deadline)

    def forget(self, row: LedgerRow) -> bool:
        """Delete a row that has not changed; return False if it has.

        Revisions alone do not tell: they begin again when a row was deleted.
        """
        try:
            with translated():
                self.client.delete_item(
                    TableName=self.table,
                    Key={IDEMPOTENCY_KEY: {"S": LEDGER + row.item_id}},
                    **_unmoved(row),
                )
        except self.client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _put(self, update: RowUpdate) -> dict[str, Any]:
        row = update.after
        put: dict[str, Any] = {
            "TableName": self.table,
            "Item": serialize_item(
                {
                    IDEMPOTENCY_KEY: LEDGER + row.item_id,
                    "version": row.version,
                    "revision": row.revision,
                    "contribution": row.contribution,
                    "changed_at": Decimal(str(row.timestamp)),
                    "written_at": Decimal(str(round(row.written_at, 3))),
                    "deleted": row.deleted,
                    "retained": row.retained,
                    **({"generation": row.generation} if row.generation else {}),
                }
            ),
        }
        if update.before is None:
            return {**put, "ConditionExpression": "attribute_not_exists(id)"}
        return {**put, **_unmoved(update.before)}

    def _update(self, aggregate: str, shard: str, measures: Mapping[str, Any]) -> dict[str, Any]:
        names = {f"#m{i}": measure for i, measure in enumerate(measures)}
        values = {f":m{i}": amount for i, amount in enumerate(measures.values())}
        additions = ", ".join(f"#m{i} :m{i}" for i in range(len(measures)))
        return {
            "TableName": self.aggregates,
            "Key": {"aggregate": {"S": aggregate}, "shard": {"N": shard}},
            "UpdateExpression": f"ADD revision :one, {additions}",
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": serialize_item({":one": 1, **values}),
        }

    def total(self, aggregate: str) -> dict[str, Decimal]:
        """Return the measures of an aggregate, summed over its shards; empty for an unknown one.

        They are those of the live generation; see docs/how-to/rebuild-the-sums.md.
        """
        live = self.generations(Deadline()).live
        pages = self.client.get_paginator("query").paginate(
            TableName=self.aggregates,
            ConsistentRead=True,
            KeyConditionExpression="#aggregate = :aggregate",
            ExpressionAttributeNames={"#aggregate": "aggregate"},
            ExpressionAttributeValues={":aggregate": {"S": aggregate}},
        )
        rows: list[dict[str, Any]] = [deserialize_item(r) for page in pages for r in page["Items"]]
        total = add({aggregate: _amounts(row)} for row in rows)
        measures = of_generation(total, live).get(aggregate, {})
        return {name: Decimal(amount) for name, amount in measures.items()}


def _numbers(row: Mapping[str, Any]) -> dict[str, Decimal]:
    return {name: value for name, value in row.items() if isinstance(value, Decimal)}


def _amounts(row: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return the amounts of a row of sums; what another writer put there is none."""
    return {name: amount for name, amount in _numbers(row).items() if name not in RESERVED}


def _unmoved(row: LedgerRow) -> dict[str, Any]:
    """Return the condition that a row is still the one that was read."""
    conditions, values = [], {}
    held = {"version": {"S": row.version}, "revision": {"N": str(row.revision)}}
    for name, value in held.items():
        if name in row.lacks:
            conditions.append(f"NOT attribute_type(#{name}, :{name})")
            values[f":{name}"] = {"S": FORMS[name]}
        else:
            conditions.append(f"#{name} = :{name}")
            values[f":{name}"] = value
    return {
        "ConditionExpression": " AND ".join(conditions),
        "ExpressionAttributeNames": {f"#{name}": name for name in held},
        "ExpressionAttributeValues": values,
    }


def _row(attributes: Mapping[str, Any]) -> LedgerRow:
    lacks = _lacking(attributes)
    row: dict[str, Any] = deserialize_item(attributes)
    if lacks:
        row = {**row, **{name: _NOTHING[name] for name in lacks}}
    return LedgerRow(
        item_id=row[IDEMPOTENCY_KEY].removeprefix(LEDGER),
        version=row["version"],
        revision=int(row["revision"]),
        contribution=row["contribution"],
        timestamp=float(row["changed_at"]),
        written_at=float(row["written_at"]),
        deleted=row["deleted"],
        retained=row["retained"],
        generation=int(row.get("generation", 0)),
        lacks=tuple(lacks),
    )


def _lacking(attributes: Mapping[str, Any]) -> list[str]:
    """Return the names of a row's attributes that are missing, or not of their form."""
    lacks = [
        name
        for name, tag in FORMS.items()
        if tag not in attributes.get(name, _OPTIONAL.get(name, {}))
    ]
    if "contribution" not in lacks:
        for measures in attributes["contribution"]["M"].values():
            if "M" not in measures or any("N" not in each for each in measures["M"].values()):
                return [*lacks, "contribution"]
    return lacks


def _generations(attributes: Mapping[str, Any] | None) -> Generations:
    if attributes is None:
        return Generations()
    item: dict[str, Any] = deserialize_item(attributes)
    numbers = {name: int(item[name]) for name in ("base", "live", "last", "revision")}
    ends = {name: int(item[name]) for name in ("built", "dropped") if name in item}
    return Generations(**numbers, **ends, since=float(item["since"]))


def _number(value: float) -> int | Decimal:
    return value if isinstance(value, int) else Decimal(str(round(value, 3)))


def _cancelled(updates: Sequence[RowUpdate], reasons: Sequence[Any]) -> Exception:
    """Return the exception for a cancelled transaction; `reasons` are in its actions' order."""
    codes = [str(reason.get("Code", "None")) for reason in reasons]
    conflicts = [
        update.after.item_id
        for update, code in zip(updates, codes, strict=False)
        if code == "ConditionalCheckFailed"
    ]
    if conflicts:
        return WriteConflict(conflicts)
    found = [
        meaning(code, str(reason.get("Message", "")))
        for code, reason in zip(codes, reasons, strict=True)
        if code != "None"
    ]
    if any(code in _SHORT_OF_CAPACITY for code in codes):
        return ConflictError(f"the transaction was cancelled for want of capacity: {codes}")
    contended = [error for error in found if isinstance(error, ConflictError)]
    return next(iter([*contended, *found]), RetryableError("the transaction was cancelled"))
