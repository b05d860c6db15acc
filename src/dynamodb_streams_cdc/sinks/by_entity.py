"""The choice of a sink for each item, by the entity that its table declares."""

from collections.abc import Mapping
from dataclasses import dataclass

from dynamodb_streams_cdc.canary import is_canary
from dynamodb_streams_cdc.change import Image
from dynamodb_streams_cdc.entities import DeclarationError, Table, UnknownItem
from dynamodb_streams_cdc.sinks.base import Sink, Skip


@dataclass(frozen=True)
class ByEntity:
    """Chooses the sink of an item by its entity; items of other entities are skipped.

    The canary goes to the first sink: it shows that changes arrive, and is of no entity.

    Attributes:
        table: declares the entities.
        sinks: one for each entity that has a copy there, by the entity's name.

    Raises:
        DeclarationError: a name is none of an entity: its items would be skipped.
    """

    table: Table
    sinks: Mapping[str, Sink]

    def __post_init__(self) -> None:
        names = [entity.name for entity in self.table.entities]
        if strangers := sorted(self.sinks.keys() - {*names}):
            message = (
                f"table {self.table.name!r} has no entity {', '.join(strangers)}: give sinks to "
                f"{', '.join(names)}"
            )
            raise DeclarationError(message)

    def entity_of(self, keys: Image) -> str | None:
        """Return the name of the entity of the item with these keys; None for none."""
        entity = self.table.entity_of(keys)
        return None if entity is None else entity.name

    def sink_of(self, keys: Image) -> Sink | Skip:
        """Return the sink that holds the item with these keys, or why none does.

        Raises:
            UnknownItem: the item is of no entity, and the table does not ignore such items.
        """
        if is_canary(keys):
            return next(iter(self.sinks.values()))
        entity = self.table.entity_of(keys)
        if entity is not None:
            return self.sinks.get(entity.name, Skip.UNUSED)
        if self.table.unknown == "ignore":
            return Skip.UNKNOWN
        message = (
            f"an item of no entity of table {self.table.name!r}: declare its entity and redrive "
            'the dead letter, or declare unknown="ignore"'
        )
        raise UnknownItem(message)
