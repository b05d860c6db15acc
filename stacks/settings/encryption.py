"""Settings of encryption."""

from typing import Annotated

from pydantic import BaseModel, Field

KEY_ARN = r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+$"


class EncryptionSettings(BaseModel):
    """Encryption.

    Attributes:
        kms_key_arn: Symmetric key of AWS KMS in the same Region that encrypts tables, buckets,
            queues, log groups, the topic for alarms and the domain. Its policy has to let the
            services use it: docs/how-to/use-a-key-of-your-own.md. Without it, AWS owns the keys.
            Example: `arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab`.
    """

    kms_key_arn: Annotated[str, Field(pattern=KEY_ARN)] | None = None
