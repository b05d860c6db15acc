"""The customer's keys of a stack, where the settings name one, and the grants on them.

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
READ_ACTIONS = ("kms:Decrypt", "kms:DescribeKey")
"""The actions on a former key, which nothing is written with any more."""
_ID, _FORMER = "Key", "FormerKeys"


def add_key(stack: Stack, settings: EncryptionSettings) -> None:
    """Let everything in a stack be encrypted with the key that the settings name, if any.

    What is in it may have been encrypted with the former keys.
    """
    if settings.kms_key_arn is not None:
        kms.Key.from_key_arn(stack, _ID, settings.kms_key_arn)
    if settings.former_key_arns:
        former = Construct(stack, _FORMER)
        for number, arn in enumerate(settings.former_key_arns):
            kms.Key.from_key_arn(former, f"Key{number}", arn)


def key_of(scope: Construct) -> kms.IKey | None:
    """Return the key of the stack that a construct is in; None if AWS owns the keys."""
    return cast("kms.IKey | None", Stack.of(scope).node.try_find_child(_ID))


def use_of_key(scope: Construct) -> list[iam.PolicyStatement]:
    """Return the statements that let a role use data under the stack's keys; empty without one."""
    key, former = key_of(scope), Stack.of(scope).node.try_find_child(_FORMER)
    statements = []
    if key is not None:
        statements.append(iam.PolicyStatement(actions=list(ACTIONS), resources=[key.key_arn]))
    if former is not None:
        keys = [cast("kms.IKey", each).key_arn for each in former.node.children]
        statements.append(iam.PolicyStatement(actions=list(READ_ACTIONS), resources=keys))
    return statements
