"""The function that erases calls what its role allows, and all of it."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from opensearchpy import Urllib3HttpConnection

from dynamodb_streams_cdc import LambdaContext
from dynamodb_streams_cdc.aws.opensearch_errors import MISSING
from dynamodb_streams_cdc.control.erasure_objects import digest_of
from dynamodb_streams_cdc.deserializer import serialize_item
from dynamodb_streams_cdc.names import LEDGER
from dynamodb_streams_cdc.sinks.log_entries import entry_of
from lambdas import runtime
from lambdas.erasure import handler as erasure
from tests.factories import change, order, record
from tests.fake_pipeline import given_up, lambdas_key
from tests.infrastructure.deployment import Deployment, context_of
from tests.infrastructure.policies import Request
from tests.infrastructure.templates import Assembly, flat, only, statements
from tests.infrastructure.test_permissions import Calls, check
from tests.lambdas.conftest import (
    ENVIRONMENT,
    aws,  # noqa: F401 - a fixture
    context,  # noqa: F401 - a fixture
)

ITEM = "orders/S=00004/S=00004-0001"
OTHER = order("00005-0001")
HERE = {**ENVIRONMENT, "ON_FAILURE_BUCKET": "given-up", "SEARCH_INDEXES": '["orders","customers"]'}


class ErasingCalls(Calls):
    """OpenSearch in the middle of a rebuild, with a leftover; a tombstone in each index."""

    def search(self, method: str, url: str, *args: Any, **_: Any) -> Any:
        permission = f"es:ESHttp{method.capitalize()}", f"domain{url}"
        self.needed.add(permission)
        self.contexts[permission] = context_of(permission[0])
        index = re.split(r"-v\d|-write|-second", url)[0]
        if method == "GET":
            name = url.rpartition("/")[0]
            number = 1 if name.endswith("-write") else 2 if name.endswith("-second") else name[-1]
            there = int(number) < 4
            described: Any = {f"{index[1:]}-v{number}": {"aliases": {}, "mappings": {}}}
            return 200, {}, json.dumps(described if there else {"error": {"type": MISSING}})
        if url.endswith("_mget"):
            about = {"item": ITEM, "version": "1", "written_at": 0.0, "deleted": True}
            tombstone = {"_id": ITEM, "found": True, "_source": {"cdc": about}}
            return 200, {}, json.dumps({"docs": [{**tombstone, "_seq_no": 1, "_primary_term": 1}]})
        return 200, {}, '{"_shards": {}}'


def furnish(client: Any) -> None:
    """Put something of the item into every place."""
    dynamodb, s3 = client("dynamodb"), client("s3")
    s3.create_bucket(Bucket="given-up")
    row = {
        "id": LEDGER + ITEM,
        "version": "1",
        "revision": 1,
        "contribution": {"month#1997-01": {"orders": 1}},
        "changed_at": 0,
        "written_at": 0,
        "deleted": True,
        "retained": True,
    }
    for item in (row, {"id": f"once/mail/{ITEM}/1/1/1"}):
        dynamodb.put_item(TableName="idempotency", Item=serialize_item(item))
    removed = {**entry_of(change(1, order(), None)), "changed_at": {"S": "2020-01-01T00:00:00Z"}}
    dynamodb.put_item(TableName="change-log", Item=removed)
    s3.put_object(Bucket="large-images", Key=f"{digest_of(ITEM)}/1.json")
    s3.put_object(Bucket="dead-letters", Key=f"dead-letters/audit/{digest_of(ITEM)}/1.json")
    batch = json.dumps(given_up([record(1, None, order()), record(2, None, OTHER)])).encode()
    s3.put_object(Bucket="given-up", Key=lambdas_key("batch"), Body=batch)
    s3.put_object(Bucket="dead-letters", Key=lambdas_key("earlier"), Body=batch)
    alone = json.dumps(given_up([record(1, None, order())])).encode()
    s3.put_object(Bucket="given-up", Key=lambdas_key("alone"), Body=alone)
    s3.put_object(Bucket="dead-letters", Key=f"archive/{lambdas_key('batch')}", Body=batch)


@pytest.mark.parametrize("environment", ["sandbox", "notifying"])
def test_the_erasure_calls_what_its_role_allows_and_all_of_it(
    environment: str,
    aws: Any,  # noqa: F811
    context: LambdaContext,  # noqa: F811
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assembly: Assembly = request.getfixturevalue(environment)
    function = only(assembly.pipeline, "AWS::Lambda::Function", "Erasure")
    sinks = '{"notifications": "notify"}' if environment == "notifying" else "{}"
    for name, value in {**HERE, "OWN_SINKS": sinks}.items():
        monkeypatch.setenv(name, value)
    furnish(aws)
    erasure.erasure.cache_clear()
    made = replace(erasure.erasure(), horizon=0.0)
    monkeypatch.setattr(erasure, "erasure", lambda: made)
    calls = ErasingCalls()
    monkeypatch.setattr(Urllib3HttpConnection, "perform_request", calls.search)
    for client in (runtime.dynamodb(), runtime.s3()):
        client.meta.events.register("before-parameter-build", calls.aws)
        client.meta.events.register("before-call", calls.sent)
    record_of = {"Keys": serialize_item({"customer_id": "00004", "order_id": "00004-0001"})}
    for _ in range(2):  # what the sums retain goes first, then its row
        answer = walk("erase", record_of, context)
    read = {"revision": answer["revisions"][ITEM], "receipt": answer["receipts"][ITEM]}
    complete = {"operation": "complete", "Records": [{**record_of, **read}]}
    for _ in range(2):  # the answer of the first may be lost
        done = erasure.handler(complete, context)
        assert done["receipts"] == answer["receipts"]

    role = flat(function["Properties"]["Role"]).removesuffix(".Arn")
    granted = {
        (action, re.sub(r"^cdc-\w+-search-DomainArn", "domain", resource))
        for holder, action, resource in statements(assembly.pipeline)
        if holder == role
    }
    check(assembly, function, calls, granted, granted, HERE)


def walk(operation: str, record_of: Any, invocation: LambdaContext) -> Any:
    at = None
    while True:
        event = {"operation": operation, "at": at, "Records": [record_of]}
        answer = erasure.handler(event, invocation)
        assert not answer["problem"], answer
        if (at := answer["at"]) is None:
            return answer


def test_a_gone_object_is_not_a_lost_permission(sandbox: Assembly) -> None:
    """A redrive may archive what was listed. A role that may not list is told 403 in place of 404.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    function = only(sandbox.pipeline, "AWS::Lambda::Function", "Erasure")
    role = flat(function["Properties"]["Role"]).removesuffix(".Arn")
    held = [each for each in statements(sandbox.pipeline) if each[0] == role]
    read = {r.removesuffix("/*") for _, action, r in held if action == "s3:GetObjectVersion"}
    listed = {resource for _, action, resource in held if action == "s3:ListBucket"}
    assert len(read) == 2
    assert read <= listed


