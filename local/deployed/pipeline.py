"""The deployed app on this machine: engines started side by side, then the real `cdk deploy`.

The emulator's own poller does not do what Lambda does
(`docs/explanation/event-source-mapping.md`): a runner of ours takes its mappings
over before the first order is written.
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
from local.services.engines import emulator, opensearch
from local.services.search_cluster import SearchCluster, existing_cluster
from local.verify import LiveCopies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

    from local.console import DemoConsole, Stage
    from local.services.engines import Engine
    from local.verify import Http

OWN_INDEX = "orders"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The app as deployed, what runs it, and what reads it.

    `node` is the OpenSearch that was started for it, None in somebody's own cluster.
    """

    aws: Engine
    search: SearchCluster
    node: Engine | None
    live: PollerProcess
    outputs: Mapping[str, str]
    client: DynamoDBClient
    copies: LiveCopies


@contextmanager
def running_pipeline(
    console: DemoConsole, search_url: str | None = None, faults: Sequence[str] = ()
) -> Iterator[Pipeline]:
    """Everything up and deployed on entry, everything gone on exit.

    `faults` are options of `local.deployed.poller_process`.

    Raises:
        EngineError: An engine did not start, or the deployment failed.
    """
    with ExitStack() as stack:
        with console.stage("Starting the engines") as stage:
            aws, search, node = _engines(stack, stage, search_url, console.line)
            stage.outcome = f"Engines up: AWS emulator at {aws.url}, OpenSearch at {search.url}"
        with console.stage("Deploying the app") as stage:
            settings = {"search_index": search.index}
            outputs = deploy(aws.url, search.url, stage.say, settings=settings)
            functions = sum(name.endswith("FunctionName") for name in outputs)
            tables = sum(name.endswith("TableName") for name in outputs)
            stage.outcome = f"App deployed: {tables} tables, {functions} functions on their streams"
        with console.stage("Taking over the event source mappings") as stage:
            live = stack.enter_context(PollerProcess(aws.url, faults=faults))
            stage.outcome = (
                f"Event source mappings taken over: {live.mappings}, run by process {live.pid}"
                " as Lambda would"
            )
        made = session(aws.url)
        client: DynamoDBClient = made.client("dynamodb")
        stack.callback(client.close)
        s3: S3Client = made.client("s3")
        stack.callback(s3.close)
        copies = copies_of(client, s3, outputs)
        yield Pipeline(aws, search, node, live, outputs, client, copies)


def copies_of(
    client: DynamoDBClient, s3: S3Client, outputs: Mapping[str, str], http: Http | None = None
) -> LiveCopies:
    """The table and its copies, by the outputs of the pipeline's stack."""
    return LiveCopies(
        client,
        orders=outputs["OrdersTableName"],
        change_log=outputs["ChangeLogTableName"],
        aggregates=outputs["AggregatesTableName"],
        ledger=outputs["IdempotencyTableName"],
        search_url=outputs["SearchEndpoint"],
        search_index=outputs["SearchIndex"],
        image_store=partial(_object, s3, outputs["LargeImagesBucketName"]),
        http=http,
    )


def _object(client: S3Client, bucket: str, key: str) -> bytes:
    return client.get_object(Bucket=bucket, Key=key)["Body"].read()


def _engines(
    stack: ExitStack, stage: Stage, search_url: str | None, say: Callable[[str], None]
) -> tuple[Engine, SearchCluster, Engine | None]:
    if search_url is not None:
        cluster = stack.enter_context(existing_cluster(search_url, say))
        [aws] = _start(stack, stage, emulator)
        return aws, cluster, None
    aws, node = _start(stack, stage, emulator, opensearch)
    return aws, SearchCluster(node.url, OWN_INDEX), node


def _start(
    stack: ExitStack,
    stage: Stage,
    *kinds: Callable[..., AbstractContextManager[Engine]],
) -> list[Engine]:
    """Starts engines side by side; what came up is the stack's to end, even if another failed."""
    cancelled = threading.Event()

    def progress(sentence: str) -> None:
        if cancelled.is_set():
            # The engine that was starting is closed on the way out of its own start.
            raise _CancelledError
        stage.say(sentence)

    def start(kind: Callable[..., AbstractContextManager[Engine]]) -> Engine:
        return stack.enter_context(kind(progress=progress))

    with ThreadPoolExecutor(len(kinds), thread_name_prefix="engine") as pool:
        try:
            starting = [pool.submit(start, kind) for kind in kinds]
            for failed in wait(starting, return_when=FIRST_EXCEPTION).done:
                failed.result()
        except BaseException:
            cancelled.set()
            raise
    return [each.result() for each in starting]


class _CancelledError(Exception):
    """Another engine failed, or the person gave up."""
