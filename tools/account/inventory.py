"""Resources of an environment in an account, found by the prefix of their names and by tags.

Resources that a deleted stack retained, or that a stack of an earlier app made, are found as well.
Each kind has the commands that remove one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from stacks.settings.names import Naming
from tools.account.identity import Account

Names = Callable[[Account, Naming], Iterator[str]]


@dataclass(frozen=True, order=True)
class Resource:
    """One resource of an environment; `name` is the argument of its removing commands."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def removal(self) -> Sequence[str]:
        return [each.format(self.name) for each in _KINDS[self.kind].removal]


@dataclass(frozen=True)
class Inventory:
    """The resources, and by kind the reason why it could not be listed."""

    resources: Sequence[Resource]
    unseen: Mapping[str, str]

    def of(self, *kinds: str) -> list[Resource]:
        return [each for each in self.resources if each.kind in kinds]


@dataclass(frozen=True)
class _Kind:
    names: Names
    removal: Sequence[str]


def look(account: Account, names: Naming, kinds: Sequence[str] = ()) -> Inventory:
    """List the resources of these kinds, or of all."""
    found: list[Resource] = []
    unseen: dict[str, str] = {}
    for kind in kinds or _KINDS:
        try:
            listed = sorted(_KINDS[kind].names(account, names))
        except ParamValidationError:
            raise
        except (BotoCoreError, ClientError) as error:
            unseen[kind] = str(error)
        else:
            found += [Resource(kind, name) for name in listed]
    return Inventory(found, unseen)


def pages(client: Any, operation: str, field: str, **request: Any) -> Iterator[Any]:
    """Yield every entry of a listing."""
    for page in client.get_paginator(operation).paginate(**request):
        yield from page.get(field, ())


def resources(account: Account, stack: object) -> Iterator[Any]:
    """Yield the resources of a stack, given by its name or its ID."""
    client = account.client("cloudformation")
    return pages(client, "list_stack_resources", "StackResourceSummaries", StackName=stack)


def stacks(account: Account, names: Naming) -> list[dict[str, Any]]:
    """Return the environment's stacks as DescribeStacks gives them, sorted by name."""
    found = pages(account.client("cloudformation"), "describe_stacks", "Stacks")
    return sorted(
        (
            stack
            for stack in found
            if names.owns(stack["StackName"]) and stack["StackStatus"] != "DELETE_COMPLETE"
        ),
        key=lambda stack: str(stack["StackName"]),
    )


def is_ours(stack: Mapping[str, Any], names: Naming) -> bool:
    """Whether a stack carries the tags that the app gives to all of its stacks."""
    tags = {tag["Key"]: tag["Value"] for tag in stack.get("Tags", ())}
    return _tagged(tags, names)


