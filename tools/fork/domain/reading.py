"""Readings of climate stations, by hour: searched, and neither counted nor audited."""

from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict

from dynamodb_streams_cdc import Image
from dynamodb_streams_cdc.entities import Index


class Reading(BaseModel):
    """A station's reading of an hour."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    id: str
    hour: int
    celsius: Decimal


INDEX = Index(
    name="readings",
    properties={
        "hour": {"type": "long"},
        "celsius": {"type": "scaled_float", "scaling_factor": 10},
    },
)


def document(image: Image) -> dict[str, Any] | None:
    """Return the document of a reading."""
    reading = Reading.model_validate(image)
    return {"hour": reading.hour, "celsius": reading.celsius}
