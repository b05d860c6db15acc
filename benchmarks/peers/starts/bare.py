"""The least that a function which writes to DynamoDB can be: boto3, one client, one request."""

import os
from typing import Any

import boto3

client = boto3.client("dynamodb")


def handler(event: Any, context: Any) -> None:
    for record in event["Records"]:
        client.put_item(TableName=os.environ["TABLE"], Item=record["dynamodb"]["NewImage"])
