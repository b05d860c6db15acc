"""What `cdc` calls, the operators' policy allows; what the policy allows, `cdc` calls."""

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import pytest

from dynamodb_streams_cdc.deadline import SystemClock
from tests.cli.conftest import LARGE_IMAGES, Cloud, aws, cloud  # noqa: F401 - fixtures
from tests.cli.test_forget import erasing
from tests.cli.test_history import KEYS, logged  # noqa: F401 - a fixture
from tests.cli.test_repair import DONE
from tests.fake_pipeline import POISON, given_up, lambdas_key, placed, pointer
from tests.infrastructure.deployment import STREAM_LABEL, Deployment, context_of
from tests.infrastructure.policies import ACCOUNT, Context, Request
from tests.infrastructure.templates import Assembly, Template, as_list, flat, of_type
from tests.lambdas.conftest import create_table

Permission = tuple[str, str]
"""An action and the resource that IAM is asked about."""

BATCH, LOG = lambdas_key("batch"), lambdas_key("log")

TOLD_THAT_NOTHING_IS_THERE = ("s3:ListBucket", LARGE_IMAGES)
"""Not called: a role with it is told that an object is not there."""

NOT_BEHIND = "states:StopExecution"
"""Not called: nothing that follows the change log is behind it."""

QUEUES = {
    "ReceiveMessage": "sqs:ReceiveMessage",
    "DeleteMessageBatch": "sqs:DeleteMessage",
    "ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "GetQueueAttributes": "sqs:GetQueueAttributes",
}


def needs(operation: str, params: Mapping[str, Any]) -> Iterator[Permission]:
    match operation:
        case "DescribeStacks":
            yield "cloudformation:DescribeStacks", f"stack/{params['StackName']}/id"
        case "ListObjectsV2":
            yield "s3:ListBucket", params["Bucket"]
        case "HeadObject" | "GetObject":
            yield "s3:GetObject", f"{params['Bucket']}/{params['Key']}"
        case "PutObject" | "DeleteObject":
            yield f"s3:{operation}", f"{params['Bucket']}/{params['Key']}"
        case "CopyObject":
            yield from needs("GetObject", params["CopySource"])
            yield from needs("PutObject", params)
        case "Invoke":
            yield "lambda:InvokeFunction", params["FunctionName"]
        case "GetItem" | "Query" | "DescribeTable" | "Scan":
            yield f"dynamodb:{operation}", params["TableName"]
        case "DescribeStream" | "GetShardIterator":
            yield f"dynamodb:{operation}", stream_of(params["StreamArn"])
        case "GetEventSourceMapping":
            yield "lambda:GetEventSourceMapping", params["UUID"]
        case "GetFunctionConfiguration":
            yield (
                "lambda:GetFunctionConfiguration",
                params["FunctionName"].partition("function:")[2],
            )
        case "GetFunctionConcurrency":
            yield "lambda:GetFunctionConcurrency", params["FunctionName"]
        case "StartExecution":
            yield "states:StartExecution", params["stateMachineArn"]
        case "DescribeExecution":
            yield "states:DescribeExecution", params["executionArn"]
        case "DeleteObjects":
            for each in params["Delete"]["Objects"]:
                yield "s3:DeleteObject", f"{params['Bucket']}/{each['Key']}"
        case "GetMetricData":
            yield "cloudwatch:GetMetricData", "*"
        case "GetRecords":
            yield "dynamodb:GetRecords", stream_of(params["ShardIterator"])
        case _:
            yield QUEUES[operation], params["QueueUrl"]


def stream_of(arn: str) -> str:
    """The stream in an ARN, or in an iterator, which begins with one; see `granted`."""
    return f"{arn.split('/')[1]}/stream/{STREAM_LABEL}"


