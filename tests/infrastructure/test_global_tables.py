"""A global table serves one reader per shard: the replication reads as well."""

import json
from typing import Any

import pytest

from stacks.errors import SynthError
from tests.infrastructure.conftest import GLOBAL_TABLE, ORDERS, STREAM, Synthesise
from tests.infrastructure.templates import (
    Assembly,
    allowed,
    environment_of,
    flat,
    only,
    processors,
)


def existing(**more: Any) -> str:
    return json.dumps({"orders": {"arn": ORDERS, "stream_arn": STREAM, **more}})


@pytest.fixture(scope="module")
def follower(synthesise: Synthesise) -> Assembly:
    return synthesise(environment="sandbox", source_tables=GLOBAL_TABLE)


def source_of(assembly: Assembly, processor: str) -> str:
    mapping = only(
        assembly.pipeline, "AWS::Lambda::EventSourceMapping", f"{processor.title()}Mapping"
    )
    return flat(mapping["Properties"]["EventSourceArn"])


def test_audit_alone_reads_the_table(follower: Assembly) -> None:
    assert source_of(follower, "audit") == STREAM
    for processor in ("aggregation", "search"):
        assert source_of(follower, processor).startswith("ChangeLogTable")


def test_a_table_of_one_region_serves_two(synthesise: Synthesise) -> None:
    assembly = synthesise(environment="sandbox", source_tables=existing())
    assert source_of(assembly, "aggregation") == source_of(assembly, "audit") == STREAM


def test_the_aggregation_reads_large_images_of_the_log(follower: Assembly) -> None:
    variables = environment_of(processors(follower.pipeline)["aggregation"])
    assert variables["FEED"] == "change-log"
    bucket = variables["LARGE_IMAGES_BUCKET"]
    images = {(action, on) for action, on in allowed(follower.pipeline, "aggregation")}
    assert ("s3:GetObject", f"{bucket}.Arn/*") in images


def test_a_reader_that_is_there_leaves_no_room(synthesise: Synthesise) -> None:
    tables = existing(global_table=True, readers=1)
    with pytest.raises(SynthError) as refused:
        synthesise(environment="sandbox", source_tables=tables)
    assert "must read its stream, which serves 0 of this app's processors" in str(refused.value)
