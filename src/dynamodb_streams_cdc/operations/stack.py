"""A deployed pipeline, found by the outputs of its stack."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from dynamodb_streams_cdc.cli.errors import CommandError, misused
from dynamodb_streams_cdc.operations.aws.access import code_of, permitted
from dynamodb_streams_cdc.operations.aws.dead_letter_store import S3DeadLetterStore
from dynamodb_streams_cdc.operations.aws.functions import CLIENT as INVOKING
from dynamodb_streams_cdc.operations.aws.functions import LambdaFunctions
from dynamodb_streams_cdc.operations.aws.notifications import SqsNotificationQueue
from dynamodb_streams_cdc.operations.dead_letter_store import Names
from dynamodb_streams_cdc.operations.endpoint import problem_of

READERS = 16
"""How many dead letters are read at once."""

ASKING = Config(
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=READERS,
    retries={"mode": "standard", "total_max_attempts": 3},
)

ENDPOINT = "AWS_ENDPOINT_URL"
_SERVICES = ("CLOUDFORMATION", "DYNAMODB", "LAMBDA", "S3", "SQS")

_FUNCTION, _QUEUE, _TABLE = "FunctionName", "DeadLetterQueueUrl", "TableName"
_COPIES = frozenset({"ChangeLog", "Aggregates", "Idempotency"})


@dataclass(frozen=True)
class Deployment:
    """The outputs of a pipeline's stack, and clients that reach what they name.

    Attributes:
        endpoint_url: of everything; None for the endpoints that boto3 knows.
    """

    session: boto3.Session
    stack: str
    outputs: Mapping[str, str]
    endpoint_url: str | None = None

    @classmethod
    def find(cls, environment: str, stack: str | None, endpoint_url: str | None) -> "Deployment":
        """Return what is deployed.

        Raises:
            CommandError: there is no such stack.
            AccessDenied: nobody may ask for it.
        """
        name = f"cdc-{environment}-pipeline" if stack is None else stack
        _check_endpoints(endpoint_url)
        # boto3 knows AWS_DEFAULT_REGION only; the AWS CLI knows both.
        session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
        found = cls(session, name, {}, endpoint_url)
        client = found.client("cloudformation")
        try:
            with permitted("cloudformation:DescribeStacks", f"stack {name}"):
                [described] = client.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if code_of(error) != "ValidationError":
                raise
            where = endpoint_url or f"region {client.meta.region_name}"
            message = (
                f"There is no stack {name} in {where}: deploy it, or choose another with "
                "--environment or --stack."
            )
            raise CommandError(message) from error
        outputs = {each["OutputKey"]: each["OutputValue"] for each in described.get("Outputs", ())}
        return replace(found, outputs=outputs)

    def client(self, service: str, config: Config = ASKING) -> Any:
        """Return a boto3 client."""
        make: Any = self.session.client
        endpoint = self.endpoint_url or os.environ.get(ENDPOINT)
        if endpoint and (urlsplit(endpoint).hostname or "") in ("127.0.0.1", "localhost", "::1"):
            # On this machine: through no proxy, and without the bucket's name as a host's.
            config = config.merge(Config(proxies={}, s3={"addressing_style": "path"}))
        try:
            return make(service, endpoint_url=self.endpoint_url, config=config)
        except ValueError as error:
            message = f"{error}: see --endpoint-url and AWS_ENDPOINT_URL."
            raise CommandError(message) from error

    def output(self, name: str) -> str:
        """Return an output of the stack.

        Raises:
            CommandError: the stack has none of this name.
        """
        if name not in self.outputs:
            message = f"Stack {self.stack} has no output {name}: deploy the pipeline again."
            raise CommandError(message)
        return self.outputs[name]

    @cached_property
    def names(self) -> Names:
        """The names of what is deployed; a processor's is its part of an output's, in lower case.

        So `SearchFunctionName` is that of processor `search`, and `OrdersTableName` that of table
        `orders`.
        """
        return Names(
            processors={value: name for name, value in self._named(_FUNCTION).items()},
            tables={value: name for name, value in self._named(_TABLE).items()},
        )

    @property
    def source_tables(self) -> list[str]:
        """The logical names of tables that are no copies."""
        return [
            name.removesuffix(_TABLE).lower()
            for name in self.outputs
            if name.endswith(_TABLE) and name.removesuffix(_TABLE) not in _COPIES
        ]

    @cached_property
    def box(self) -> S3DeadLetterStore:
        """The dead letters."""
        return S3DeadLetterStore(
            self.client("s3"),
            bucket=self.output("DeadLetterBucketName"),
            on_failure_bucket=self.output("OnFailureBucketName"),
        )

    @cached_property
    def functions(self) -> LambdaFunctions:
        """The functions of the processors."""
        return LambdaFunctions(self.client("lambda", INVOKING), self._named(_FUNCTION))

    def notification_queues(self) -> dict[str, SqsNotificationQueue]:
        """Return the notification queues by processor."""
        client = self.client("sqs")
        return {
            name: SqsNotificationQueue(client, url) for name, url in self._named(_QUEUE).items()
        }

    def _named(self, suffix: str) -> dict[str, str]:
        return {
            name.removesuffix(suffix).lower(): value
            for name, value in self.outputs.items()
            if name.endswith(suffix)
        }


def _check_endpoints(option: str | None) -> None:
    """Refuse what is no endpoint: the option's, and those of boto3's variables."""
    variables = (ENDPOINT, *(f"{ENDPOINT}_{service}" for service in _SERVICES))
    given = {name: os.environ.get(name) or None for name in variables}
    for name, url in {**given, "--endpoint-url": option}.items():
        if url is not None and (problem := problem_of(url)):
            misused(f"{name}: {problem}.")
