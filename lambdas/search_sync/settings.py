"""Settings of the search function."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lambdas.settings import Name, Settings

_DOMAIN = re.compile(r"https://[^/]+\.(?P<region>[a-z0-9-]+)\.es\.amazonaws\.com(\.cn)?/?")


class SearchSettings(Settings):
    """The cluster, how requests to it are authorised, and the name that readers search.

    Items are read from the source table to repair their documents; images that the change log
    could not hold, from the overflow bucket.
    """

    source_table_name: Name
    overflow_bucket: Name
    search_endpoint: Annotated[str, Field(pattern=r"^https?://[^/]+/?$")]
    search_index: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,200}$")]
    search_auth: Literal["iam", "none"]

    @property
    def region(self) -> str:
        """The Region of the managed domain, which requests are signed for."""
        match = _DOMAIN.fullmatch(self.search_endpoint)
        assert match is not None
        return match["region"]

    @model_validator(mode="after")
    def _can_be_signed_for(self) -> Self:
        if self.search_auth == "iam" and not _DOMAIN.fullmatch(self.search_endpoint):
            message = (
                "SEARCH_ENDPOINT must be a managed domain's (https://NAME.REGION.es.amazonaws.com) "
                "for requests to be signed"
            )
            raise ValueError(message)
        return self
