"""What `cdc` calls, the operators' policy allows; what the policy allows, `cdc` calls."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from tests.cli.conftest import Cloud, aws, cloud  # noqa: F401 - fixtures
from tests.cli.test_history import KEYS, logged  # noqa: F401 - a fixture
from tests.cli.test_repair import DONE
from tests.infrastructure.deployment import Deployment, context_of
from tests.infrastructure.policies import ACCOUNT, Context, Request
from tests.infrastructure.templates import Assembly, Template, as_list, flat, only
from tests.lambdas.conftest import create_table
from tests.post_office import POISON, given_up, lambdas_key, placed, pointer

Permission = tuple[str, str]
"""An action and the resource that IAM is asked about."""

BATCH, LOG = lambdas_key("batch"), lambdas_key("log")

TOLD_THAT_NOTHING_IS_THERE = ("s3:ListBucket", "overflow-1a2b")
"""Nobody calls it; whoever has it is told that an object is not there."""

QUEUES = {
    "ReceiveMessage": "sqs:ReceiveMessage",
    "DeleteMessageBatch": "sqs:DeleteMessage",
    "ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
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
        case _:
            yield QUEUES[operation], params["QueueUrl"]


def granted(template: Template, outputs: Mapping[str, str]) -> set[Permission]:
    """What the policy allows, on resources by the names that the stack's outputs have here."""
    names = {flat(template["Outputs"][name]["Value"]): value for name, value in outputs.items()}
    policy = only(template, "AWS::IAM::ManagedPolicy")["Properties"]["PolicyDocument"]
    found = set()
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        for resource in map(flat, as_list(statement["Resource"])):
            owner, _, path = resource.partition(".Arn")
            where = f"{names[owner]}{path}" if owner in names else resource.rpartition(":")[2]
            found |= {(action, where) for action in as_list(statement["Action"])}
    return found


def furnish(cloud: Cloud) -> None:  # noqa: F811
    """Deploy what the commands' own tests do without, and let something wait everywhere."""
    create_queue = cloud.client("sqs").create_queue
    cloud.outputs["AggregationFunctionName"] = "cdc-sandbox-aggregation"
    cloud.outputs["AggregationDeadLetterQueueUrl"] = create_queue(QueueName="sums")["QueueUrl"]
    cloud.office.answers["aggregation"] = DONE
    dynamodb = cloud.client("dynamodb")
    create_table(dynamodb, "orders-1A2B", [("customer_id", "S"), ("order_id", "S")])
    dynamodb.update_table(
        TableName="orders-1A2B",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    for processor in ("aggregation", "audit", "search"):
        cloud.ring(pointer(lambdas_key("gone")), processor)
        cloud.ring("no pointer", processor)
    for customer in (1, 2):
        cloud.office.write(customer, POISON)
    cloud.office.deliver(placed(1, 1, POISON))
    cloud.office.box.deliver(BATCH, given_up([placed(2, 2, POISON), placed(3, 3)]))
    cloud.office.box.deliver(LOG, given_up([placed(4, 4)], "audit"))
    cloud.post()


def test_a_policy_allows_what_the_commands_call_and_nothing_else(
    logged: Cloud,  # noqa: F811
    sandbox: Assembly,
) -> None:
    furnish(logged)
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
    ):
        result = logged.run(*command)
        assert result.exit_code == (command[0] == "redrive"), result.output
        logged.office.write(1, "placed")
    assert logged.run("redrive", "--yes").exit_code == 1

    assert refusals(Deployment(sandbox), logged.outputs, contexts) == []
    allowed = granted(sandbox.pipeline, logged.outputs)
    assert [each for each in needed if not any(_is_that(each, one) for one in allowed)] == []
    allowed.remove(TOLD_THAT_NOTHING_IS_THERE)
    assert [one for one in allowed if not any(_is_that(each, one) for each in needed)] == []


def refusals(
    deployment: Deployment, outputs: Mapping[str, str], contexts: Mapping[Permission, Context]
) -> list[str]:
    """What IAM refuses an operator, by the managed policy and those of buckets and queues."""
    stack = deployment.assembly.pipeline["Outputs"]
    names = {
        here: deployment.value("pipeline", stack[name]["Value"]) for name, here in outputs.items()
    }
    operator = f"arn:aws:iam::{ACCOUNT}:role/operator"
    found = []
    for (action, resource), context in contexts.items():
        queue = action.startswith("sqs:")
        name, slash, rest = (resource, "", "") if queue else resource.partition("/")
        arn = deployment.arn(action, f"{names.get(name, name)}{slash}{rest}")
        request = Request(operator, action, arn, context)
        decision = deployment.decide(request, [deployment.managed_policy()])
        if not decision.allowed:
            found.append(f"{action} on {arn}: {decision.because}")
    return found


def _is_that(needed: Permission, allowed: Permission) -> bool:
    return needed[0] == allowed[0] and fnmatchcase(needed[1], allowed[1])
