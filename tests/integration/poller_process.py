"""The three processors on the streams of DynamoDB Local, in a process that a test may kill.

    python -m tests.integration.poller_process DYNAMODB_URL SEARCH_URL FOLDER PREFIX

The handlers are called in process, because DynamoDB Local has no Lambda API.
"""

from __future__ import annotations

import logging
import sys
import threading
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from opensearchpy import OpenSearch, Urllib3HttpConnection

from dynamodb_streams_cdc import (
    Aggregation,
    ChangeLog,
    Processor,
    Search,
    Source,
)
from dynamodb_streams_cdc.aws.dynamodb.ledger import DynamoDbLedger
from dynamodb_streams_cdc.aws.dynamodb.log import DynamoDbLog
from dynamodb_streams_cdc.aws.opensearch import OpenSearchIndex
from dynamodb_streams_cdc.esm.poller.runner import runner_of, running
from dynamodb_streams_cdc.sinks.log_entries import change_from_log_record
from lambdas.example_domain.order import INDEX, contributions, document
from local.deployed.deployment import session
from local.deployed.poller_process import Interceptor
from local.deployed.trace import TraceWriter

if TYPE_CHECKING:
    from dynamodb_streams_cdc.dead_letters import DeadLetter

TRACE = "trace.jsonl"
PROCESSORS = {"aggregation": "orders", "audit": "orders", "search": "log"}
"""Which table's stream each of them reads."""


class NoDeadLetters:
    def write(self, dead_letter: DeadLetter) -> bool:
        message = f"nothing in this test is to become a dead letter: {dead_letter}"
        raise AssertionError(message)


def processors(dynamodb: Any, search_url: str, prefix: str) -> dict[str, Processor]:
    ledger = DynamoDbLedger(dynamodb, f"{prefix}-ledger", f"{prefix}-aggregates", shards=4)
    search = OpenSearch(search_url, connection_class=Urllib3HttpConnection)
    source = Source("orders", "0001", actor_attribute="updated_by")
    index = OpenSearchIndex(search, prefix, INDEX.properties, INDEX.settings)
    return {
        "aggregation": Processor(
            "aggregation", source, Aggregation(ledger, contributions), NoDeadLetters()
        ),
        "audit": Processor(
            "audit", source, ChangeLog(DynamoDbLog(dynamodb, f"{prefix}-log")), NoDeadLetters()
        ),
        "search": Processor(
            "search",
            source,
            Search(index, document),
            NoDeadLetters(),
            read=change_from_log_record,
        ),
    }


def mapping(processor: str, stream: str, index: int) -> dict[str, Any]:
    """As `ListEventSourceMappings` would describe it; small batches make many of them."""
    return {
        "UUID": f"00000000-0000-0000-0000-00000000000{index}",
        "StartingPosition": "TRIM_HORIZON",
        "EventSourceArn": stream,
        "FunctionArn": f"arn:aws:lambda:us-east-1:000000000000:function:{processor}",
        "BatchSize": 10,
        "ParallelizationFactor": 2,
        "BisectBatchOnFunctionError": True,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
    }


def main(url: str, search_url: str, folder: Path, prefix: str) -> None:
    made = session(url)
    dynamodb = made.client("dynamodb")
    handlers = processors(dynamodb, search_url, prefix)
    trace = Interceptor(TraceWriter(folder / TRACE), Random(1), share=0.0)
    runners = []
    for index, (name, table) in enumerate(PROCESSORS.items()):
        described = dynamodb.describe_table(TableName=f"{prefix}-{table}")["Table"]
        runners.append(
            runner_of(
                mapping(name, described["LatestStreamArn"], index),
                made,
                folder,
                handlers=handlers,
                around=partial(trace.around, name),
            )
        )
    with running(runners):
        while not threading.Event().wait(0.2):
            for runner in runners:
                runner.check()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4])
