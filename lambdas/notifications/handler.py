"""Lambda function of the notifications: sends a message when an item reaches a state.

A message is an effect that does not converge: nothing takes it back, and it may not come twice. So
the handlers take every change, and `Once` keeps a marker of each message that was sent. Behind the
change log the changes of an item may arrive in another order: a message says what happened, and the
table says how the item is now.

At least once: the marker is written after the message. A crash between the two sends the message
again, with the same `change` among its attributes, by which a subscriber can tell. An effect that
is a write to DynamoDB can be exactly once: give it to `Once.transact`, which writes it and the
marker in one transaction.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from dynamodb_streams_cdc import (
    BatchResponse,
    CdcError,
    Change,
    ChangeHandlers,
    ChangeKind,
    Image,
    LambdaContext,
    Once,
    Processor,
    RetryableError,
    StreamEvent,
)
from dynamodb_streams_cdc.aws.dynamodb.idempotency import DynamoDbIdempotencyStore
from dynamodb_streams_cdc.aws.errors import translated
from dynamodb_streams_cdc.sinks.base import evaluated
from lambdas import runtime
from lambdas.notifications.settings import NotificationsSettings

NAME = "notifications"

Notice = Callable[[Image], str | None]
"""Returns the message about an item in this state; None if the state is worth none."""


@cache
def processor() -> Processor:
    """Return the function's processor, made once."""
    settings = NotificationsSettings.load()
    store = DynamoDbIdempotencyStore(runtime.dynamodb(), settings.idempotency_table)
    table = runtime.declared(settings)
    sinks = {
        entity.name: handlers(entity.sinks[NAME], Once(store, NAME), settings.topic_arn)
        for entity in table.using(NAME)
    }
    return runtime.build(settings, table, sinks)


@cache
def sns() -> Any:
    """Return the function's client of SNS."""
    return runtime.session().create_client("sns", config=runtime.CLIENT)


def handlers(notice: Notice, once: Once, topic_arn: str) -> ChangeHandlers:
    """Return the handlers of an entity's changes; items of a backfill send nothing."""

    def notify(change: Change) -> None:
        image = change.new_image
        message = image and evaluated(notice, image)
        if message and message != message_before(notice, change):
            once.run(change, lambda: publish(topic_arn, message, change))

    found = ChangeHandlers()
    found.on_insert(notify)
    found.on_modify(notify)
    return found


def message_before(notice: Notice, change: Change) -> str | None:
    """Return the message about the item before a MODIFY; None for a state that `notice` refuses.

    A later change may correct such a state: the correction must not fail on it.
    """
    if change.kind is not ChangeKind.MODIFY:
        return None
    image = change.old_image
    try:
        return evaluated(notice, image) if image else None
    except RetryableError:
        raise
    except CdcError:
        return None


def publish(topic_arn: str, message: str, change: Change) -> None:
    """Send a message; its attributes name the item and the change."""
    attributes = {"item": change.item_id, "change": f"{change.item_id}/{change.version}"}
    with translated():
        sns().publish(
            TopicArn=topic_arn,
            Message=message,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in attributes.items()
            },
        )


def handler(event: StreamEvent, context: LambdaContext) -> BatchResponse:
    """Send the messages of a batch of changes."""
    return processor()(event, context)


runtime.prepare(processor)
