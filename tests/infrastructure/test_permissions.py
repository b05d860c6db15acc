"""What a function calls, its role allows; what its role allows, it calls."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from opensearchpy import NotFoundError, Urllib3HttpConnection

import dynamodb_streams_cdc
from dynamodb_streams_cdc import Change, LambdaContext
from dynamodb_streams_cdc.aws.opensearch_errors import MISSING
from dynamodb_streams_cdc.deserializer import serialize_item
from dynamodb_streams_cdc.guards.attempts import name_of
from dynamodb_streams_cdc.names import ATTEMPT
from dynamodb_streams_cdc.sinks import written_indexes
from dynamodb_streams_cdc.sinks.log_entries import entry_of
from lambdas import runtime
from lambdas.aggregation import handler as aggregation
from lambdas.audit import handler as audit
from lambdas.notifications import handler as notifications
from lambdas.search import handler as search_handler
from tests.factories import STREAM, change, customer, order, record
from tests.infrastructure.deployment import Deployment, context_of
from tests.infrastructure.policies import Context, Request
from tests.infrastructure.templates import (
    Assembly,
    allowed,
    as_list,
    environment_of,
    flat,
    of_type,
    processors,
)
from tests.lambdas.conftest import (
    ENVIRONMENT,
    aws,  # noqa: F401 - a fixture
    context,  # noqa: F401 - a fixture
    with_notifications,
)

Handler = Callable[[Any, LambdaContext], Any]
Permission = tuple[str, str]
"""An action and the resource that IAM is asked about."""

PARTS = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
}
"""A transaction needs the permissions of its parts
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html)."""

OTHERS_CALL = {
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    # The mapping asks for it; and a role with it is told that an object is not there.
    "s3:ListBucket",
}
"""What the mapping and the runtime call with the function's role."""

OLD_TOMBSTONE = {
    "id": "ledger/orders/S=00009/S=1",
    "version": "0001",
    "revision": 1,
    "contribution": {},
    "changed_at": 1,
    "written_at": 1,
    "deleted": True,
    "retained": False,
}

PLACED = order()
REFUNDED = order(status="refunded")
POISON = order("00005-1", lines=[])
LARGE = order("00006-1", note="x" * 390_000)
CUSTOMER = customer()


def in_log(sequence: int, entry: Any) -> dict[str, Any]:
    """The record of an entry that was added to the change log."""
    added = record(sequence, None, PLACED)
    return {**added, "dynamodb": {**added["dynamodb"], "NewImage": entry}}


def entry(made: Change, **others: Any) -> dict[str, Any]:
    return {**entry_of(made), **others}


FUNCTIONS: Mapping[str, tuple[Handler, list[Any]]] = {
    "aggregation": (
        aggregation.handler,
        [record(1, None, PLACED), record(2, None, {**POISON, "keys_of_no_type": None})],
    ),
    "audit": (
        audit.handler,
        [record(1, None, PLACED), record(2, PLACED, LARGE), {"no": "record"}],
    ),
    "search": (
        search_handler.handler,
        [
            in_log(1, entry(change(1, None, PLACED))),
            in_log(2, entry(change(2, None, POISON))),
            in_log(4, entry(change(4, None, CUSTOMER))),
            in_log(3, {**entry(change(3, None, LARGE)), "overflow": {"S": "an item/a version"}}),
        ],
    ),
    "notifications": (
        notifications.handler,
        [
            in_log(1, entry(change(1, PLACED, REFUNDED))),
            in_log(2, entry(change(2, None, POISON))),
            in_log(3, {**entry(change(3, None, LARGE)), "overflow": {"S": "an item/a version"}}),
        ],
    ),
}


