"""Settings of the function that erases."""

from typing import Annotated, Literal

from pydantic import Field, Json

from lambdas.settings import FunctionSettings, Name


class ErasureSettings(FunctionSettings):
    """Variables of the function that erases.

    Attributes:
        source_table: Logical name of the source table, the first part of item ids.
        source_table_name: Name of the source table: an item in it is not erased.
        idempotency_table: Name of the idempotency table, which has the ledger, markers, and the
            records of erasures under `forgetting/` and `erased/`.
        aggregates_table: Name of the table with the aggregates; empty without sums.
        change_log_table: Name of the change log; empty without one.
        large_images_bucket: S3 bucket for images that are too large for an entry of the change log;
            empty without one.
        dead_letter_bucket: S3 bucket for dead letters of the processors, and the archive.
        on_failure_bucket: S3 bucket for the batches that Lambda gives up.
        own_sinks: Names of the functions by processor, of the further sinks: they may have effects,
            whose markers take a scan to find. Unit: JSON.
        search_endpoint: URL of the OpenSearch cluster; empty without indexes.
        search_indexes: Names of the indexes. Unit: JSON.
        search_auth: Authorisation of requests to OpenSearch: signed with the role, or none.
        search_region: Region that requests are signed for.
    """

    source_table: Name
    source_table_name: Name
    idempotency_table: Name
    aggregates_table: str = ""
    change_log_table: str = ""
    large_images_bucket: str = ""
    dead_letter_bucket: Name
    on_failure_bucket: Name
    own_sinks: Json[dict[Name, Name]] = {}  # noqa: RUF012 - pydantic copies it
    search_endpoint: Annotated[str, Field(pattern=r"^(https?://[^/]+/?)?$")] = ""
    search_indexes: Json[list[Name]] = []  # noqa: RUF012 - pydantic copies it
    search_auth: Literal["iam", "none"] = "none"
    search_region: str = ""
