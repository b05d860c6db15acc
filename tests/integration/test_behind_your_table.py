"""The files of docs/how-to/use-it-behind-your-table.md, deployed to the emulator and used."""

from __future__ import annotations

import io
import shutil
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from local.deployed.command_line import CommandLine
from local.deployed.deployment import ROOT, session
from local.deployed.poller_process import PollerProcess
from local.services import service
from stacks.packaging import IGNORED, NOT_DEPLOYED
from tests.integration.processes import eventually
from tests.lambdas.conftest import create_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import boto3

FILES = ROOT / "docs" / "how-to" / "behind-your-table"
TABLE = "shop-orders"
STACK = "orders-copy"
CODE = "code-bucket"


def order(number: int, **attributes: Any) -> dict[str, Any]:
    key = {"customer_id": f"{number % 7:05}", "order_id": f"{number:04}"}
    state = {"status": "placed", "total": Decimal(number), "note": "not in the copy"}
    return {**key, **state, **attributes}


def identity(item: Mapping[str, Any]) -> str:
    return f"orders/S={item['customer_id']}/S={item['order_id']}"


@dataclass
class Deployed:
    """The table, the stack behind it, and the commands of a person who operates it."""

    aws: boto3.Session
    cdc: CommandLine
    outputs: Mapping[str, str]

    @property
    def table(self) -> Any:
        return self.aws.resource("dynamodb").Table(TABLE)

    @property
    def copied(self) -> dict[str, Any]:
        """The views in the copy by item; those of deleted items left out."""
        rows = self.aws.resource("dynamodb").Table(self.outputs["CopyTable"]).scan()["Items"]
        return {str(row["item"]): row["view"] for row in rows if row["view"] is not None}

    @property
    def wanted(self) -> dict[str, Any]:
        """The views of all items in the table."""
        items = self.table.scan()["Items"]
        return {
            identity(item): {"status": item["status"], "total": item["total"]} for item in items
        }

    @property
    def dead_letters(self) -> list[dict[str, Any]]:
        status, listed = self.cdc.json("dead-letters", "list")
        assert status == 0
        found: list[dict[str, Any]] = listed["dead_letters"]
        return found


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The page's stack behind a table with 30 items, whose stream was turned on after them."""
    with ExitStack() as stack:
        url = stack.enter_context(service.emulator()).url
        aws = session(url)
        dynamodb = aws.client("dynamodb")
        stack.callback(dynamodb.close)
        create_table(dynamodb, TABLE, [("customer_id", "S"), ("order_id", "S")])
        with aws.resource("dynamodb").Table(TABLE).batch_writer() as writer:
            for number in range(30):
                writer.put_item(order(number))
        described = dynamodb.update_table(
            TableName=TABLE,
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        )
        stream = described["TableDescription"]["LatestStreamArn"]
        outputs = deploy(aws, stream, tmp_path_factory.mktemp("package"))
        stack.enter_context(PollerProcess(url))
        yield Deployed(aws, CommandLine.of_emulator(url).on(STACK), outputs)


def deploy(aws: boto3.Session, stream: str, folder: Path) -> dict[str, str]:
    """Do what the page's commands do: package, upload, deploy; return the stack's outputs."""
    template = (FILES / "template.yaml").read_text()
    assert template.count("Code: build\n") == 1
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=CODE)
    s3.put_object(Bucket=CODE, Key="copy.zip", Body=package(folder / "build"))
    s3.close()
    client = aws.client("cloudformation")
    client.create_stack(
        StackName=STACK,
        TemplateBody=template.replace("build\n", f"{{S3Bucket: {CODE}, S3Key: copy.zip}}\n"),
        Parameters=[{"ParameterKey": "StreamArn", "ParameterValue": stream}],
        Capabilities=["CAPABILITY_IAM"],
    )
    client.get_waiter("stack_create_complete").wait(
        StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    [described] = client.describe_stacks(StackName=STACK)["Stacks"]
    client.close()
    return {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}


def package(folder: Path) -> bytes:
    """Return the package: the library without the wings that are not deployed, and the handler."""
    shutil.copytree(
        ROOT / "src" / "dynamodb_streams_cdc",
        folder / "dynamodb_streams_cdc",
        ignore=shutil.ignore_patterns(*IGNORED),
    )
    for wing in NOT_DEPLOYED:
        shutil.rmtree(folder / wing)
    shutil.copy(FILES / "handler.py", folder)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return made.getvalue()


def test_changes_are_copied_and_older_items_are_not(deployed: Deployed) -> None:
    for number in range(30, 50):
        deployed.table.put_item(Item=order(number))
    for number in (3, 31):
        deployed.table.put_item(Item=order(number, status="shipped"))
    for number in (4, 32):
        item = order(number)
        deployed.table.delete_item(
            Key={"customer_id": item["customer_id"], "order_id": item["order_id"]}
        )
    changed = {identity(order(number)) for number in (3, *range(30, 50)) if number != 32}
    wanted = {item: view for item, view in deployed.wanted.items() if item in changed}
    eventually(lambda: deployed.copied == wanted)


def test_a_backfill_copies_the_older_items(deployed: Deployed) -> None:
    status, report = deployed.cdc.json("backfill", "--yes")
    assert (status, report["read"], report["failures"]) == (0, {"copy": 48}, [])
    assert deployed.copied == deployed.wanted
    assert deployed.cdc.json("backfill", "--yes")[1]["applied"] == {"copy": 0}
    status, report = deployed.cdc.json("repair", "--all")
    assert (status, report["items"], report["repaired"]) == (0, 48, {"copy": 0})


def test_a_poison_item_becomes_a_dead_letter_and_blocks_nothing(deployed: Deployed) -> None:
    poison = order(50)
    del poison["status"]
    deployed.table.put_item(Item=poison)
    deployed.table.put_item(Item=order(51))
    eventually(lambda: deployed.copied.keys() >= {identity(order(51))})
    assert identity(poison) not in deployed.copied

    [dead_letter] = deployed.dead_letters
    assert (dead_letter["processor"], dead_letter["reason"]) == ("copy", "KeyError")
    assert dead_letter["items"] == [identity(poison)]
    status, shown = deployed.cdc.json("dead-letters", "show", dead_letter["key"])
    assert (status, [held["state"] for held in shown["held"]]) == (0, [None])

    status, report = deployed.cdc.json("redrive", "--yes")
    assert (status, report["archived"]) == (1, 0), "before the fix it fails again"

    deployed.table.put_item(Item=order(50))
    status, report = deployed.cdc.json("redrive", "--yes")
    assert (status, report["archived"]) == (0, 1)
    assert report["notifications"]["copy"] == {"cleared": 1, "remaining": 0, "unknown": []}
    assert deployed.dead_letters == []
    eventually(lambda: deployed.copied == deployed.wanted)


def test_everything_but_the_table_can_be_removed(deployed: Deployed) -> None:
    s3 = deployed.aws.client("s3")
    buckets = [each["Name"] for each in s3.list_buckets()["Buckets"] if each["Name"] != CODE]
    for bucket in buckets:
        for found in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=found["Key"])
    s3.close()
    client = deployed.aws.client("cloudformation")
    client.delete_stack(StackName=STACK)
    client.get_waiter("stack_delete_complete").wait(
        StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    client.close()
    assert len(buckets) == 2
    assert deployed.table.stream_specification["StreamEnabled"]
    assert deployed.table.item_count == 50
