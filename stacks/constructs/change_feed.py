"""The changes of one table, and who reads them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from stacks.constructs.change_table import ChangeTable
from stacks.errors import SynthError

# Named in "Reading and processing a stream" of the DynamoDB developer guide:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
READERS_PER_SHARD = 2
READERS_PER_SHARD_OF_A_GLOBAL_TABLE = 1

FeedKind = Literal["table", "change-log"]


class TooManyReadersError(SynthError):
    """A stream has more readers than DynamoDB serves without throttling them."""


class ChangeFeed:
    """A stream with its readers counted.

    `kind` tells a processor what it reads: the changes of the table itself, or the entries of a
    change log.
    """

    def __init__(
        self,
        table: ChangeTable,
        *,
        kind: FeedKind,
        filters: Sequence[Mapping[str, Any]] = (),
        global_table: bool = False,
    ) -> None:
        if table.stream_arn is None:
            message = f"{table.node.path} has no stream: give the table one (stream=...)."
            raise SynthError(message)
        self.table = table
        self.stream_arn: str = table.stream_arn
        self.kind: FeedKind = kind
        self.filters = filters
        self.readers: list[str] = []
        self._path = table.node.path
        self._limit = READERS_PER_SHARD_OF_A_GLOBAL_TABLE if global_table else READERS_PER_SHARD

    def add_reader(self, name: str, role: iam.IGrantable) -> None:
        """Let a processor read the stream.

        Raises:
            TooManyReadersError: if the stream already has all the readers that it can serve.

        """
        if len(self.readers) >= self._limit:
            message = (
                f"{name} cannot read the stream of {self._path}: {' and '.join(self.readers)} "
                f"already do, and DynamoDB serves {READERS_PER_SHARD} readers per shard "
                f"({READERS_PER_SHARD_OF_A_GLOBAL_TABLE} for a global table) before it throttles "
                "them; let it read the change log's stream, or fan out through Kinesis Data "
                "Streams or EventBridge Pipes."
            )
            raise TooManyReadersError(message)
        self.readers.append(name)
        iam.Grant.add_to_principal(
            grantee=role,
            actions=[
                "dynamodb:DescribeStream",
                "dynamodb:GetRecords",
                "dynamodb:GetShardIterator",
                "dynamodb:ListStreams",
            ],
            resource_arns=[self.stream_arn],
        )


def inserts_only() -> Mapping[str, Any]:
    """A filter for the stream of an append-only table, where nothing else is a change."""
    return lambda_.FilterCriteria.filter({"eventName": lambda_.FilterRule.is_equal("INSERT")})
