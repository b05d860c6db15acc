"""The customer's key of a stack, where the settings name one, and the grants on it.

The key is made and governed outside of the app: services that use it for themselves, such as
EventBridge, need its key policy (docs/how-to/use-a-key-of-your-own.md). Roles are granted it here.
"""

from typing import cast

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from stacks.settings.encryption import EncryptionSettings

ACTIONS = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
"""The actions that the CDK's `grant_read_write_data` grants on the key of a table, without its
wildcards; those of a bucket and of a queue are among them."""
_ID = "Key"


def add_key(stack: Stack, settings: EncryptionSettings) -> None:
    """Let everything in a stack be encrypted with the key that the settings name, if any."""
    if settings.kms_key_arn is not None:
        kms.Key.from_key_arn(stack, _ID, settings.kms_key_arn)


def key_of(scope: Construct) -> kms.IKey | None:
    """Return the key of the stack that a construct is in; None if AWS owns the keys."""
    return cast("kms.IKey | None", Stack.of(scope).node.try_find_child(_ID))


def use_of_key(scope: Construct) -> list[iam.PolicyStatement]:
    """Return the statement that lets a role use data under the stack's key; empty without one."""
    key = key_of(scope)
    if key is None:
        return []
    return [iam.PolicyStatement(actions=list(ACTIONS), resources=[key.key_arn])]
