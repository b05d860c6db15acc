"""Atomic counters behind Powertools' batch processor and its idempotency.

https://docs.aws.amazon.com/powertools/python/latest/utilities/idempotency/
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
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)

logger = Logger(service="aggregation")
metrics = Metrics(namespace="Orders", service="aggregation")
client = boto3.client("dynamodb")
processor = BatchProcessor(event_type=EventType.DynamoDBStreams)
layer = DynamoDBPersistenceLayer(table_name=os.environ["TABLE"], boto3_client=client)
config = IdempotencyConfig(event_key_jmespath="eventID")


@idempotent_function(data_keyword_argument="record", config=config, persistence_store=layer)  # type: ignore[untyped-decorator]
def count(record: DynamoDBRecord) -> None:
    assert record.dynamodb is not None
    order = record.dynamodb.new_image
    client.update_item(
        TableName=os.environ["TABLE"],
        Key={"aggregate": {"S": f"month#{order['placed_at'][:7]}"}},
        UpdateExpression="ADD orders :one, revenue :total",
        ExpressionAttributeValues={":one": {"N": "1"}, ":total": {"N": str(order["total"])}},
    )


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: Any, context: Any) -> Any:
    config.register_lambda_context(context)
    metrics.add_metric(name="Received", unit=MetricUnit.Count, value=len(event["Records"]))
    return process_partial_response(event, count, processor, context)
