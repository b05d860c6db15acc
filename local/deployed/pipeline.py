"""The deployed app on this machine: the services, `cdk deploy`, and a poller for the mappings.

The emulator's own poller does not behave as Lambda's (docs/explanation/event-source-mapping.md): a
process of ours takes its mappings over before the first item is written.
"""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from local.declaration import TABLES
from local.deployed.deployment import deploy, session
from local.deployed.poller_process import PollerProcess
from local.deployed.resources import Resources, stack_of
from local.services.search_cluster import SearchCluster, existing_cluster
from local.services.service import emulator, opensearch
from local.verify import DeployedCopies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

    from dynamodb_streams_cdc.entities import Table
    from local.console import DemoConsole, Stage
    from local.services.service import Service
    from local.verify import Http

ENVIRONMENT = "local"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The deployed app, the processes that run it, and readers of its copies.

    Attributes:
        aws: the emulator.
        search: the cluster that search writes to.
        node: the OpenSearch that was started for it; None in an existing cluster.
        poller: runs the event source mappings.
        client: of DynamoDB.
        tables: the deployed tables and their copies, in the order of the declaration.
    """

    aws: Service
    search: SearchCluster
    node: Service | None
    poller: PollerProcess
    client: DynamoDBClient
    tables: tuple[DeployedCopies, ...]

    @property
    def names(self) -> dict[str, str]:
        """Physical names of the tables by logical name."""
        return {each.table.name: each.resources.source for each in self.tables}

    @property
    def functions(self) -> list[str]:
        """Names of the processors' functions."""
        return [name for each in self.tables for name in each.resources.functions.values()]


@contextmanager
def running_pipeline(
    console: DemoConsole,
    search_url: str | None = None,
    faults: Sequence[str] = (),
) -> Iterator[Pipeline]:
    """Services started and the app deployed on entry, everything removed on exit.

    `faults` are options of `local.deployed.poller_process`.

    Raises:
        ServiceError: A service did not start, or the deployment failed.
    """
    with ExitStack() as stack:
        existing = search_url and stack.enter_context(existing_cluster(search_url, console.line))
        with console.stage("Starting the services") as stage:
            if existing:
                [aws], search, node = _start(stack, stage, emulator), existing, None
            else:
                aws, node = _start(stack, stage, emulator, opensearch)
                search = SearchCluster(node.url)
            stage.outcome = f"Services up: AWS emulator at {aws.url}, OpenSearch at {search.url}"
        with console.stage("Deploying the app") as stage:
            settings = {"index_prefix": search.index_prefix}
            outputs = deploy(aws.url, search.url, stage.say, settings=settings)
            stacks = [stack_of(f"cdc-{ENVIRONMENT}", table) for table in TABLES]
            resources = [
                Resources.of(table, stack, outputs.get(stack, {}))
                for table, stack in zip(TABLES, stacks, strict=True)
            ]
            count = sum(len(each.functions) for each in resources)
            stage.outcome = f"App deployed: {count} functions on streams"
        with console.stage("Taking over the event source mappings") as stage:
            poller = stack.enter_context(PollerProcess(aws.url, faults=faults))
            stage.outcome = (
                f"Event source mappings taken over: {poller.mappings}, run by process"
                f" {poller.pid} as Lambda would"
            )
        made = session(aws.url)
        client: DynamoDBClient = made.client("dynamodb")
        stack.callback(client.close)
        s3: S3Client = made.client("s3")
        stack.callback(s3.close)
        tables = tuple(copies_of(client, s3, *each) for each in zip(TABLES, resources, strict=True))
        yield Pipeline(aws, search, node, poller, client, tables)


def copies_of(
    client: DynamoDBClient,
    s3: S3Client,
    table: Table,
    resources: Resources,
    http: Http | None = None,
) -> DeployedCopies:
    """Return a table and its copies; without `http`, requests to OpenSearch are not signed."""
    bucket = resources.large_images
    images = partial(_object, s3, bucket) if bucket else None
    return DeployedCopies(client, table, resources, image_store=images, http=http)


def _object(client: S3Client, bucket: str, key: str) -> bytes:
    return client.get_object(Bucket=bucket, Key=key)["Body"].read()


def _start(
    stack: ExitStack,
    stage: Stage,
    *kinds: Callable[..., Service],
) -> list[Service]:
    """Start services at the same time; the stack ends those that started, even if one fails."""
    cancelled = threading.Event()

    def progress(sentence: str) -> None:
        if cancelled.is_set():
            # This service is closed as its own start is left.
            raise _CancelledError
        stage.say(sentence)

    def start(kind: Callable[..., Service]) -> Service:
        return stack.enter_context(kind(progress=progress))

    with ThreadPoolExecutor(len(kinds), thread_name_prefix="service") as pool:
        try:
            starting = [pool.submit(start, kind) for kind in kinds]
            for failed in wait(starting, return_when=FIRST_EXCEPTION).done:
                failed.result()
        except BaseException:
            cancelled.set()
            raise
    return [each.result() for each in starting]


class _CancelledError(Exception):
    """Another service failed, or the person interrupted."""