class Calls:
    """The permissions that calls need, as they are made, and what the requests carry."""

    def __init__(self) -> None:
        self.needed: set[Permission] = set()
        self.contexts: dict[Permission, Context] = {}
        self.indexes: set[str] = set()

    def aws(self, params: Mapping[str, Any], model: Any, **others: Any) -> None:
        needed = others["context"]["needed"] = list(needs(model.name, params))
        self.needed.update(needed)
        others["context"]["leading"] = dict(leading_keys(model.name, params))

    def sent(self, params: Mapping[str, Any], **others: Any) -> None:
        """Note what is about to be sent: the client's own headers and address."""
        for permission in others["context"]["needed"]:
            made = context_of(permission[0], url=params["url"], headers=params["headers"])
            if leading := others["context"]["leading"].get(permission[0]):
                made = {**made, "dynamodb:leadingkeys": leading}
            self.contexts[permission] = made

    def search(self, method: str, url: str, *args: Any, **_: Any) -> Any:
        """Answer as OpenSearch does that has no index at first, and then no document."""
        permission = f"es:ESHttp{method.capitalize()}", f"domain{url}"
        self.needed.add(permission)
        self.contexts[permission] = context_of(permission[0])
        index = re.split(r"-v\d|-write|-second", url)[0]
        created = f"{index}-v1" in self.indexes
        if method == "PUT" and re.search(r"-v\d$", url):
            self.indexes.add(url)
        if method == "GET" and url.endswith(("_alias", "_mapping")):
            name = url.rpartition("/")[0]
            number = 1 if name.endswith("-write") else 2 if name.endswith("-second") else name[-1]
            described: dict[str, Any] = {f"{index[1:]}-v{number}": {"aliases": {}, "mappings": {}}}
            there = f"{index}-v{number}" in self.indexes
            return 200, {}, json.dumps(described if there else {"error": {"type": MISSING}})
        if "_bulk" in url:
            sent = re.findall(rb'^{"(create|update)"', args[1], re.MULTILINE)
            items = [{action.decode(): {"status": 200, "result": "created"}} for action in sent]
            return 200, {}, json.dumps({"errors": False, "items": items})
        if url.endswith("_mget"):
            asked = json.loads(args[1])["ids"]
            return 200, {}, json.dumps({"docs": [{"_id": i, "found": False} for i in asked]})
        if "_delete_by_query" in url:
            return 200, {}, json.dumps({"deleted": 0})
        if url.endswith("_search") and b'"size":0' in args[1].replace(b" ", b""):
            return 200, {}, json.dumps({"hits": {"total": {"value": 0}}})
        if url.endswith("_search"):
            shards = {"failed": 0, "successful": 1}
            return (
                200,
                {},
                json.dumps({"timed_out": False, "_shards": shards, "hits": {"hits": []}}),
            )
        if method == "GET" or ("_doc" in url and not created):
            raise NotFoundError(404, MISSING, {"error": {"type": MISSING}})
        return 200, {}, json.dumps({"_shards": {"total": 1}})


