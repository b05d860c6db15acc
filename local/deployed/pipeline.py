"""The deployed app on this machine: the services, `cdk deploy`, and a poller for the mappings.

The emulator's own poller does not behave as Lambda's (docs/explanation/event-source-mapping.md): a
process of ours takes its mappings over before the first order is written.
"""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from local.deployed.deployment import deploy, session
from local.deployed.poller_process import PollerProcess
from local.deployed.resources import Resources
from local.services.search_cluster import SearchCluster, existing_cluster
from local.services.service import emulator, opensearch
from local.verify import DeployedCopies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

    from local.console import DemoConsole, Stage
    from local.services.service import Service
    from local.verify import Http


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The deployed app, the processes that run it, and readers of its copies.

    Attributes:
        aws: the emulator.
        search: the cluster that search writes to.
        node: the OpenSearch that was started for it; None in an existing cluster.
        poller: runs the event source mappings.
        resources: names of the deployed tables, functions, buckets and queues.
        client: of DynamoDB.
        copies: the table and its copies, for the checker.
    """

    aws: Service
    search: SearchCluster
    node: Service | None
    poller: PollerProcess
    resources: Resources
    client: DynamoDBClient
    copies: DeployedCopies


@contextmanager
def running_pipeline(
    console: DemoConsole, search_url: str | None = None, faults: Sequence[str] = ()
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
            resources = Resources.of(deploy(aws.url, search.url, stage.say, settings=settings))
            stage.outcome = f"App deployed: {len(resources.functions)} functions on streams"
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
        copies = copies_of(client, s3, resources)
        yield Pipeline(aws, search, node, poller, resources, client, copies)


def copies_of(
    client: DynamoDBClient, s3: S3Client, resources: Resources, http: Http | None = None
) -> DeployedCopies:
    """Return the table and its copies; without `http`, requests to OpenSearch are not signed."""
    return DeployedCopies(
        client,
        orders=resources.orders,
        change_log=resources.change_log,
        aggregates=resources.aggregates,
        ledger=resources.ledger,
        search_url=resources.search_endpoint,
        search_index=resources.search_index,
        image_store=partial(_object, s3, resources.large_images),
        http=http,
    )


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
