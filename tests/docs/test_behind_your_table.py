"""The handler and the template of docs/how-to/use-it-behind-your-table.md."""

import importlib.util
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cfnlint.decode  # type: ignore[import-untyped]
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from dynamodb_streams_cdc import (
    Aggregation,
    Change,
    ChangeHandlers,
    ChangeLog,
    Expiry,
    LambdaContext,
    Processor,
    Search,
    Sink,
    Source,
)
from dynamodb_streams_cdc.aws.dynamodb.source_table import DynamoDbSourceTable
from dynamodb_streams_cdc.aws.errors import translated
from dynamodb_streams_cdc.errors import RetryableError
from dynamodb_streams_cdc.operations.manifest import Manifest
from dynamodb_streams_cdc.testing import Lab, Trial, check_convergence
from dynamodb_streams_cdc.testing.memory import (
    MemoryDeadLetters,
    MemoryIndex,
    MemoryLedger,
    MemoryLog,
)
from stacks.packaging import NOT_DEPLOYED
from tests.factories import FakeContext, order, record
from tests.infrastructure.templates import as_list
from tests.infrastructure.test_best_practices import cfn_lint
from tests.lambdas.conftest import aws, context, create_table  # noqa: F401 - fixtures
from tests.schedules import long
from tests.unit.adapters.cloud import Body

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
FILES = HOW_TO / "behind-your-table"
PAGE = (HOW_TO / "use-it-behind-your-table.md").read_text("utf-8")
TEMPLATE: Mapping[str, Any] = cfnlint.decode.decode(str(FILES / "template.yaml"))[0]
STREAM = "arn:aws:dynamodb:us-east-1:111122223333:table/orders-1A2B/stream/2024-05-01T12:00:00.000"

VARIABLES = TEMPLATE["Resources"]["Function"]["Properties"]["Environment"]["Variables"]
OF_THE_MAPPING_AND_THE_RUNTIME = {
    ("dynamodb:DescribeStream", "StreamArn"),
    ("dynamodb:GetRecords", "StreamArn"),
    ("dynamodb:GetShardIterator", "StreamArn"),
    ("dynamodb:ListStreams", "StreamArn"),
    ("logs:CreateLogStream", "Logs"),
    ("logs:PutLogEvents", "Logs"),
    ("s3:ListBucket", "OnFailure"),
    ("s3:PutObject", "OnFailure/*"),
}


# View types


def sinks() -> Iterator[tuple[str, Sink]]:
    """Yield sinks, each with the images that it reads."""
    reads_new, reads_old = ChangeHandlers(), ChangeHandlers()
    for register in (reads_new.on_insert, reads_new.on_modify, reads_new.on_remove):
        register(lambda change: change.new_image)
    for register in (reads_old.on_insert, reads_old.on_modify, reads_old.on_remove):
        register(Change.diff)
    yield "Aggregation", Aggregation(MemoryLedger(), contributions)
    yield "Aggregation, Expiry.KEEP", Aggregation(MemoryLedger(), contributions, Expiry.KEEP)
    yield "Search, handler.py", Search(MemoryIndex(), dict)
    yield "ChangeLog", ChangeLog(MemoryLog())
    yield "ChangeHandlers, new_image", reads_new
    yield "ChangeHandlers, diff()", reads_old


