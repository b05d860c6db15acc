"""The context that a function gets with each event, with every field that Lambda's has.

https://docs.aws.amazon.com/lambda/latest/dg/python-context.html. Libraries read more of it than
handlers do: a logger that adds the function's name to each line fails without.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

LATEST_VERSION = "$LATEST"


def function_name(arn: str) -> str:
    """Return the name in a function's ARN, without a version or an alias."""
    parts = arn.split(":")
    return parts[6] if len(parts) > 6 else arn


@dataclass(frozen=True)
class CognitoIdentity:
    """Identity of the caller: none if an event source mapping called."""

    cognito_identity_id: str | None = None
    cognito_identity_pool_id: str | None = None


@dataclass
class FunctionContext:
    """The context of one invocation.

    Attributes:
        remaining: returns the seconds until the invocation is ended.
        started: when the function's process began, in seconds since 1970; in the log stream's name.
        memory_limit_in_mb: text, as the runtime has it.
    """

    aws_request_id: str
    invoked_function_arn: str
    remaining: Callable[[], float] = field(repr=False)
    started: float = field(default=0.0, repr=False)
    memory_limit_in_mb: str = "128"
    client_context: Any = None
    identity: CognitoIdentity = field(default_factory=CognitoIdentity)
    tenant_id: str | None = None

    @property
    def function_name(self) -> str:
        """The function's name."""
        return function_name(self.invoked_function_arn)

    @property
    def function_version(self) -> str:
        """The version or alias in the function's ARN; `$LATEST` if it names none."""
        parts = self.invoked_function_arn.split(":")
        return parts[7] if len(parts) > 7 else LATEST_VERSION

    @property
    def log_group_name(self) -> str:
        """Such as `/aws/lambda/NAME`."""
        return f"/aws/lambda/{self.function_name}"

    @property
    def log_stream_name(self) -> str:
        """Such as `2024/05/01/[$LATEST]` and 32 digits, one for each process."""
        day = datetime.fromtimestamp(self.started, UTC)
        instance = uuid.uuid5(uuid.NAMESPACE_URL, f"{self.invoked_function_arn} {self.started}")
        return f"{day:%Y/%m/%d}/[{self.function_version}]{instance.hex}"

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the invocation is ended."""
        return max(0, int(self.remaining() * 1000))

    def log(self, message: object) -> None:
        """Write to the function's log."""
        print(message)
