"""Climate stations: counted by country, searched, and audited."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from dynamodb_streams_cdc import Contribution, Image
from dynamodb_streams_cdc.entities import Index


class Station(BaseModel):
    """A station; its sort key is 0."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    id: str
    country: str
    height: int


def contributions(image: Image) -> Contribution:
    """Return a station's part in its country's sums."""
    station = Station.model_validate(image)
    return {f"country#{station.country}": {"stations": 1, "metres": station.height}}


INDEX = Index(
    name="stations",
    properties={"country": {"type": "keyword"}, "height": {"type": "integer"}},
)


def document(image: Image) -> dict[str, Any]:
    """Return the document of a station."""
    station = Station.model_validate(image)
    return {"country": station.country, "height": station.height}
