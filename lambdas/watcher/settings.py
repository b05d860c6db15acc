"""Settings of the watcher."""

from typing import Annotated, Literal

from pydantic import Field, Json

from lambdas.settings import FunctionSettings, Name


class WatcherSettings(FunctionSettings):
    """Where the canary is written, and where dead letters wait.

    Attributes:
        source_table_name: of the table that the canary is written to.
        source_table_keys: JSON of the table's key attributes with their types.
        dead_letters: JSON of each processor's places, a bucket and a prefix each.
    """

    source_table_name: Name
    source_table_keys: Annotated[Json[dict[Name, Literal["S", "N", "B"]]], Field(min_length=1)]
    dead_letters: Json[dict[Name, list[tuple[Name, Name]]]]
