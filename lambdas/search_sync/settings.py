"""Settings of the search function."""

from typing import Annotated, Literal

from pydantic import Field

from lambdas.settings import Settings


class SearchSettings(Settings):
    """The cluster, how requests to it are authorised, and the name that readers search."""

    search_endpoint: Annotated[str, Field(pattern=r"^https?://[^/]+/?$")]
    search_index: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,200}$")]
    search_auth: Literal["iam", "none"]
