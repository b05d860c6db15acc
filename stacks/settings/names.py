"""The names of an environment: of its stacks, and of everything that is named after them."""

import re
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Profile = Literal["sandbox", "production", "local"]
PROFILES: tuple[str, ...] = get_args(Profile)
PREFIX = "cdc"
PARTS = ("search-logs", "search", "pipeline")
"""The stacks of an environment are PREFIX-NAME-PART."""
EARLIER_PARTS = ("observability",)
"""Parts of earlier versions, whose stacks and resources may still be in an account."""
LONGEST = 20
"""Characters of prefix and name together. CloudFormation shortens the names that it makes, of which
a bucket's has 63 characters at most: the part before PART has to survive."""
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_NAMES_A_PART = {part.partition("-")[0] for part in PARTS}
_FIRST_WORDS = _NAMES_A_PART | {part.partition("-")[0] for part in EARLIER_PARTS}


def checked_name(name: str) -> str:
    """Return an environment's name that its stacks can have.

    The resources of an environment are found by the beginning of their names, so no name may be
    another one followed by the (perhaps shortened) name of a stack: `dev-search-pipeline` would be
    a resource of `dev`, too. A first word that names a stack of today would be taken for the part
    of a stack's name that says what it is (stacks/findings.py).

    Raises:
        ValueError: it is not valid; says why.
    """
    if not _NAME.fullmatch(name):
        message = "must match [a-z][a-z0-9]*(-[a-z0-9]+)*, such as dev-anna"
        raise ValueError(message)
    first, *others = name.split("-")
    if first in _NAMES_A_PART:
        message = f"must not begin with {first!r}, which names a stack: choose another first word"
        raise ValueError(message)
    for word in others:
        if found := [each for each in _FIRST_WORDS if each.startswith(word)]:
            message = f"must not have {word!r} after a hyphen, which begins {found[0]!r}, a stack"
            raise ValueError(message)
    return name


class Naming(BaseModel):
    """Names and profile.

    Attributes:
        profile: Defaults and rules of the environment: `production` keeps its data and must have a
            receiver of alarms, `sandbox` leaves nothing behind. Environments `sandbox` and
            `production` have the profile of that name; every other name must give one. `local` is
            the laptop's. Example: `sandbox`.
        prefix: Beginning of the names of the stacks, which are PREFIX-ENVIRONMENT-PART, and of
            every name that follows from them. Copies of the app in one account and Region differ in
            prefix or environment. `local` always has `cdc`. Example: `billing`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, AfterValidator(checked_name)]
    profile: Profile
    prefix: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,9}$")] = PREFIX

    @property
    def stack_prefix(self) -> str:
        """The beginning of its stacks' names, without the last hyphen."""
        return f"{self.prefix}-{self.name}"

    def owns(self, name: str) -> bool:
        """Whether a stack or a resource with this name is the environment's.

        CloudFormation names a resource after its stack, and shortens long names.
        """
        prefix = f"{self.stack_prefix}-"
        word = re.split(r"[^a-z0-9]", name.removeprefix(prefix), maxsplit=1)[0]
        return name.startswith(prefix) and any(each.startswith(word) for each in _FIRST_WORDS)

    @property
    def keeps_data(self) -> bool:
        """Whether tables, dead letters and logs outlive their stack."""
        return self.profile == "production"

    @property
    def is_emulated(self) -> bool:
        """Whether it is the laptop's, whose emulator knows no metric math and no Logs Insights."""
        return self.profile == "local"

    @model_validator(mode="after")
    def _names_are_short(self) -> Self:
        length = len(self.prefix) + len(self.name)
        if length > LONGEST:
            message = (
                f"Prefix {self.prefix!r} and environment {self.name!r} have {length} characters "
                f"together: choose shorter ones, of at most {LONGEST}"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _local_is_the_laptop(self) -> Self:
        if (self.name == "local") != (self.profile == "local"):
            message = (
                "Profile and environment local belong together: choose profile sandbox or "
                "production for an AWS account, under another name"
            )
            raise ValueError(message)
        return self
