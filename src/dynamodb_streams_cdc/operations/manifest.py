"""Manifest of a deployed pipeline: its tables, processors, search index and buckets.

The pipeline's stack publishes it as JSON in the output `Manifest` (stacks/manifest.py writes it).
A pipeline that another tool deployed has it in a file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dynamodb_streams_cdc.entities import BUILT_IN, Entity, KeyPattern
from dynamodb_streams_cdc.names import MANIFEST, MANIFEST_SCHEMA
from dynamodb_streams_cdc.operations.errors import OperationError, UsageError


@dataclass(frozen=True)
class DeployedTable:
    """A source table.

    Attributes:
        name: logical name, the first part of its items' identities.
        table: physical name.
        keys: types of the key attributes by name, the partition key first.
        stream: ARN of the stream at the time of the deployment.
        entities: names of the entities, and the conditions on their keys; empty in a manifest that
            names none.
    """

    name: str
    table: str
    keys: Mapping[str, str]
    stream: str
    entities: tuple[Entity, ...] = ()

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "DeployedTable":
        """Return the table of a part of the manifest."""
        entities = tuple(
            Entity(
                name,
                keys={
                    key: KeyPattern(pattern["kind"], tuple(pattern["values"]))
                    for key, pattern in keys.items()
                },
            )
            for name, keys in document.get("entities", {}).items()
        )
        return cls(**{**document, "entities": entities})

    def entity_of(self, keys: Mapping[str, object]) -> str | None:
        """Return the name of the entity of the item with these keys; None if it is of none."""
        return next((entity.name for entity in self.entities if entity.owns(keys)), None)


@dataclass(frozen=True)
class DeployedProcessor:
    """A processor.

    Attributes:
        function: name of its Lambda function.
        feed: `table` or `change-log`.
        source_table: logical name of the table whose changes it applies.
        sink: kind of its sink, such as `aggregation`.
        dead_letter_queue: URL of its notification queue.
        mapping: UUID of its event source mapping; empty in a manifest that does not say.
    """

    name: str
    function: str
    feed: str
    source_table: str
    sink: str
    dead_letter_queue: str
    mapping: str = ""


@dataclass(frozen=True)
class SearchTarget:
    """URL of the search cluster, and the names that readers search."""

    endpoint: str
    indexes: tuple[str, ...]


@dataclass(frozen=True)
class DeployedMaintenance:
    """The maintenance of a pipeline.

    Attributes:
        state_machine: ARN of the state machine of `--on aws`.
        function: name of the scheduled function.
    """

    state_machine: str
    function: str


@dataclass(frozen=True)
class Manifest:
    """What the pipeline's stack deployed.

    Attributes:
        pipelines: stacks of all pipelines of the environment, a table each; empty in a file.
        source_tables: tables whose changes are followed.
        tables: physical names of the other tables, by role, such as `change_log`.
        buckets: names by role: `dead_letters`, `on_failure`, `large_images` of a change log, and
            `runs` of the maintenance.
        search: None for a pipeline without a search index.
        erasure: name of the function that erases; empty in a manifest that names none.
        maintenance: None for a pipeline without one.
    """

    pipelines: tuple[str, ...]
    source_tables: tuple[DeployedTable, ...]
    tables: Mapping[str, str]
    processors: tuple[DeployedProcessor, ...]
    buckets: Mapping[str, str]
    search: SearchTarget | None = None
    erasure: str = ""
    maintenance: DeployedMaintenance | None = None

    @classmethod
    def of(cls, stack: str, outputs: Mapping[str, str]) -> "Manifest":
        """Return the manifest among a stack's outputs.

        Raises:
            OperationError: there is none, or none that this version reads.
        """
        if MANIFEST not in outputs:
            message = f"Stack {stack} has no output {MANIFEST}: deploy the pipeline again."
            raise OperationError(message)
        return cls.parse(outputs[MANIFEST], f"The output {MANIFEST} of stack {stack}")

    @classmethod
    def parse(cls, text: str, where: str) -> "Manifest":
        """Return the manifest in a JSON text; `where` names the text in messages.

        Raises:
            OperationError: it is not a manifest, or none that this version reads.
        """
        try:
            document = json.loads(text)
            if (schema := document.pop("schema")) != MANIFEST_SCHEMA:
                message = (
                    f"{where} has schema {schema}, and this version of cdc reads "
                    f"{MANIFEST_SCHEMA}: install the version that the stack was deployed with."
                )
                raise OperationError(message)
            search = document.pop("search", None)
            maintenance = document.pop("maintenance", None)
            return cls(
                **{
                    **document,
                    "pipelines": tuple(document.get("pipelines", ())),
                    "source_tables": tuple(map(DeployedTable.of, document["source_tables"])),
                    "processors": tuple(DeployedProcessor(**p) for p in document["processors"]),
                    "search": search and SearchTarget(search["endpoint"], tuple(search["indexes"])),
                    "maintenance": maintenance and DeployedMaintenance(**maintenance),
                }
            )
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            problem = f"it has no {error}" if isinstance(error, KeyError) else error
            message = (
                f"{where} cannot be read ({problem}): correct it, or use the version of cdc that "
                "the stack was deployed with."
            )
            raise OperationError(message) from error

    @property
    def functions(self) -> dict[str, str]:
        """Names of the functions by processor."""
        return {each.name: each.function for each in self.processors}

    def further_sinks(self, source_table: str) -> list[str]:
        """Return the processors of a table whose sinks are none of the three built in."""
        return sorted(
            each.name
            for each in self.processors
            if each.source_table == source_table and each.sink not in BUILT_IN
        )

    def table(self, role: str) -> str:
        """Return the physical name of the table with a role.

        Raises:
            OperationError: the pipeline has none.
        """
        return _with_role(self.tables, role, "table")

    def bucket(self, role: str) -> str:
        """Return the name of the bucket with a role.

        Raises:
            OperationError: the pipeline has none.
        """
        return _with_role(self.buckets, role, "bucket")

    def source_table(self, name: str | None = None) -> DeployedTable:
        """Return the source table of a logical name; the only one if no name is given.

        Raises:
            UsageError: there is no such table, or several and no name.
        """
        found = [each for each in self.source_tables if name in (None, each.name)]
        if len(found) == 1:
            return found[0]
        known = ", ".join(each.name for each in self.source_tables)
        what = f"no source table {name!r}" if name else "more than one source table"
        message = f"This pipeline has {what}: choose one of {known} with --table."
        raise UsageError(message)


def _with_role(names: Mapping[str, str], role: str, kind: str) -> str:
    if role not in names:
        message = f"This pipeline has no {kind} with the role {role}."
        raise OperationError(message)
    return names[role]
