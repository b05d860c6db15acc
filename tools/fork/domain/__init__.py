"""Climate stations and their readings: the domain of the fork that `make fork-check` makes."""

from dynamodb_streams_cdc.entities import Entity, Table, starts_with

from . import reading, station

TABLES = (
    Table(
        "climate",
        keys={"id": "S", "hour": "N"},
        actor_attribute="operator",
        unknown="dead-letter",
        entities=(
            Entity(
                "station",
                keys={"id": starts_with("STATION#")},
                contributions=station.contributions,
                document=station.document,
                index=station.INDEX,
            ),
            Entity(
                "reading",
                keys={"id": starts_with("READING#")},
                document=reading.document,
                index=reading.INDEX,
                audited=False,
            ),
        ),
    ),
)