def named(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Names of the resources in a manifest, by kind and role."""
    found = {f"table {each['name']}": each["table"] for each in manifest["source_tables"]}
    found |= {f"table {role}": name for role, name in manifest["tables"].items()}
    found |= {f"bucket {role}": name for role, name in manifest["buckets"].items()}
    found["function erasure"] = manifest["erasure"]
    found["machine"] = manifest["maintenance"]["state_machine"]
    for each in manifest["processors"]:
        found[f"function {each['name']}"] = each["function"]
        found[f"queue {each['name']}"] = each["dead_letter_queue"]
        found[f"mapping {each['name']}"] = each["mapping"]
    return found


def granted(template: Template, here: Mapping[str, Any]) -> set[Permission]:
    """What the policy allows, on resources by their names in the manifest that `cdc` reads here."""
    there = named(json.loads(flat(template["Outputs"]["Manifest"]["Value"])))
    names = {there[role]: name for role, name in named(here).items()}
    policies = of_type(template, "AWS::IAM::ManagedPolicy").values()
    documents = [policy["Properties"]["PolicyDocument"] for policy in policies]
    found = set()
    for statement in (one for document in documents for one in document["Statement"]):
        assert statement["Effect"] == "Allow"
        for resource in map(flat, as_list(statement["Resource"])):
            whole = resource.replace(".StreamArn", f".Arn/stream/{STREAM_LABEL}")
            owner, _, path = whole.partition(".Arn")
            last = resource.rpartition(":")[2]
            where = f"{names[owner]}{path}" if owner in names else names.get(last, last)
            found |= {(action, where) for action in as_list(statement["Action"])}
    return found


def furnish(cloud: Cloud) -> None:  # noqa: F811
    """Deploy what the commands' own tests do without, and let something wait everywhere."""
    cloud.add_processor("aggregation")
    cloud.add_erasure()
    cloud.pipeline.answers["erasure"] = erasing({}, {})
    cloud.pipeline.answers["aggregation"] = DONE
    dynamodb = cloud.client("dynamodb")
    keys = [("customer_id", "S"), ("order_id", "S")]
    create_table(dynamodb, "orders-1A2B", keys, view="NEW_AND_OLD_IMAGES")
    dynamodb.update_table(
        TableName="change-log-3c4d",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    for processor in ("aggregation", "audit", "search"):
        cloud.notify(pointer(lambdas_key("gone")), processor)
        cloud.notify("no pointer", processor)
    for customer in (1, 2):
        cloud.pipeline.write(customer, POISON)
    cloud.pipeline.deliver(placed(1, 1, POISON))
    cloud.pipeline.store.deliver(BATCH, given_up([placed(2, 2, POISON), placed(3, 3)]))
    cloud.pipeline.store.deliver(LOG, given_up([placed(4, 4)], "audit"))
    cloud.post()


def interrupted(clock: SystemClock, seconds: float) -> None:
    raise KeyboardInterrupt


def test_a_policy_allows_exactly_the_commands_calls(
    logged: Cloud,  # noqa: F811
    sandbox: Assembly,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    furnish(logged)
    monkeypatch.setattr(SystemClock, "sleep", interrupted)
    needed: set[Permission] = set()
    contexts: dict[Permission, Context] = {}

    def note(operation: str, params: Mapping[str, Any]) -> None:
        for permission in needs(operation, params):
            needed.add(permission)
            # The parameter is the header: botocore writes it as it is.
            once = {"If-None-Match": params["IfNoneMatch"]} if "IfNoneMatch" in params else {}
            contexts[permission] = context_of(permission[0], headers=once)

    logged.fails = note
    for command in (
        ["dead-letters", "list"],
        ["dead-letters", "show", LOG],
        ["redrive", "--yes"],
        ["dead-letters", "show", f"archive/{BATCH}"],
        ["repair", "--all"],
        ["repair", "customer_id=00004", "order_id=7"],
        ["history", *KEYS],
        ["diff", *KEYS, "--from", "2024-05-01T12:00:02Z"],
        ["tail"],
        ["status"],
        ["forget", *KEYS, "--yes"],
        ["verify", "--on", "aws"],
    ):
        result = logged.run(*command)
        assert result.exit_code == (command[0] in ("redrive", "verify")), result.output
        logged.pipeline.write(1, "placed")
    assert logged.run("redrive", "--yes").exit_code == 1

    assert refusals(Deployment(sandbox), logged.manifest, contexts) == []
    allowed = granted(sandbox.pipeline, logged.manifest)
    assert [each for each in needed if not any(_is_that(each, one) for one in allowed)] == []
    allowed.remove(TOLD_THAT_NOTHING_IS_THERE)
    allowed -= {one for one in allowed if one[0] == NOT_BEHIND}
    assert [one for one in allowed if not any(_is_that(each, one) for each in needed)] == []


def refusals(
    deployment: Deployment, here: Mapping[str, Any], contexts: Mapping[Permission, Context]
) -> list[str]:
    """What IAM refuses an operator, by the managed policy and those of buckets and queues."""
    output = deployment.assembly.pipeline["Outputs"]["Manifest"]["Value"]
    there = named(json.loads(deployment.value("pipeline", output)))
    names = {name: there[role] for role, name in named(here).items()}
    operator = f"arn:aws:iam::{ACCOUNT}:role/operator"
    found = []
    for (action, resource), context in contexts.items():
        queue = action.startswith("sqs:")
        name, slash, rest = (resource, "", "") if queue else resource.partition("/")
        arn = deployment.arn(action, f"{names.get(name, name)}{slash}{rest}")
        if action == "states:DescribeExecution":
            machine = there["machine"].replace(":stateMachine:", ":execution:")
            arn = f"{machine}:{arn.rpartition(':')[2]}"
        request = Request(operator, action, arn, context)
        decision = deployment.decide(request, [deployment.managed_policy()])
        if not decision.allowed:
            found.append(f"{action} on {arn}: {decision.because}")
    return found


def _is_that(needed: Permission, allowed: Permission) -> bool:
    return needed[0] == allowed[0] and fnmatchcase(needed[1], allowed[1])
