"""Settings of encryption."""

from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from stacks.settings.lists import FROM_TEXT

KEY_ARN = r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+$"
_Key = Annotated[str, Field(pattern=KEY_ARN)]


class EncryptionSettings(BaseModel):
    """Encryption.

    Attributes:
        kms_key_arn: Symmetric key of AWS KMS in the same Region that encrypts tables, buckets,
            queues, log groups, topics and the domain. Its policy has to let the
            services use it: docs/how-to/use-a-key-of-your-own.md. Without it, AWS owns the keys.
            Example: `arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab`.
        former_key_arns: Earlier values of `kms_key_arn`, separated by commas. The roles may decrypt
            with them: objects and messages stay under the key that they were written with.
            Example: `arn:aws:kms:eu-west-1:123456789012:key/0987dcba-09fe-87dc-65ba-ab0987654321`.
    """

    kms_key_arn: _Key | None = None
    former_key_arns: Annotated[tuple[_Key, ...], FROM_TEXT] = ()

    @model_validator(mode="after")
    def _a_former_key_is_another_one(self) -> Self:
        if self.kms_key_arn in self.former_key_arns:
            message = (
                f"Setting 'former_key_arns' has {self.kms_key_arn}, which is 'kms_key_arn': name "
                "the keys before it"
            )
            raise ValueError(message)
        return self
