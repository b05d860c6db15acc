"""Settings of the alarms: who is told."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

TOPIC_ARN = r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}$"
"""Of a standard topic: a FIFO topic takes no message without a group, and an alarm names none
(https://docs.aws.amazon.com/sns/latest/api/API_Publish.html)."""


class AlarmSettings(BaseModel):
    """Alarms.

    Attributes:
        alarm_email: Address that receives the alarms; AWS asks it for a confirmation.
            Example: `on-call@example.com`.
        alarm_topic_arn: Standard SNS topic in the same Region that receives the alarms.
            Example: `arn:aws:sns:eu-west-1:123456789012:on-call`.
        alarms: `none` deploys production without a receiver of alarms. Production needs one of the
            three. Example: `none`.
    """

    alarm_email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")] | None = None
    alarm_topic_arn: Annotated[str, Field(pattern=TOPIC_ARN)] | None = None
    alarms: Literal["none"] | None = None

    @property
    def alarm_receivers(self) -> list[str]:
        """Names of the settings that say who is told."""
        names = ("alarm_topic_arn", "alarm_email", "alarms")
        return [name for name in names if getattr(self, name) is not None]
