"""Settings of the search function."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lambdas.settings import Name, Settings


class SearchSettings(Settings):
    """Variables of the search function.

    Attributes:
        source_table_name: Name of the source table, for repairs.
        large_images_bucket: S3 bucket for images that are too large for an entry.
        search_endpoint: URL of the OpenSearch cluster.
        search_index: Name that readers search.
        search_auth: Authorisation of requests to OpenSearch: signed with the role, or none.
        search_region: Region that requests are signed for.
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
