"""Settings of the maintenance function."""

from typing import Annotated, Literal

from pydantic import Field, Json

from lambdas.settings import FunctionSettings, Name


class MaintenanceSettings(FunctionSettings):
    """Variables of the maintenance function.

    Attributes:
        processors: Function and sink of each processor, by its name. Unit: JSON.
        source_table_keys: Key attributes of the source table with their types. Unit: JSON.
        verify_share: Part of the table and of the copies that a run verifies. Unit: percent.
    """

    processors: Annotated[Json[dict[Name, tuple[Name, Name]]], Field(min_length=1)]
    source_table_keys: Annotated[Json[dict[Name, Literal["S", "N", "B"]]], Field(min_length=1)]
    verify_share: Annotated[float, Field(gt=0, le=100)]