def contributions(item: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    return {"all": {"orders": 1}}


VIEW_TYPES = ("KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES")


def views_that_work() -> None:
    print(f"{'sink':<27}{'KEYS_ONLY':<11}{'NEW_IMAGE':<11}{'OLD_IMAGE':<11}NEW_AND_OLD_IMAGES")
    for number, (name, _) in enumerate(sinks()):
        works = [_works(view_type, number) for view_type in VIEW_TYPES]
        told = ["yes" if each else "no" for each in works]
        print(f"{name:<27}{told[0]:<11}{told[1]:<11}{told[2]:<11}{told[3]}")


def _works(view_type: str, number: int) -> bool:
    """Return whether a sink applies the changes of an item: put, changed, expired, deleted."""
    lab = Lab(lambda event, _: None, view_type=view_type)
    lab.put({"id": "1001", "status": "placed"}, {"id": "1001", "status": "shipped"})
    lab.expire({"id": "1001"})
    lab.put({"id": "1002", "status": "placed"})
    lab.delete({"id": "1002"})
    lab.run()
    dead_letters = MemoryDeadLetters()
    sink = list(sinks())[number][1]
    processor = Processor("name", Source("orders"), sink, dead_letters, clock=lab.clock)
    records = [each for delivery in lab.deliveries for each in delivery.records]
    response = processor({"Records": records}, FakeContext(lab.clock))
    return not response["batchItemFailures"] and not dead_letters.dead_letters


# The handler

DEPLOYED = {"DeadLetters": "dead-letters", "Source": "orders"}
"""Names here of resources that cannot have those of the template."""

PLACED, SHIPPED = order(), order(status="shipped")
CHANGES = [
    record(1, None, PLACED, view_type="NEW_IMAGE"),
    record(2, PLACED, SHIPPED, view_type="NEW_IMAGE"),
    record(3, SHIPPED, None, view_type="NEW_IMAGE"),
]
POISON = record(4, None, {"customer_id": "1", "order_id": "2"})


@dataclass
class Function:
    """The module as Lambda imports it, in an account whose resources have the template's names."""

    module: Any
    context: LambdaContext
    dynamodb: Any

    def deliver(self, *records: Any) -> None:
        event = {"Records": list(records)}
        assert self.module.handler(event, self.context) == {"batchItemFailures": []}

    def write(self, item: Mapping[str, Any]) -> None:
        image = record(1, None, item)["dynamodb"]["NewImage"]
        self.dynamodb.put_item(TableName="orders-1A2B", Item=image)

    def repair(self) -> int:
        """Repair the item of `CHANGES`; return how many rows differed."""
        keys = CHANGES[0]["dynamodb"]["Keys"]
        event = {"operation": "repair", "streamArn": STREAM, "Records": [{"Keys": keys}]}
        response = self.module.handler(event, self.context)
        assert response["failures"] == []
        return int(response["repaired"])

    def backfill(self) -> int:
        """Fill the copy from the table; return how many items were read."""
        keys = {"customer_id": "S", "order_id": "S"}
        event = {"operation": "backfill", "streamArn": STREAM, "keys": keys, "Records": []}
        response = self.module.handler(event, self.context)
        assert (response["failures"], response["problem"]) == ([], "")
        return int(response["read"])

    def row(self) -> tuple[str | None, int]:
        """The status in the copy, and the number of the change that it shows."""
        item = "orders/S=00004/S=00004-0001"
        held = self.module.processor().sink.held(item, self.module.processor().clock)
        numbers = [each["dynamodb"]["SequenceNumber"] for each in CHANGES]
        version = held["version"].rpartition("/")[2].lstrip("0")
        status = held["view"]["status"] if held["view"] else None
        return status, numbers.index(version) + 1


@pytest.fixture
def function(
    aws: Callable[[str], Any],  # noqa: F811
    context: LambdaContext,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Function:
    create_table(aws("dynamodb"), "Copy", [("item", "S")])
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, DEPLOYED.get(resolved(value), resolved(value)))
    spec = importlib.util.spec_from_file_location("handler", FILES / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Function(module, context, aws("dynamodb"))


class Rows:
    """The table of the copy in memory, with the conditions that the handler uses."""

    class Refused(Exception):
        pass

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        refusal = SimpleNamespace(ConditionalCheckFailedException=Rows.Refused)
        self.meta = SimpleNamespace(client=SimpleNamespace(exceptions=refusal))

    def get_item(self, *, Key: Mapping[str, str], ConsistentRead: bool) -> dict[str, Any]:
        found = self.rows.get(Key["item"])
        return {"Item": dict(found)} if found else {}

    def put_item(self, *, Item: dict[str, Any], ConditionExpression: Any) -> None:
        if not self._holds(ConditionExpression, self.rows.get(Item["item"], {})):
            raise Rows.Refused
        self.rows[Item["item"]] = Item

    def _holds(self, condition: Any, row: Mapping[str, Any]) -> bool:
        expression = condition.get_expression()
        first, *others = expression["values"]
        match expression["operator"]:
            case "OR":
                return any(self._holds(each, row) for each in expression["values"])
            case "attribute_not_exists":
                return first.name not in row
            case "<":
                return first.name in row and row[first.name] < others[0]
            case "=":
                return bool(row.get(first.name) == others[0])
        raise AssertionError(expression)

    def views(self) -> dict[str, Any]:
        """Return the views by identity, without those of deleted items."""
        return {name: row["view"] for name, row in self.rows.items() if row["view"] is not None}


def test_the_copy_converges_after_any_schedule_of_faults(function: Function) -> None:
    """With redrives, which repair the items whose view fails."""

    def make(trial: Trial) -> Any:
        rows = Rows()
        processor = Processor(
            "copy",
            Source("items"),
            function.module.Copy(trial.faulty(rows)),
            trial.dead_letters,
            clock=trial.clock,
            source_table=trial.source_table,
        )
        return processor, rows.views

    function.module.view = lambda item: {"amount": item["amount"]}
    for poison in (None, lambda item: {k: v for k, v in item.items() if k != "amount"}):
        check_convergence(
            make,
            wanted=lambda items: {
                f"items/S={item['id']}": {"amount": item["amount"]} for item in items
            },
            poison=poison,
            schedules=30,
            view_type="NEW_IMAGE",
            FunctionResponseTypes=["ReportBatchItemFailures"],
        )


def test_a_page_in_place_of_an_answer_is_an_outage(function: Function) -> None:
    """botocore takes it for an empty answer, and the change would count as written."""
    copy = function.module.processor().sink.table
    page = AWSResponse("", 200, HTTPHeaders(), Body(b"<html><body>Sign in</body></html>"))
    copy.meta.client.meta.events.register_first("before-send", lambda **_: page)
    with pytest.raises(RetryableError), translated():
        copy.put_item(Item={"item": "1"})


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_the_copy_shows_the_newest_change_in_any_order(
    function: Function, order: Sequence[int]
) -> None:
    for place in (*order, order[0]):
        function.deliver(CHANGES[place])
    assert function.row() == (None, 3)


def test_a_repair_keeps_the_version_of_the_row(function: Function) -> None:
    function.deliver(*CHANGES[:2])
    function.write(order(status="returned"))
    assert function.repair() == 1
    assert function.row() == ("returned", 2)
    assert function.repair() == 0
    function.deliver(CHANGES[2])
    assert function.row() == (None, 3)


def test_a_repair_starts_again_after_a_change(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    function.deliver(CHANGES[0])
    function.write(order(status="returned"))
    read, later = DynamoDbSourceTable.read, iter(CHANGES[1:2])

    def overtaken(table: DynamoDbSourceTable, keys: Any) -> Any:
        item = read(table, keys)
        function.deliver(*later)
        return item

    monkeypatch.setattr(DynamoDbSourceTable, "read", overtaken)
    function.repair()
    assert function.row() == ("returned", 2)


# The template


def resolved(value: Any) -> str:
    """Return a value with the names of resources and parameters in place of references."""
    match value:
        case {"Ref": name} | {"Fn::GetAtt": [name, _]}:
            return str(name)
        case {"Fn::Sub": text}:
            return re.sub(r"\$\{(\w+)(\.Arn)?\}", r"\1", str(text))
        case {"Fn::Select": [place, {"Fn::Split": [mark, {"Ref": "StreamArn"}]}]}:
            return STREAM.split(str(mark))[int(place)].rpartition("/")[2]
        case _:
            return str(value)


def granted() -> Iterator[tuple[str, str]]:
    """Yield every action and resource that the role allows, in the order of the template."""
    [policy] = TEMPLATE["Resources"]["Role"]["Properties"]["Policies"]
    for statement in policy["PolicyDocument"]["Statement"]:
        for action in as_list(statement["Action"]):
            for resource in map(resolved, as_list(statement["Resource"])):
                yield action, resource


def test_the_role_allows_the_calls_of_the_function_alone(function: Function) -> None:
    function.write(PLACED)
    called: set[tuple[str, str]] = set()

    def note(params: Mapping[str, Any], model: Any, **others: Any) -> None:
        if model.name == "PutObject":
            key = re.sub(r"(?<=^dead-letters/copy/).+", "*", params["Key"])
            called.add(("s3:PutObject", f"DeadLetters/{key}"))
        else:
            called.add((f"dynamodb:{model.name}", params["TableName"]))

    copy = function.module.processor().sink.table.meta.client
    for client in (copy, function.module.dynamodb(), function.module.s3()):
        client.meta.events.register("before-parameter-build", note)
    function.deliver(CHANGES[0], POISON)
    function.repair()
    assert function.backfill() == 1
    assert set(granted()) == called | OF_THE_MAPPING_AND_THE_RUNTIME


@long
def test_cloudformation_takes_the_template_in_every_region() -> None:
    found = cfn_lint(FILES / "template.yaml")
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_manifest_is_one_that_cdc_reads() -> None:
    [text, names] = TEMPLATE["Outputs"]["Manifest"]["Value"]["Fn::Sub"]
    keys = TEMPLATE["Parameters"]["Keys"]["Default"]
    values: dict[str, str] = {"Keys": keys, "Table": resolved(names["Table"])}
    filled = re.sub(r"\$\{(\w+)\}", lambda found: values.get(found[1], str(found[1])), text)
    manifest = Manifest.parse(filled, "The template")
    assert manifest.source_table().table == "orders-1A2B"
    assert list(manifest.source_table().keys) == list(json.loads(keys))
    assert manifest.functions == {VARIABLES["PROCESSOR"]: "Function"}
    resources = TEMPLATE["Resources"]
    named = {*manifest.buckets.values(), *manifest.tables.values(), "Queue", "Function"}
    assert named <= resources.keys()


def test_the_mapping_is_that_of_the_page() -> None:
    mapping = TEMPLATE["Resources"]["Mapping"]["Properties"]
    shown = dict(re.findall(r"^\| `(\w+)[\w.]*` \| [^|]+ \| (.+?) \|", PAGE, re.MULTILINE))
    assert shown.pop("DestinationConfig") == "a bucket"
    for name, value in shown.items():
        stated = mapping.get(name)
        text = as_list(stated["Metrics"] if isinstance(stated, dict) else stated)[0]
        assert str(text).lower() == value.replace(",", "").split(" ")[0].lower(), name


# The page


def test_the_page_leaves_out_what_the_app_leaves_out() -> None:
    [wings] = re.findall(r"rm -r \S+ build/dynamodb_streams_cdc/\{(.+)\}", PAGE)
    # The app packages the operators' drivers for its maintenance, which a handler alone has not.
    left_out = {*NOT_DEPLOYED, "dynamodb_streams_cdc/operations"}
    assert {f"dynamodb_streams_cdc/{wing}" for wing in wings.split(",")} == left_out


def test_the_page_says_how_late_the_alarm_may_be() -> None:
    alarm = TEMPLATE["Resources"]["DeadLettersPresent"]["Properties"]
    assert (alarm["Namespace"], alarm["Period"], alarm["EvaluationPeriods"]) == ("AWS/SQS", 300, 1)
    assert "within five minutes, or up to 15 minutes later if the queue was idle" in PAGE


def test_pages_name_what_lambda_lacks_in_china() -> None:
    mapping = TEMPLATE["Resources"]["Mapping"]["Properties"]
    assert {"DestinationConfig", "MetricsConfig"} <= mapping.keys()
    limits = (HOW_TO.parents[1] / "README.md").read_text("utf-8").partition("\n## Limits\n")[2]
    for text in (PAGE, limits):
        [line] = [each for each in re.split(r"\n(?=\n|- )", text) if "China" in each]
        assert "S3 as destination" in " ".join(line.split())
        assert "metrics" in line


def test_the_page_has_the_size_of_the_package() -> None:
    library = HOW_TO.parents[1] / "src" / "dynamodb_streams_cdc"
    wings = {*(Path(wing).name for wing in NOT_DEPLOYED), "operations"}
    files = [
        path for path in library.rglob("*.py") if path.relative_to(library).parts[0] not in wings
    ]
    files.append(FILES / "handler.py")
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as package:
        for number, path in enumerate(files):
            package.write(path, f"{number}/{path.name}")
    bytes_ = (sum(path.stat().st_size for path in files), len(zipped.getvalue()))
    [told] = re.findall(r"The package has ([\d.]+) MB \(([\d.]+) MB zipped\)", PAGE)
    for size, megabytes in zip(bytes_, told, strict=True):
        assert abs(size / 1e6 - float(megabytes)) < 0.05


def rights() -> None:
    print(f"{'action':<27}resource")
    for action, resource in granted():
        print(f"{action:<27}{resource}")
