"""The change log on a DynamoDB table, which the function can only add to.

Entries are written with PartiQL `INSERT`, which refuses an entry that is there: of all that writes
the role holds `dynamodb:PartiQLInsert` alone, so the log is append-only by IAM.
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-iam.html)
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.aws.dynamodb.reads import scan_page
from dynamodb_streams_cdc.aws.errors import meaning, translated
from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import DeadlineExceeded, RetryableError
from dynamodb_streams_cdc.sinks.change_log import Inserted, LogPage
from dynamodb_streams_cdc.sinks.comparison import Place, Segment
from dynamodb_streams_cdc.sinks.log_entries import Entry, kind_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BATCH_STATEMENTS = 25
"""The most statements of one request
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchExecuteStatement.html)."""

PARALLEL = 4
"""Requests under way at one time: those of a batch of 100, which wait for DynamoDB together."""


@dataclass(frozen=True)
class DynamoDbLog:
    """A `LogStore`.

    Attributes:
        client: of DynamoDB.
        table: partition key `item`, sort key `version`, both text.
    """

    client: "DynamoDBClient"
    table: str

    def insert(self, entries: Sequence[Entry], deadline: Deadline) -> Sequence[Inserted]:
        """Write entries that are not there, 25 a request; return each result, in order."""
        starts = range(0, len(entries), BATCH_STATEMENTS)
        requests = [entries[start : start + BATCH_STATEMENTS] for start in starts]
        with ThreadPoolExecutor(PARALLEL) as pool:
            answers = pool.map(partial(self._insert, deadline), requests)
            return [inserted for of_request in answers for inserted in of_request]

    def _insert(self, deadline: Deadline, entries: Sequence[Entry]) -> Sequence[Inserted]:
        statements = [self.statement(entry) for entry in entries]
        try:
            deadline.check()
            with translated():
                response = self.client.batch_execute_statement(Statements=statements)
        except (RetryableError, DeadlineExceeded) as error:
            return [error] * len(entries)
        return [_inserted(answer) for answer in response["Responses"]]

    def statement(self, entry: Entry) -> Any:
        """Return the statement that inserts an entry, as BatchExecuteStatement takes it."""
        members = ", ".join(f"'{name}': ?" for name in entry)
        return {
            "Statement": f'INSERT INTO "{self.table}" VALUE {{{members}}}',
            "Parameters": list(entry.values()),
        }

    def read(self, item_id: str) -> Iterable[Attributes]:
        """Return the entries of an item in the order of their versions, read consistently."""
        pages = self.client.get_paginator("query").paginate(
            TableName=self.table,
            ConsistentRead=True,
            KeyConditionExpression="#item = :item",
            ExpressionAttributeNames={"#item": "item"},
            ExpressionAttributeValues={":item": {"S": item_id}},
        )
        for page in pages:
            yield from page["Items"]

    def newest(self, item_ids: Collection[str], deadline: Deadline) -> Mapping[str, Attributes]:
        """Return the newest entry of each item that has any: a query for each, several at once."""
        ids = list(item_ids)
        with ThreadPoolExecutor(PARALLEL) as pool:
            found = pool.map(partial(self._newest, deadline), ids)
            return {item_id: entry for item_id, entry in zip(ids, found, strict=True) if entry}

    def _newest(self, deadline: Deadline, item_id: str) -> Attributes | None:
        deadline.check()
        with translated():
            page = self.client.query(
                TableName=self.table,
                ConsistentRead=True,
                KeyConditionExpression="#item = :item",
                ExpressionAttributeNames={"#item": "item"},
                ExpressionAttributeValues={":item": {"S": item_id}},
                ScanIndexForward=False,
                Limit=1,
            )
        return next(iter(page["Items"]), None)

    def walk(self, segment: Segment, place: Place | None, most: int, deadline: Deadline) -> LogPage:
        """Return the next items of a segment: one page of a scan; it has an item's in order."""
        page = scan_page(
            self.client,
            self.table,
            segment,
            place,
            most,
            deadline,
            ProjectionExpression="#item, #kind",
            ExpressionAttributeNames={"#item": "item", "#kind": "kind"},
        )
        newest = {entry["item"]["S"]: kind_of(entry) for entry in page.items}
        return LogPage(newest, page.following, len(page.items), page.units)


def _inserted(answer: Mapping[str, Any]) -> Inserted:
    error = answer.get("Error")
    if error is None:
        return True
    if error.get("Code") == "DuplicateItem":
        return False
    return meaning(str(error.get("Code")), str(error.get("Message")))