def leading_keys(operation: str, params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each action of a request with the partition key of its item."""
    requests = [
        (PARTS[part], request)
        for each in params.get("TransactItems", ())
        for part, request in each.items()
    ]
    if "TableName" in params:
        requests.append((f"dynamodb:{operation}", params))
    for action, request in requests:
        if key := request.get("Key") or request.get("Item"):
            yield action, next(iter(next(iter(key.values())).values()))


def needs(operation: str, params: Mapping[str, Any]) -> Iterator[Permission]:
    match operation:
        case "BatchGetItem":
            yield from (("dynamodb:BatchGetItem", table) for table in params["RequestItems"])
        case "TransactWriteItems":
            for action in params["TransactItems"]:
                for part, request in action.items():
                    yield PARTS[part], request["TableName"]
        case "BatchExecuteStatement":
            for statement in params["Statements"]:
                insert = re.match(r'INSERT INTO "([^"]+)" VALUE', statement["Statement"])
                assert insert is not None
                yield "dynamodb:PartiQLInsert", insert[1]
        case "GetItem" | "PutItem" | "UpdateItem" | "DeleteItem" | "Query" | "Scan":
            yield f"dynamodb:{operation}", params["TableName"]
        case "GetObject" if "VersionId" in params:
            yield "s3:GetObjectVersion", f"{params['Bucket']}/{params['Key']}"
        case "ListObjectVersions":
            yield "s3:ListBucketVersions", params["Bucket"]
        case "DeleteObjects":
            for each in params["Delete"]["Objects"]:
                for action in ("s3:DeleteObject", "s3:DeleteObjectVersion"):
                    yield action, f"{params['Bucket']}/{each['Key']}"
        case "PutObject" | "GetObject":
            if "IfMatch" in params:
                yield "s3:GetObject", f"{params['Bucket']}/{params['Key']}"
            yield f"s3:{operation}", f"{params['Bucket']}/{params['Key']}"
        case "Publish":
            yield "sns:Publish", params["TopicArn"]
        case _:
            pytest.fail(f"{operation}: which permissions does it need?")


@pytest.mark.parametrize("processor", FUNCTIONS)
def test_a_function_calls_what_its_role_allows_and_all_of_it(
    processor: str,
    aws: Any,  # noqa: F811
    context: LambdaContext,  # noqa: F811
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    further = processor == "notifications"
    assembly: Assembly = request.getfixturevalue("notifying" if further else "sandbox")
    template = assembly.pipeline
    function = processors(template)[processor]
    variables = environment_of(function)
    for name in ("FEED", "PROCESSOR", "DEAD_LETTER_PREFIX"):
        monkeypatch.setenv(name, variables[name])
    images = json.dumps({"before": None, "after": record(3, None, LARGE)["dynamodb"]["NewImage"]})
    aws("s3").put_object(Bucket="large-images", Key="an item/a version", Body=images)

    if further:
        monkeypatch.setattr(runtime, "TABLES", with_notifications())
        aws("sns").create_topic(Name="notices")

    calls = Calls()
    monkeypatch.setattr(written_indexes, "LOOKUP_SECONDS", 0.0)
    monkeypatch.setattr(Urllib3HttpConnection, "perform_request", calls.search)
    for client in (runtime.dynamodb(), runtime.s3(), notifications.sns()):
        client.meta.events.register("before-parameter-build", calls.aws)
        client.meta.events.register("before-call", calls.sent)
    handler, records = FUNCTIONS[processor]
    assert handler({"Records": records}, context) == {"batchItemFailures": []}
    assert len([key for action, key in calls.needed if "/dead-letters/" in key]) == 1, "the poison"
    assert handler({"Records": records[:1]}, context) == {"batchItemFailures": []}, "a suspect"
    for operation in ("replay", "inspect"):
        handler({"operation": operation, "Records": records}, context)
    note = {"operation": "notes", "write": {"verify/any": {}}, "erase": ["fill/any"]}
    assert handler({**note, "Records": []}, context)["notes"]
    if not further:
        for item in (PLACED, LARGE, CUSTOMER):
            aws("dynamodb").put_item(TableName="orders-1A2B", Item=serialize_item(item))
        operate(handler, processor, context)

    granted = {
        (action, re.sub(r"^cdc-\w+-search-DomainArn", "domain", resource))
        for action, resource in allowed(template, processor)
    }
    destination = flat(template["Outputs"]["OnFailureBucketName"]["Value"])
    own = {each for each in granted if not each[1].startswith(destination)}
    check(assembly, function, calls, granted, own)


def operate(handler: Handler, processor: str, invocation: LambdaContext) -> None:
    """Do what an operator does with a sink that can be compared."""
    keys = {"customer_id": "S", "order_id": "S"}
    placed = record(1, None, PLACED)["dynamodb"]["Keys"]
    verify = {"operation": "verify", "keys": keys, "Records": []}
    table = handler({**verify, "of": "table"}, invocation)
    assert table["done"], table
    for store in range(table["stores"]):
        handler({**verify, "of": "copies", "store": store}, invocation)
    handler({**verify, "of": "sums"}, invocation)
    handler({**verify, "of": "items", "Records": [{"Keys": placed}]}, invocation)
    backfill = {"operation": "backfill", "keys": keys, "streamArn": STREAM, "Records": []}
    assert handler(backfill, invocation)["done"]
    repair = {"operation": "repair", "streamArn": STREAM, "Records": [{"Keys": placed}]}
    handler(repair, invocation)
    handler({"operation": "notes", "erase": ["fill/backfill"], "Records": []}, invocation)
    if processor == "aggregation":
        runtime.dynamodb().put_item(TableName="idempotency", Item=serialize_item(OLD_TOMBSTONE))
    purged = handler({"operation": "purge", "Records": []}, invocation)
    assert purged["refusal"] == ""
    assert purged["purged"] == (processor == "aggregation")
    if processor == "aggregation":
        sums = {"operation": "rebuild-sums", "generation": 1, "Records": []}
        for step in ("begin", "switch", "finish"):
            assert not handler({**sums, "step": step}, invocation)["refusal"]
    if processor == "search":
        for store in range(table["stores"]):
            foreign = {"item": "foreign", "store": store, "token": "[1, 1]"}
            handler({"operation": "remove", "Records": [foreign]}, invocation)
        for index in ("orders", "customers"):
            rebuild(handler, index, keys, placed, invocation)


def rebuild(
    handler: Handler, index: str, keys: Any, placed: Any, invocation: LambdaContext
) -> None:
    """Rebuild an index, with a change and a repair while there are two."""
    asked = {"operation": "rebuild-index", "index": index, "keys": keys, "Records": []}
    asked |= {"streamArn": STREAM}
    status = handler({**asked, "step": "status"}, invocation)
    assert {each["live"] for each in status["indexes"]} == {1}
    for step in ("begin", "copy", "tombstones"):
        handler({**asked, "step": step}, invocation)
    handler({**asked, "step": "verify", "of": "copies"}, invocation)
    handler({"Records": FUNCTIONS["search"][1][:1]}, invocation)
    repair = {"operation": "repair", "streamArn": STREAM, "Records": [{"Keys": placed}]}
    handler(repair, invocation)
    assert handler({**asked, "step": "swap", "live": 1, "second": 2}, invocation)["done"]
    assert handler({**asked, "step": "release", "second": 1}, invocation)["done"]
    assert handler({**asked, "step": "delete", "number": 3}, invocation)["done"]


def check(
    assembly: Assembly,
    function: dict[str, Any],
    calls: Calls,
    granted: set[Permission],
    own: set[Permission],
    here: Mapping[str, str] = ENVIRONMENT,
) -> None:
    """Compare what a function called with what its role is granted, and with what IAM decides.

    `own` are the grants that nothing but the function's code uses; `here` are its variables.
    """
    deployed = {
        here[name]: resource if name == "TOPIC_ARN" else f"{resource}.Arn"
        for name, resource in environment_of(function).items()
        if resource in assembly.pipeline["Resources"]
    }
    needed = {(action, _deployed(resource, deployed)) for action, resource in calls.needed}
    assert [each for each in needed if not _is_among(each, granted)] == []
    assert set(calls.contexts) == calls.needed
    assert refusals(Deployment(assembly), function["Properties"], calls, here) == []
    used = {each for each in own if any(_is_among(one, {each}) for one in needed)}
    assert [each for each in own - used if each[0] not in OTHERS_CALL] == []


def refusals(
    deployment: Deployment, function: Mapping[str, Any], calls: Calls, here: Mapping[str, str]
) -> list[str]:
    """What IAM refuses of the calls, by the policies of the role and of buckets and domain."""
    role = deployment.value("pipeline", function["Role"])
    variables = deployment.value("pipeline", function["Environment"]["Variables"])
    names = {here[name]: value for name, value in variables.items() if name in here}
    found = []
    for (action, resource), keys in calls.contexts.items():
        name, slash, rest = resource.partition("/")
        deployed = "" if name == "domain" else names.get(name, name)
        arn = deployment.arn(action, f"{deployed}{slash}{rest.partition('?')[0]}")
        request = Request(role, action, arn, keys)
        decision = deployment.decide(request)
        if not decision.allowed:
            found.append(f"{action} on {arn}: {decision.because}")
        if action.startswith("s3:"):
            plain = {**keys, "aws:securetransport": "false"}
            assert not deployment.decide(replace(request, context=plain)).allowed
    return found


def test_attempts_are_counted_under_keys_of_the_processor_only(sandbox: Assembly) -> None:
    """The table also holds the ledger, which only aggregation may write."""
    for processor, function in processors(sandbox.pipeline).items():
        role = flat(function["Properties"]["Role"]).removesuffix(".Arn")
        table = environment_of(function)["ATTEMPTS_TABLE"]
        (statement,) = (
            statement
            for policy in of_type(sandbox.pipeline, "AWS::IAM::Policy").values()
            if role in map(flat, policy["Properties"]["Roles"])
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]
            if statement["Action"] == "dynamodb:UpdateItem"
            and flat(statement["Resource"]) == f"{table}.Arn"
        )
        (pattern,) = as_list(
            statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
        )
        assert statement["Condition"]["Null"] == {"dynamodb:LeadingKeys": "false"}
        name = name_of(processor, record(1, None, PLACED))
        assert fnmatchcase(f"{ATTEMPT}{name}", pattern)
        assert not fnmatchcase("ledger/orders/S=00004/S=00004-0001", pattern)


def test_the_operator_policy_covers_the_command_line(sandbox: Assembly) -> None:
    granted = {
        action
        for policy in of_type(sandbox.pipeline, "AWS::IAM::ManagedPolicy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        for action in as_list(statement["Action"])
    }
    sources = Path(dynamodb_streams_cdc.__file__).parent.rglob("*.py")
    texts = [path.read_text() for path in sources]
    named = {name for text in texts for name in re.findall(r'permitted\("(\w+:\w+)"', text)}
    assert named == granted


def _deployed(resource: str, deployed: Mapping[str, str]) -> str:
    """The ARN of a resource that has another name here."""
    name, slash, rest = resource.partition("/")
    return f"{deployed.get(name, name)}{slash}{rest}"


def _is_among(needed: Permission, granted: set[Permission]) -> bool:
    return any(needed[0] == each[0] and fnmatchcase(needed[1], each[1]) for each in granted)
