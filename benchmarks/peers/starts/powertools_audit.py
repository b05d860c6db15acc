"""One conditional put for each record behind Powertools' batch processor.

https://docs.aws.amazon.com/powertools/python/latest/utilities/batch/
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

logger = Logger(service="audit")
metrics = Metrics(namespace="Orders", service="audit")
table = boto3.resource("dynamodb").Table(os.environ["TABLE"])
processor = BatchProcessor(event_type=EventType.DynamoDBStreams)


def keep(record: DynamoDBRecord) -> None:
    assert record.dynamodb is not None
    entry = {"id": record.event_id, "before": record.dynamodb.old_image}
    entry["after"] = record.dynamodb.new_image
    table.put_item(Item=entry, ConditionExpression="attribute_not_exists(id)")


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: Any, context: Any) -> Any:
    metrics.add_metric(name="Received", unit=MetricUnit.Count, value=len(event["Records"]))
    return process_partial_response(event, keep, processor, context)
