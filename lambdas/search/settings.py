"""Settings of the search function."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lambdas.settings import Name, Settings


class SearchSettings(Settings):
    """Variables of the search function.

    Attributes:
        source_table_name: Name of the source table, for repair, verification and backfill.
        search_endpoint: URL of the OpenSearch cluster.
        search_index_prefix: Beginning of the indexes' names, in front of those that the domain
            declares.
        search_auth: Authorisation of requests to OpenSearch: signed with the role, or none.
        search_region: Region that requests are signed for.
    """

    source_table_name: Name
    search_endpoint: Annotated[str, Field(pattern=r"^https?://[^/]+/?$")]
    search_index_prefix: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9_-]{0,100})?$")] = ""
    search_auth: Literal["iam", "none"]
    search_region: str = ""

    @model_validator(mode="after")
    def _can_be_signed_for(self) -> Self:
        if self.search_auth == "iam" and not self.search_region:
            message = "SEARCH_REGION must name the domain's Region for requests to be signed"
            raise ValueError(message)
        return self
