"""The output `Manifest`: what the pipeline's stack deployed, in JSON, for `cdc` and other programs.

It is not exported, so the limit of 1,024 characters does not apply to it: that limit is the one of
exported values (https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/685).
AWS Amplify keeps its configuration in outputs too, and measured about 450,000 characters as the
limit of all outputs of a stack (https://github.com/aws-amplify/amplify-backend/pull/946).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import CfnOutput, Stack

from dynamodb_streams_cdc.entities import Entity, Table
from dynamodb_streams_cdc.names import MANIFEST, MANIFEST_SCHEMA
from stacks.constructs.change_table import ChangeTable
from stacks.constructs.dead_letters import DeadLetters
from stacks.constructs.large_images import LargeImages
from stacks.constructs.source_table import SourceTable
from stacks.constructs.stream_processor import StreamProcessor
from stacks.maintenance import Maintenance


def add_manifest(
    stack: Stack,
    *,
    pipelines: Sequence[str],
    declaration: Table,
    source: SourceTable,
    tables: Mapping[str, ChangeTable],
    processors: Sequence[StreamProcessor],
    dead_letters: DeadLetters,
    large_images: LargeImages | None,
    search: Mapping[str, Any] | None,
    erasure: str,
    maintenance: Maintenance | None,
) -> None:
    """Add the output.

    `pipelines` are the stacks of all pipelines of the environment; `tables` are those in addition
    to the source table, by role; `erasure` is the name of the function that erases.
    """
    manifest = {
        "schema": MANIFEST_SCHEMA,
        "pipelines": list(pipelines),
        "source_tables": [
            {
                "name": declaration.name,
                "table": source.name,
                "keys": source.keys,
                "stream": source.stream_arn,
                "entities": {entity.name: _patterns(entity) for entity in declaration.entities},
            }
        ],
        "tables": {role: table.name for role, table in tables.items()},
        "processors": [
            {
                "name": processor.name,
                "function": processor.function.function_name,
                "feed": processor.feed.kind,
                "source_table": processor.source_table,
                "sink": processor.sink,
                "mapping": processor.mapping.event_source_mapping_id,
                "dead_letter_queue": processor.dead_letters.queue.queue_url,
            }
            for processor in processors
        ],
        "search": search,
        "erasure": erasure,
        "maintenance": maintenance.manifest() if maintenance else None,
        "buckets": {
            "dead_letters": dead_letters.bucket.bucket_name,
            "on_failure": dead_letters.on_failure.bucket_name,
            **({"large_images": large_images.bucket.bucket_name} if large_images else {}),
            **({"runs": maintenance.bucket.bucket_name} if maintenance else {}),
        },
    }
    CfnOutput(
        stack,
        MANIFEST,
        value=stack.to_json_string(manifest),
        description="Tables, processors, search index and buckets of this pipeline (JSON)",
    )


def _patterns(entity: Entity) -> dict[str, Any]:
    """Return the conditions on an entity's keys, by attribute."""
    return {
        name: {"kind": pattern.kind, "values": list(pattern.values)}
        for name, pattern in entity.keys.items()
    }