@pytest.mark.parametrize(
    ("action", "key"),
    [
        ("dynamodb:DeleteItem", "generations/sums"),
        ("dynamodb:DeleteItem", "attempt/audit/1"),
        ("dynamodb:PutItem", "once/mail/1"),
        ("dynamodb:UpdateItem", "ledger/orders/S=1"),
    ],
)
def test_other_rows_of_the_table_are_refused(sandbox: Assembly, action: str, key: str) -> None:
    assert not allows(sandbox, action, key)


@pytest.mark.parametrize("action", ["dynamodb:DeleteItem", "dynamodb:PutItem"])
def test_a_record_may_be_replaced_by_its_receipt(sandbox: Assembly, action: str) -> None:
    """Both are in one transaction: its keys may be evaluated together."""
    assert allows(sandbox, action, "forgetting/orders/S=1", "erased/receipt")


def allows(sandbox: Assembly, action: str, *keys: str) -> bool:
    """Return whether the function may do this to these keys of the idempotency table at once."""
    deployment = Deployment(sandbox)
    function = only(sandbox.pipeline, "AWS::Lambda::Function", "Erasure")["Properties"]
    role = deployment.value("pipeline", function["Role"])
    table = deployment.value("pipeline", function["Environment"]["Variables"]["IDEMPOTENCY_TABLE"])
    about = {**context_of(action), "dynamodb:leadingkeys": ",".join(keys)}
    return deployment.decide(Request(role, action, deployment.arn(action, table), about)).allowed
