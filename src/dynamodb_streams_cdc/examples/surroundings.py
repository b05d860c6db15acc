"""Surroundings of example 3: a mail server, and Lambda as the redrive sees it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from dynamodb_streams_cdc import Processor
from dynamodb_streams_cdc.testing.memory import MemoryIdempotencyStore

Event: TypeAlias = Mapping[str, Any]


@dataclass
class Mail:
    """A mail server, and the mails that it has sent.

    Attributes:
        refuses: how many more mails it refuses, by order.
    """

    sent: list[str] = field(default_factory=list)
    refuses: dict[str, int] = field(default_factory=dict)

    def send(self, order_id: str, text: str) -> None:
        """Send a mail.

        Raises:
            ConnectionError: the server refuses the mail for now.
        """
        if self.refuses.get(order_id, 0):
            self.refuses[order_id] -= 1
            message = f"no mail to the customer of {order_id} at the moment"
            raise ConnectionError(message)
        self.sent.append(f"{order_id} {text}")


class Forgetful(MemoryIdempotencyStore):
    """Markers that are never read."""

    def seen(self, key: str) -> bool:
        """Return False."""
        return False


@dataclass
class Context:
    """Context of an invocation that has 60 seconds."""

    aws_request_id: str = "redrive"
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:000000000000:function:orders-sums"

    def get_remaining_time_in_millis(self) -> int:
        """Return the time that is left, in milliseconds."""
        return 60_000


@dataclass
class Deployed:
    """`Functions` of this process. On AWS: `operations.aws.functions.LambdaFunctions`."""

    processors: Mapping[str, Processor]

    def invoke(self, processor: str, event: Event) -> Any:
        """Invoke a processor's function, as JSON carries event and answer."""
        return json.loads(json.dumps(self.processors[processor](event, Context())))