def is_our_bucket(account: Account, names: Naming, bucket: str) -> bool:
    """Whether a bucket carries the tags that the app gives to all of its resources."""
    try:
        found = account.client("s3").get_bucket_tagging(Bucket=bucket)["TagSet"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchTagSet":
            raise
        return False
    return _tagged({tag["Key"]: tag["Value"] for tag in found}, names)


def _tagged(tags: Mapping[str, str], names: Naming) -> bool:
    found = (tags.get("application"), tags.get("environment"))
    return found == (names.prefix, names.name)


def _listed(service: str, operation: str, field: str, name: str, **request: Any) -> Names:
    """Return a function that yields the names with the prefix that a service lists."""

    def listed(account: Account, names: Naming) -> Iterator[str]:
        for each in pages(account.client(service), operation, field, **request):
            found = each if isinstance(each, str) else each[name]
            if names.owns(_last(found)):
                yield found

    return listed


def _last(name: str) -> str:
    """Return the name at the end of an ARN, a URL or a path."""
    return name.replace("/", ":").rpartition(":")[2]


def _log_groups(account: Account, names: Naming) -> Iterator[str]:
    client, prefix = account.client("logs"), f"{names.stack_prefix}-"
    # CloudFormation's name, Lambda's own for a function without one, the emulator's.
    for folder in ("", "/aws/lambda/", "/aws/cloudformation/"):
        start = folder + prefix
        groups = pages(client, "describe_log_groups", "logGroups", logGroupNamePrefix=start)
        for group in groups:
            name: str = group["logGroupName"]
            if names.owns(name.removeprefix(folder).partition("/")[0]):
                yield name


def mappings(account: Account, names: Naming) -> Iterator[dict[str, Any]]:
    """Yield the mappings whose function is the environment's, even if it is deleted."""
    found = pages(account.client("lambda"), "list_event_source_mappings", "EventSourceMappings")
    for mapping in found:
        [function] = mapping.get("FunctionArn", "").split(":")[6:7] or [""]
        if names.owns(function):
            yield mapping


def _alarms(account: Account, names: Naming) -> Iterator[str]:
    client = account.client("cloudwatch")
    types = ["MetricAlarm", "CompositeAlarm"]
    request = {"AlarmNamePrefix": f"{names.stack_prefix}-", "AlarmTypes": types}
    for page in client.get_paginator("describe_alarms").paginate(**request):
        for kind in ("MetricAlarms", "CompositeAlarms"):
            found = (alarm["AlarmName"] for alarm in page.get(kind, ()))
            yield from (name for name in found if names.owns(name))


def _domains(account: Account, names: Naming) -> Iterator[str]:
    """Yield domains by their tags: their names lack the stack's name."""
    client = account.client("opensearch")
    for each in client.list_domain_names().get("DomainNames", ()):
        status = client.describe_domain(DomainName=each["DomainName"])["DomainStatus"]
        tags = client.list_tags(ARN=status["ARN"]).get("TagList", ())
        named = {tag["Key"]: tag["Value"] for tag in tags}
        if _tagged(named, names) and not status.get("Deleted"):
            yield each["DomainName"]


def _buckets(account: Account, names: Naming) -> Iterator[str]:
    """Yield buckets of the account's Region: S3 lists those of all."""
    for bucket in pages(
        account.client("s3"), "list_buckets", "Buckets", PaginationConfig={"PageSize": 1000}
    ):
        here = bucket.get("BucketRegion", account.region) == account.region
        if here and names.owns(bucket["Name"]):
            yield bucket["Name"]


# Stacks come first, as they are removed before their resources.
_KINDS: Mapping[str, _Kind] = {
    "stack": _Kind(
        lambda account, environment: (each["StackName"] for each in stacks(account, environment)),
        (
            "aws cloudformation update-termination-protection --no-enable-termination-protection"
            " --stack-name {}",
            "aws cloudformation delete-stack --stack-name {}",
        ),
    ),
    "event source mapping": _Kind(
        lambda account, environment: (each["UUID"] for each in mappings(account, environment)),
        ("aws lambda delete-event-source-mapping --uuid {}",),
    ),
    "function": _Kind(
        _listed("lambda", "list_functions", "Functions", "FunctionName"),
        ("aws lambda delete-function --function-name {}",),
    ),
    "table": _Kind(
        _listed("dynamodb", "list_tables", "TableNames", ""),
        (
            "aws dynamodb update-table --no-deletion-protection-enabled --table-name {}",
            "aws dynamodb delete-table --table-name {}",
        ),
    ),
    "bucket": _Kind(
        _buckets,
        # A bucket with versions is emptied by the console's "Empty", or in turns of 1,000.
        (
            'aws s3api delete-objects --bucket {0} --delete "$(aws s3api list-object-versions'
            " --bucket {0} --max-items 1000 --output json --query"
            " '{{Objects: [Versions, DeleteMarkers][][].{{Key: Key, VersionId: VersionId}}}}')\"",
            "aws s3api delete-bucket --bucket {0}",
        ),
    ),
    "queue": _Kind(
        # Without a page size, SQS lists a thousand and no token.
        _listed("sqs", "list_queues", "QueueUrls", "", PaginationConfig={"PageSize": 1000}),
        ("aws sqs delete-queue --queue-url {}",),
    ),
    "topic": _Kind(
        _listed("sns", "list_topics", "Topics", "TopicArn"),
        ("aws sns delete-topic --topic-arn {}",),
    ),
    "search domain": _Kind(_domains, ("aws opensearch delete-domain --domain-name {}",)),
    "log group": _Kind(_log_groups, ("aws logs delete-log-group --log-group-name {}",)),
    "alarm": _Kind(_alarms, ("aws cloudwatch delete-alarms --alarm-names {}",)),
    "rule": _Kind(
        _listed("events", "list_rules", "Rules", "Name"),
        (
            "aws events remove-targets --rule {0} --ids Target0",
            "aws events delete-rule --name {0}",
        ),
    ),
    "state machine": _Kind(
        _listed("stepfunctions", "list_state_machines", "stateMachines", "stateMachineArn"),
        ("aws stepfunctions delete-state-machine --state-machine-arn {}",),
    ),
    "schedule": _Kind(
        _listed("scheduler", "list_schedules", "Schedules", "Name"),
        ("aws scheduler delete-schedule --name {}",),
    ),
}
