"""A deployed pipeline, found by the manifest in its stack's outputs, or in a file."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from dynamodb_streams_cdc.aws.errors import require_request_id
from dynamodb_streams_cdc.names import ERASURE, MANIFEST
from dynamodb_streams_cdc.operations.aws.access import AccessDenied, code_of, permitted
from dynamodb_streams_cdc.operations.aws.dead_letter_store import S3DeadLetterStore
from dynamodb_streams_cdc.operations.aws.functions import CLIENT as INVOKING
from dynamodb_streams_cdc.operations.aws.functions import LambdaFunctions
from dynamodb_streams_cdc.operations.aws.notifications import SqsNotificationQueue
from dynamodb_streams_cdc.operations.aws.runs import StateMachineRuns
from dynamodb_streams_cdc.operations.dead_letter_store import DeployedNames
from dynamodb_streams_cdc.operations.endpoint import problem_of
from dynamodb_streams_cdc.operations.errors import OperationError, UsageError
from dynamodb_streams_cdc.operations.manifest import Manifest
from dynamodb_streams_cdc.operations.remote_walk import READERS as READERS_OF_ANSWERS

READERS = 16
"""Threads that read dead letters concurrently."""

ASKING = Config(
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=READERS,
    retries={"mode": "standard", "total_max_attempts": 3},
)

ENDPOINT = "AWS_ENDPOINT_URL"
_SERVICES = (
    *("CLOUDFORMATION", "CLOUDWATCH", "DYNAMODB", "DYNAMODB_STREAMS", "LAMBDA", "S3", "SFN", "SQS"),
)


@dataclass(frozen=True)
class Deployment:
    """The manifest of a pipeline, and boto3 clients that reach its resources.

    Attributes:
        stack: name of its stack, or of the file with its manifest.
        endpoint_url: endpoint of all services; None for the endpoints that boto3 is configured for.
    """

    session: boto3.Session
    stack: str
    manifest: Manifest
    endpoint_url: str | None = None

    @classmethod
    def find(
        cls,
        environment: str,
        stack: str | None,
        endpoint_url: str | None,
        manifest: str | None = None,
    ) -> "Deployment":
        """Return the pipeline of a manifest's file, of a stack, or of an environment that has one.

        Raises:
            OperationError: there is no such stack, or it has no manifest.
            UsageError: an endpoint is malformed, the file cannot be read, a stack is named too, or
                the environment has several pipelines.
            AccessDenied: the credentials may not describe the stack.
        """
        _check_endpoints(endpoint_url)
        # boto3 knows AWS_DEFAULT_REGION only; the AWS CLI knows both.
        session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
        if manifest is not None:
            if stack is not None:
                message = f"--stack {stack} and --manifest {manifest}: give only one of them."
                raise UsageError(message)
            return cls(session, manifest, _read(Path(manifest)), endpoint_url)
        client = _client(session, "cloudformation", ASKING, endpoint_url)
        name = f"cdc-{environment}-pipeline" if stack is None else stack
        outputs = _outputs_of(client, name)
        if outputs is None and stack is None:
            others = _pipelines_of(client, environment)
            if len(others) > 1:
                raise UsageError(_several(environment, tuple(others)))
            name, outputs = next(iter(others.items()), (name, None))
        if outputs is None:
            where = endpoint_url or f"region {client.meta.region_name}"
            message = (
                f"There is no stack {name} in {where}: deploy it, or choose another with "
                "--environment or --stack."
            )
            raise OperationError(message)
        found = Manifest.of(name, outputs)
        if stack is None and len(found.pipelines) > 1:
            raise UsageError(_several(environment, found.pipelines))
        return cls(session, name, found, endpoint_url)

    def client(self, service: str, config: Config = ASKING) -> Any:
        """Return a boto3 client."""
        return _client(self.session, service, config, self.endpoint_url)

    @property
    def short_name(self) -> str:
        """Name of the stack, or of the manifest's file, for jobs and reports."""
        return Path(self.stack).stem

    @cached_property
    def names(self) -> DeployedNames:
        """Processors by function name, and logical names of source tables by physical name."""
        return DeployedNames(
            processors={name: processor for processor, name in self.manifest.functions.items()},
            tables={each.table: each.name for each in self.manifest.source_tables},
        )

    @cached_property
    def store(self) -> S3DeadLetterStore:
        """Dead letters of the two buckets."""
        return S3DeadLetterStore(
            self.client("s3"),
            bucket=self.manifest.bucket("dead_letters"),
            on_failure_bucket=self.manifest.bucket("on_failure"),
        )

    @cached_property
    def functions(self) -> LambdaFunctions:
        """Functions of the processors."""
        return LambdaFunctions(self.client("lambda", INVOKING), self.manifest.functions)

    @cached_property
    def erasure(self) -> LambdaFunctions:
        """The function that erases.

        Raises:
            OperationError: the manifest names none.
        """
        if not self.manifest.erasure:
            message = f"{self.stack} has no function that erases: deploy the pipeline again."
            raise OperationError(message)
        names = {ERASURE: self.manifest.erasure}
        return LambdaFunctions(self.client("lambda", INVOKING), names)

    def runs(self) -> StateMachineRuns:
        """Return the executions of the state machine of the maintenance.

        Raises:
            OperationError: the pipeline has none.
        """
        found = self.manifest.maintenance
        if found is None:
            message = (
                f"{self.stack} has no state machine to run it: deploy it with the setting "
                "maintenance, or leave --on out."
            )
            raise OperationError(message)
        return StateMachineRuns(
            self.client("stepfunctions"),
            self.client("s3", ASKING.merge(Config(max_pool_connections=READERS_OF_ANSWERS))),
            found.state_machine,
            self.manifest.bucket("runs"),
            self.manifest.functions,
        )

    def notification_queues(self) -> dict[str, SqsNotificationQueue]:
        """Return the notification queues by processor."""
        client = self.client("sqs")
        return {
            each.name: SqsNotificationQueue(client, each.dead_letter_queue)
            for each in self.manifest.processors
        }


