"""Settings of the watcher."""

from typing import Annotated, Literal

from pydantic import Field, Json

from lambdas.settings import FunctionSettings, Name


class WatcherSettings(FunctionSettings):
    """Variables of the watcher.

    Attributes:
        source_table_name: Name of the source table, for the canary.
        source_table_keys: Key attributes of the source table with their types; without them, the
            function writes no canary. Unit: JSON.
        dead_letters: Buckets and prefixes with the dead letters of each processor. Unit: JSON.
        all_dead_letters: Buckets and prefixes with the dead letters of any processor. Unit: JSON.
    """

    source_table_name: str = ""
    source_table_keys: (
        Annotated[Json[dict[Name, Literal["S", "N", "B"]]], Field(min_length=1)] | None
    ) = None
    dead_letters: Json[dict[Name, list[tuple[Name, Name]]]]
    all_dead_letters: Json[list[tuple[Name, Name]]]
