"""Settings of the notifications function."""

from lambdas.settings import Name, Settings


class NotificationsSettings(Settings):
    """Variables of the notifications function.

    Attributes:
        idempotency_table: Name of the idempotency table, which has the markers of the messages that
            were sent under `once/notifications/`.
        large_images_bucket: S3 bucket for images that are too large for an entry; empty if the
            function reads the table's own stream.
        topic_arn: ARN of the SNS topic.
    """

    idempotency_table: Name
    large_images_bucket: str = ""
    topic_arn: Name
