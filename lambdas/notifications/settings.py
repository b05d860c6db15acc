"""Settings of the notifications function."""

from lambdas.settings import Name, Settings


class NotificationsSettings(Settings):
    """Variables of the notifications function.

    Attributes:
        idempotency_table: Name of the idempotency table, which has the markers of the messages that
            were sent under `once/notifications/`.
        topic_arn: ARN of the SNS topic.
    """

    idempotency_table: Name
    topic_arn: Name
