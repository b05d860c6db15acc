"""The changes of one table, and who reads them."""

from typing import TYPE_CHECKING, Literal

from aws_cdk import aws_iam as iam

from stacks.errors import SynthError
from stacks.settings.tables import READERS_PER_SHARD, READERS_PER_SHARD_OF_A_GLOBAL_TABLE

if TYPE_CHECKING:
    from stacks.constructs.source_table import SourceTable

FeedKind = Literal["table", "change-log"]


class TooManyReadersError(SynthError):
    """A stream has more readers than DynamoDB serves without throttling them."""


class ChangeFeed:
    """A stream with its readers counted.

    `kind` tells a processor what it reads: the changes of the table itself, or the entries of a
    change log. `readers` is the number of processors that it serves, less those of other programs.
    """

    def __init__(
        self,
        table: "SourceTable",
        *,
        kind: FeedKind,
        readers: int = READERS_PER_SHARD,
    ) -> None:
        if table.stream_arn is None:
            message = f"{table.node.path} has no stream: give the table one (stream=...)."
            raise SynthError(message)
        self.table = table
        self.stream_arn: str = table.stream_arn
        self.kind: FeedKind = kind
        self.readers: list[str] = []
        self._path = table.node.path
        self.limit = readers

    def add_reader(self, name: str, role: iam.IGrantable) -> None:
        """Let a processor read the stream.

        Raises:
            TooManyReadersError: if the stream already has all the readers that it can serve.

        """
        if len(self.readers) >= self.limit:
            already = f"{' and '.join(self.readers)} already do, and " if self.readers else ""
            message = (
                f"{name} cannot read the stream of {self._path}: {already}it serves {self.limit} "
                f"of this app's processors (DynamoDB serves {READERS_PER_SHARD} readers per shard, "
                f"{READERS_PER_SHARD_OF_A_GLOBAL_TABLE} for a global table, before it throttles "
                "them); let it read the change log's stream, or fan out through Kinesis Data "
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
