"""Write documents of given-up records to an on-failure destination: bucket, queue or topic."""

import json
import logging
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from dynamodb_streams_cdc.esm import Deliver, Destination, DestinationKind

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnFailure:
    """A destination and the boto3 client of its service.

    The destination has to take the document at once, with the retries of the client at most:
    Lambda drops a document that it cannot deliver, and counts it.
    (https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html)
    """

    client: Any
    destination: Destination

    @classmethod
    def of(cls, session: boto3.Session, destination: Destination) -> "OnFailure":
        """Return the destination with a client of the session."""
        make: Any = session.client
        return cls(make(str(destination.kind)), destination)

    def __call__(self, command: Deliver) -> bool:
        """Deliver a document; say, with a log line if not, whether the destination took it."""
        text = json.dumps(command.document)
        try:
            match self.destination.kind:
                case DestinationKind.S3:
                    self._put(command.key, text)
                case DestinationKind.SQS:
                    self.client.send_message(QueueUrl=self._queue_url(), MessageBody=text)
                case DestinationKind.SNS:
                    self.client.publish(TopicArn=self.destination.arn, Message=text)
        except (ClientError, BotoCoreError) as error:
            info = command.document["DDBStreamBatchInfo"]
            logger.error(
                "%s did not take the document of %d records, %s to %s, which are lost: %s",
                self.destination.arn,
                info["batchSize"],
                info["startSequenceNumber"],
                info["endSequenceNumber"],
                error,
            )
            return False
        return True

    def _put(self, key: str | None, text: str) -> None:
        bucket = self.destination.arn.rpartition(":")[2]
        self.client.put_object(
            Bucket=bucket, Key=key, Body=text.encode(), ContentType="application/json"
        )

    def _queue_url(self) -> str:
        *_, account, name = self.destination.arn.split(":")
        url: str = self.client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)[
            "QueueUrl"
        ]
        return url


def without_destination(command: Deliver) -> bool:
    """Refuse a document: an engine whose mapping has no destination asks for no delivery."""
    message = f"the mapping has no destination, yet was asked to deliver to {command.destination}"
    raise AssertionError(message)