def _outputs_of(client: Any, stack: str) -> dict[str, str] | None:
    """Return the outputs of a stack by key; None if there is no such stack."""
    try:
        with permitted("cloudformation:DescribeStacks", f"stack {stack}"):
            [described] = client.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if code_of(error) != "ValidationError":
            raise
        return None
    return _outputs(described)


def _pipelines_of(client: Any, environment: str) -> dict[str, dict[str, str]]:
    """Return the outputs of an environment's pipelines by stack; none without the permission."""
    found: dict[str, dict[str, str]] = {}
    try:
        with permitted("cloudformation:DescribeStacks", "all stacks"):
            for page in client.get_paginator("describe_stacks").paginate():
                found |= {each["StackName"]: _outputs(each) for each in page["Stacks"]}
    except AccessDenied:
        return {}
    prefix = f"cdc-{environment}-pipeline"
    return {
        n: outputs for n, outputs in found.items() if n.startswith(prefix) and MANIFEST in outputs
    }


def _outputs(described: Mapping[str, Any]) -> dict[str, str]:
    return {each["OutputKey"]: each["OutputValue"] for each in described.get("Outputs", ())}


def _several(environment: str, pipelines: Sequence[str]) -> str:
    return (
        f"Environment {environment} has {len(pipelines)} pipelines: choose one of "
        f"{', '.join(sorted(pipelines))} with --stack."
    )


def _read(path: Path) -> Manifest:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"--manifest: {path} cannot be read ({error}): name a file with JSON."
        raise UsageError(message) from error
    return Manifest.parse(text, f"The file {path}")


def _client(session: boto3.Session, service: str, config: Config, endpoint_url: str | None) -> Any:
    make: Any = session.client
    endpoint = endpoint_url or os.environ.get(ENDPOINT)
    if endpoint and (urlsplit(endpoint).hostname or "") in ("127.0.0.1", "localhost", "::1"):
        # On this machine: through no proxy, and with the bucket's name in the path.
        config = config.merge(Config(proxies={}, s3={"addressing_style": "path"}))
    try:
        client = make(service, endpoint_url=endpoint_url, config=config)
    except ValueError as error:
        message = f"{error}: see --endpoint-url and AWS_ENDPOINT_URL."
        raise OperationError(message) from error
    client.meta.events.register("before-parse", require_request_id)
    return client


def _check_endpoints(option: str | None) -> None:
    """Refuse malformed endpoints, from the option and from boto3's environment variables."""
    variables = (ENDPOINT, *(f"{ENDPOINT}_{service}" for service in _SERVICES))
    given = {name: os.environ.get(name) or None for name in variables}
    for name, url in {**given, "--endpoint-url": option}.items():
        if url is not None and (problem := problem_of(url)):
            message = f"{name}: {problem}."
            raise UsageError(message)
