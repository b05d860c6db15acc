"""Notification queue on SQS."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.operations.aws.access import permitted
from dynamodb_streams_cdc.operations.notifications import Notification

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

BATCH = 10
"""Most messages of one request
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html)."""

HIDDEN_SECONDS = 120
"""Seconds that received messages stay hidden, also from alarms, unless they are put back."""

WAIT_SECONDS = 1
"""Seconds of a long poll, which asks all servers: an empty response means that nothing is visible
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-long-polling.html)."""


@dataclass(frozen=True)
class SqsNotificationQueue:
    """`NotificationQueue` on SQS.

    Attributes:
        client: boto3 SQS client.
        url: URL of the queue.
    """

    client: "SQSClient"
    url: str

    def receive(self) -> Sequence[Notification]:
        """Return some messages and hide them for a while; none if no message is visible.

        Raises:
            AccessDenied: for this and the other methods.
        """
        with permitted("sqs:ReceiveMessage", self.url):
            answer = self.client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=WAIT_SECONDS,
                VisibilityTimeout=HIDDEN_SECONDS,
            )
        return [
            Notification(message["MessageId"], message["ReceiptHandle"], message["Body"])
            for message in answer.get("Messages", ())
        ]

    def delete(self, messages: Sequence[Notification]) -> None:
        """Delete messages that were received; a message that is gone counts as deleted."""
        for entries in _entries(messages):
            with permitted("sqs:DeleteMessage", self.url):
                self.client.delete_message_batch(QueueUrl=self.url, Entries=entries)

    def put_back(self, messages: Sequence[Notification]) -> None:
        """Make messages that were received visible at once."""
        for entries in _entries(messages, VisibilityTimeout=0):
            with permitted("sqs:ChangeMessageVisibility", self.url):
                self.client.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)


def _entries(messages: Sequence[Notification], **others: Any) -> Iterator[list[Any]]:
    for start in range(0, len(messages), BATCH):
        yield [
            {"Id": str(place), "ReceiptHandle": message.receipt, **others}
            for place, message in enumerate(messages[start : start + BATCH])
        ]
