"""Settings of all functions and their roles."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

POLICY_ARN = r"^arn:aws[a-z-]*:iam::[a-z0-9]+:policy/[A-Za-z0-9+=,.@/_-]+$"


WITHOUT_SNAP_START = ("cn-", "us-gov-", "ap-southeast-6", "ap-east-2")
"""Beginnings of the Regions without SnapStart for Python:
https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html"""
WITHOUT_TRACING = ("cn-",)
"""Beginnings of the Regions without traces of Lambda:
https://docs.amazonaws.cn/en_us/aws/latest/userguide/lambda.html"""


class FunctionSettings(BaseModel):
    """Functions.

    Attributes:
        permissions_boundary_arn: Managed policy that bounds every role of the app. It has to allow
            every action of docs/reference/permissions.md, with those that the other settings add.
            Example: `arn:aws:iam::123456789012:policy/boundary`.
        release: `direct` replaces the code of a processor at once. `gradual` gives a new version
            another tenth of the batches every three minutes; AWS CodeDeploy returns to the last
            version, and the deploy fails, if an alarm of the processor fires. Example: `gradual`.
        snap_start: Processors start from a snapshot of their loaded code, which AWS Lambda
            SnapStart makes of each new version. The deploy takes some minutes more, and each
            snapshot that is kept or restored has a price. Not in China, in GovCloud, and in Asia
            Pacific (New Zealand) and (Taipei). Example: `true`.
        tracing: Traces of every function's invocations in AWS X-Ray. Not in China.
            Example: `true`.
    """

    permissions_boundary_arn: Annotated[str, Field(pattern=POLICY_ARN)] | None = None
    release: Literal["direct", "gradual"] = "direct"
    snap_start: bool = False
    tracing: bool = False
