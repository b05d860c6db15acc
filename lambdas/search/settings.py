"""Settings of the search function."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lambdas.settings import Name, Settings


class SearchSettings(Settings):
    """The cluster, how requests to it are authorised, and the name that readers search.

    Repairs read items from the source table; images that are too large for the change log are read
    from the large-images bucket.

    Attributes:
        search_region: of the managed domain, which requests are signed for.
    """

    source_table_name: Name
    large_images_bucket: Name
    search_endpoint: Annotated[str, Field(pattern=r"^https?://[^/]+/?$")]
    search_index: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,200}$")]
    search_auth: Literal["iam", "none"]
    search_region: str = ""

    @model_validator(mode="after")
    def _can_be_signed_for(self) -> Self:
        if self.search_auth == "iam" and not self.search_region:
            message = "SEARCH_REGION must name the domain's Region for requests to be signed"
            raise ValueError(message)
        return self
