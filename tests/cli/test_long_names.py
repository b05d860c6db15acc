"""Commands with a job, of a stack whose name is as long as CloudFormation takes."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest

from dynamodb_streams_cdc.sinks import generations
from tests.cli.conftest import Cloud
from tests.lambdas.conftest import create_table
from tests.unit.operated import Operated

LONGEST = "s" * 128


@pytest.fixture
def long(cloud: Cloud) -> Iterator[Cloud]:
    """A pipeline of a long name with a table of 12 items, and sums that are right."""
    made = Operated(12)
    made.backfill().run()
    cloud.stacks = [LONGEST]
    cloud.table.update(name="items", table="items-1A2B", keys={"id": "S"})
    client = cloud.client("dynamodb")
    create_table(client, "items-1A2B", [("id", "S")])
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    client.update_table(TableName="items-1A2B", StreamSpecification=stream)
    cloud.add_processor("aggregation")
    for each in cloud.manifest["processors"]:
        each["source_table"] = "items"
    cloud.pipeline.answers["aggregation"] = lambda event: made.invoke("aggregation", event)
    with patch.object(generations, "WAIT_SECONDS", 0.0):
        yield cloud


@pytest.mark.parametrize(
    "command",
    [
        ("verify", "--settle", "0", "-p", "aggregation"),
        ("verify", "--settle", "0", "-p", "aggregation", "id=item-1"),
        ("backfill", "--yes", "-p", "aggregation"),
        ("purge", "--yes", "-p", "aggregation"),
        ("rebuild", "aggregation", "--yes"),
    ],
)
def test_a_stack_may_have_a_long_name(long: Cloud, command: tuple[str, ...]) -> None:
    done = long.run(*command, "--stack", LONGEST)
    assert done.exit_code == 0, done.output
