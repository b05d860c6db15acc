"""One request to OpenSearch for each record behind Powertools' batch processor.

https://docs.opensearch.org/latest/clients/python-low-level/ for the client that signs its requests.
"""

import os
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from opensearchpy import OpenSearch, Urllib3AWSV4SignerAuth, Urllib3HttpConnection

logger = Logger(service="search")
metrics = Metrics(namespace="Orders", service="search")
auth = Urllib3AWSV4SignerAuth(boto3.Session().get_credentials(), os.environ["AWS_REGION"], "es")
client = OpenSearch(
    os.environ["SEARCH_ENDPOINT"], http_auth=auth, connection_class=Urllib3HttpConnection
)
processor = BatchProcessor(event_type=EventType.DynamoDBStreams)


def index(record: DynamoDBRecord) -> None:
    assert record.dynamodb is not None
    id = record.dynamodb.keys["order_id"]
    order = record.dynamodb.new_image
    if order:
        client.index(index="orders", id=id, body=order)
    else:
        client.delete(index="orders", id=id, params={"ignore": 404})


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: Any, context: Any) -> Any:
    metrics.add_metric(name="Received", unit=MetricUnit.Count, value=len(event["Records"]))
    return process_partial_response(event, index, processor, context)
