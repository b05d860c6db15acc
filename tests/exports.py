"""An export of a table in S3, as DynamoDB makes it."""

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

FOLDER = "shop/AWSDynamoDB/0123-abcd"
BUCKET = "exports"
URL = f"s3://{BUCKET}/{FOLDER}"


def export(
    client: Any, table_arn: str, files: Sequence[Sequence[Any]], **others: Any
) -> dict[str, bytes]:
    """Put an export with these items, as DynamoDB JSON, into a new bucket; return its objects."""
    listed = [
        {"itemCount": len(items), "dataFileS3Key": f"{FOLDER}/data/{number:03}.json.gz"}
        for number, items in enumerate(files)
    ]
    summary = {
        "exportTime": f"{datetime.now(UTC) + timedelta(seconds=1):%Y-%m-%dT%H:%M:%S.%fZ}",
        "tableArn": table_arn,
        "itemCount": sum(map(len, files)),
        "outputFormat": "DYNAMODB_JSON",
        "exportType": "FULL_EXPORT",
        **others,
    }
    objects = {
        f"{FOLDER}/manifest-summary.json": json.dumps(summary).encode(),
        f"{FOLDER}/manifest-files.json": "\n".join(map(json.dumps, listed)).encode(),
    }
    for about, items in zip(listed, files, strict=True):
        lines = "".join(json.dumps({"Item": item}) + "\n" for item in items)
        objects[str(about["dataFileS3Key"])] = gzip.compress(lines.encode())
    client.create_bucket(Bucket=BUCKET)
    for key, body in objects.items():
        client.put_object(Bucket=BUCKET, Key=key, Body=body)
    return objects
