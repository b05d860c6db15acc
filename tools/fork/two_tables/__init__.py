"""Two tables, one summed and one searched: the domain of the second fork of `make fork-check`."""

from typing import Any

from dynamodb_streams_cdc import Contribution, Image
from dynamodb_streams_cdc.entities import Entity, Index, Table


def contributions(image: Image) -> Contribution:
    """Return a visit's part in its day's sums."""
    return {f"day#{image['day']}": {"visits": 1}}


def document(image: Image) -> dict[str, Any]:
    """Return the document of a room."""
    return {"name": image["name"]}


TABLES = (
    Table(
        "visits",
        keys={"id": "N"},
        stack="pipeline-visits",
        entities=(Entity("visit", contributions=contributions, audited=False),),
    ),
    Table(
        "rooms",
        keys={"id": "S"},
        stack="pipeline-rooms",
        entities=(
            Entity(
                "room",
                document=document,
                index=Index(name="rooms", properties={"name": {"type": "text"}}),
                audited=False,
            ),
        ),
    ),
)
