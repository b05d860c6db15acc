"""A second opinion on the templates: the API models of the services, as botocore has them.

CloudFormation makes each resource by calls of the service's own API. So the properties of a
resource, written as the parameters of these calls, have to satisfy the API's model: names, types,
required members, enumerations, patterns, lengths and ranges. cfn-lint knows the schemas of
CloudFormation's registry instead, which AWS writes separately.

moto cannot be asked: its CloudFormation (5.2.5) knows neither tables of this type nor domains,
alarms, topic policies or saved queries, and nearly everything else refers to one of these.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import botocore.session
from botocore.model import Shape

Parameters = dict[str, Any]
Call = tuple[str, str, Parameters]
"""Service, operation and parameters."""


def problems(call: Call) -> list[str]:
    """Return how the parameters contradict the model of the operation."""
    service, operation, parameters = call
    shape = model_of(service).operation_model(operation).input_shape
    assert shape is not None
    return [f"{operation}{found}" for found in _check(shape, parameters, "")]


BEHIND = {
    "OpenSearchPartitionInstanceType": (
        "The model ends with the sixth generation and t3; AWS sells m7g, r7g and later types: "
        "https://aws.amazon.com/opensearch-service/pricing/"
    ),
}
"""Enumerations that are older than the service, and how that is known. cfn-lint checks these."""


@cache
def model_of(name: str) -> Any:
    """Return the model of a service."""
    return botocore.session.get_session().get_service_model(name)


def _check(shape: Shape, value: Any, at: str) -> Iterator[str]:
    match shape.type_name:
        case "structure":
            if not isinstance(value, Mapping):
                yield f"{at}: {value!r} is not a structure"
                return
            members: Mapping[str, Shape] = shape.members  # type: ignore[attr-defined]
            for name in shape.required_members:
                if name not in value:
                    yield f"{at}.{name}: missing"
            for name, inner in value.items():
                if name in members:
                    yield from _check(members[name], inner, f"{at}.{name}")
                else:
                    yield f"{at}.{name}: unknown"
        case "list":
            if not isinstance(value, list):
                yield f"{at}: {value!r} is not a list"
                return
            yield from _within(shape, len(value), at)
            for index, inner in enumerate(value):
                yield from _check(shape.member, inner, f"{at}[{index}]")  # type: ignore[attr-defined]
        case "map":
            for key, inner in value.items():
                yield from _check(shape.key, key, f"{at} key")  # type: ignore[attr-defined]
                yield from _check(shape.value, inner, f"{at}.{key}")  # type: ignore[attr-defined]
        case kind:
            yield from _check_scalar(kind, shape, value, at)


SCALARS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "double": (int, float),
    "float": (int, float),
}


def _check_scalar(kind: str, shape: Shape, value: Any, at: str) -> Iterator[str]:
    is_of_type = isinstance(value, SCALARS[kind])
    if not is_of_type or (kind != "boolean" and isinstance(value, bool)):
        yield f"{at}: {value!r} is not of type {kind}"
        return
    yield from _within(shape, len(value) if kind == "string" else value, at)
    allowed = shape.metadata.get("enum") if shape.name not in BEHIND else None
    if allowed and value not in allowed:
        yield f"{at}: {value!r} is not among {len(allowed)} values"
    pattern = shape.metadata.get("pattern")
    if pattern and not re.search(_python(pattern), value):
        yield f"{at}: {value!r} does not match {pattern}"


def _within(shape: Shape, size: float, at: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if (least is not None and size < least) or (most is not None and size > most):
        yield f"{at}: {size} is not within {least} and {most}"


def _python(pattern: str) -> str:
    """A pattern of the model, which is of Java and matches a whole text."""
    for theirs, ours in ((r"\p{Print}", " -~"), (r"\p{ASCII}", "\x00-\x7f")):
        pattern = pattern.replace(theirs, ours)
    return rf"\A(?:{pattern})\Z"


# What CloudFormation calls for a resource


def calls(kind: str, name: str, properties: Parameters) -> Iterator[Call]:
    """Yield the calls that make a resource of a type; its properties without intrinsic functions.

    Raises:
        KeyError: a type for which no calls are written down.
    """
    yield from CALLS[kind](name, {key: each for key, each in properties.items() if key != "Tags"})


def _same(
    service: str, operation: str, named: str = ""
) -> Callable[[str, Parameters], Iterator[Call]]:
    """The API's names are CloudFormation's; `named` is the parameter that holds the name."""

    def made(name: str, properties: Parameters) -> Iterator[Call]:
        yield service, operation, {**({named: name} if named else {}), **properties}

    return made


def _table(name: str, properties: Parameters) -> Iterator[Call]:
    (replica,) = properties.pop("Replicas")
    expiry = properties.pop("TimeToLiveSpecification", None)
    stream = properties.pop("StreamSpecification", None)
    protected = {
        key: replica[key] for key in ("DeletionProtectionEnabled", "TableClass") if key in replica
    }
    if stream:
        properties["StreamSpecification"] = {"StreamEnabled": True, **stream}
    yield "dynamodb", "CreateTable", {"TableName": name, **properties, **protected}
    if expiry:
        found = {"TableName": name, "TimeToLiveSpecification": expiry}
        yield "dynamodb", "UpdateTimeToLive", found
    if recovery := replica.get("PointInTimeRecoverySpecification"):
        found = {"TableName": name, "PointInTimeRecoverySpecification": recovery}
        yield "dynamodb", "UpdateContinuousBackups", found


def _bucket(name: str, properties: Parameters) -> Iterator[Call]:
    bucket = {"Bucket": name.lower()}
    rules = [_lifecycle(rule) for rule in properties.pop("LifecycleConfiguration")["Rules"]]
    settings = {
        "PutBucketEncryption": ("ServerSideEncryptionConfiguration", "BucketEncryption"),
        "PutBucketOwnershipControls": ("OwnershipControls", "OwnershipControls"),
        "PutPublicAccessBlock": (
            "PublicAccessBlockConfiguration",
            "PublicAccessBlockConfiguration",
        ),
        "PutBucketVersioning": ("VersioningConfiguration", "VersioningConfiguration"),
    }
    configuration = {"Rules": rules}
    yield (
        "s3",
        "PutBucketLifecycleConfiguration",
        {**bucket, "LifecycleConfiguration": configuration},
    )
    for operation, (parameter, key) in settings.items():
        if (found := properties.pop(key, None)) is not None:
            if "ServerSideEncryptionConfiguration" in found:
                rule = found["ServerSideEncryptionConfiguration"]
                inner = "ApplyServerSideEncryptionByDefault"
                found = {"Rules": [{inner: each["ServerSideEncryptionByDefault"]} for each in rule]}
            yield "s3", operation, {**bucket, parameter: found}
    if events := properties.pop("NotificationConfiguration", None):
        assert events == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
        found = {"EventBridgeConfiguration": {}}
        yield (
            "s3",
            "PutBucketNotificationConfiguration",
            {**bucket, "NotificationConfiguration": found},
        )
    yield "s3", "CreateBucket", {**bucket, **properties}


def _lifecycle(rule: Parameters) -> Parameters:
    same = ("Status", "AbortIncompleteMultipartUpload")
    found: Parameters = {key: rule[key] for key in same if key in rule}
    found["Filter"] = {"Prefix": rule.get("Prefix", "")}
    if "ExpirationInDays" in rule:
        found["Expiration"] = {"Days": rule["ExpirationInDays"]}
    if "NoncurrentVersionExpiration" in rule:
        found["NoncurrentVersionExpiration"] = rule["NoncurrentVersionExpiration"]
    known = {*found, "Prefix", "ExpirationInDays", "Id"}
    assert set(rule) <= known, set(rule) - known
    return found


def _rule(name: str, properties: Parameters) -> Iterator[Call]:
    targets = properties.pop("Targets", None)
    if "EventPattern" in properties:
        properties["EventPattern"] = json.dumps(properties["EventPattern"])
    yield "events", "PutRule", {"Name": name, **properties}
    if targets:
        yield "events", "PutTargets", {"Rule": name, "Targets": targets}


def _log_group(name: str, properties: Parameters) -> Iterator[Call]:
    days = properties.pop("RetentionInDays")
    key = {"kmsKeyId": properties.pop("KmsKeyId")} if "KmsKeyId" in properties else {}
    yield "logs", "CreateLogGroup", {"logGroupName": name, **key, **properties}
    yield "logs", "PutRetentionPolicy", {"logGroupName": name, "retentionInDays": days}


def _camel(service: str, operation: str) -> Callable[[str, Parameters], Iterator[Call]]:
    """The API's names begin in lower case."""

    def made(name: str, properties: Parameters) -> Iterator[Call]:
        yield service, operation, {key[0].lower() + key[1:]: properties[key] for key in properties}

    return made


def _queue(name: str, properties: Parameters) -> Iterator[Call]:
    found = {
        key: json.dumps(each) if isinstance(each, dict) else _attribute(each)
        for key, each in properties.items()
    }
    yield "sqs", "CreateQueue", {"QueueName": name, "Attributes": found}


def _attribute(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _queue_policy(name: str, properties: Parameters) -> Iterator[Call]:
    policy = {"Policy": json.dumps(properties["PolicyDocument"])}
    for url in properties["Queues"]:
        yield "sqs", "SetQueueAttributes", {"QueueUrl": url, "Attributes": policy}


def _topic(name: str, properties: Parameters) -> Iterator[Call]:
    found = {key: _attribute(each) for key, each in properties.items()}
    yield "sns", "CreateTopic", {"Name": name, "Attributes": found}


def _topic_policy(name: str, properties: Parameters) -> Iterator[Call]:
    value = json.dumps(properties["PolicyDocument"])
    for arn in properties["Topics"]:
        found = {"TopicArn": arn, "AttributeName": "Policy", "AttributeValue": value}
        yield "sns", "SetTopicAttributes", found


def _domain(name: str, properties: Parameters) -> Iterator[Call]:
    properties["AccessPolicies"] = json.dumps(properties["AccessPolicies"])
    yield "opensearch", "CreateDomain", {"DomainName": name.lower(), **properties}


def _role(name: str, properties: Parameters) -> Iterator[Call]:
    trust = json.dumps(properties.pop("AssumeRolePolicyDocument"))
    for arn in properties.pop("ManagedPolicyArns", []):
        yield "iam", "AttachRolePolicy", {"RoleName": name, "PolicyArn": arn}
    yield "iam", "CreateRole", {"RoleName": name, "AssumeRolePolicyDocument": trust, **properties}


def _role_policy(name: str, properties: Parameters) -> Iterator[Call]:
    document = json.dumps(properties["PolicyDocument"])
    for role in properties["Roles"]:
        found = {"PolicyName": properties["PolicyName"], "PolicyDocument": document}
        yield "iam", "PutRolePolicy", {"RoleName": role, **found}


def _managed_policy(name: str, properties: Parameters) -> Iterator[Call]:
    properties["PolicyDocument"] = json.dumps(properties["PolicyDocument"])
    yield "iam", "CreatePolicy", {"PolicyName": name, **properties}


def _bucket_policy(name: str, properties: Parameters) -> Iterator[Call]:
    document = json.dumps(properties["PolicyDocument"])
    yield "s3", "PutBucketPolicy", {"Bucket": properties["Bucket"], "Policy": document}


def _state_machine(name: str, properties: Parameters) -> Iterator[Call]:
    definition = properties["DefinitionString"]
    assert json.loads(definition)["States"]
    parameters = {"name": name, "definition": definition, "roleArn": properties["RoleArn"]}
    yield "stepfunctions", "CreateStateMachine", parameters


CALLS: Mapping[str, Callable[[str, Parameters], Iterator[Call]]] = {
    "AWS::CloudWatch::Alarm": _same("cloudwatch", "PutMetricAlarm", "AlarmName"),
    "AWS::CloudWatch::CompositeAlarm": _same("cloudwatch", "PutCompositeAlarm", "AlarmName"),
    "AWS::CloudWatch::Dashboard": _same("cloudwatch", "PutDashboard", "DashboardName"),
    "AWS::DynamoDB::GlobalTable": _table,
    "AWS::Events::Rule": _rule,
    "AWS::IAM::ManagedPolicy": _managed_policy,
    "AWS::IAM::Policy": _role_policy,
    "AWS::IAM::Role": _role,
    "AWS::Lambda::EventInvokeConfig": _same("lambda", "PutFunctionEventInvokeConfig"),
    "AWS::Lambda::EventSourceMapping": _same("lambda", "CreateEventSourceMapping"),
    "AWS::Lambda::Function": _same("lambda", "CreateFunction", "FunctionName"),
    "AWS::Lambda::Permission": _same("lambda", "AddPermission", "StatementId"),
    "AWS::Logs::LogGroup": _log_group,
    "AWS::Logs::QueryDefinition": _camel("logs", "PutQueryDefinition"),
    "AWS::Logs::ResourcePolicy": _camel("logs", "PutResourcePolicy"),
    "AWS::OpenSearchService::Domain": _domain,
    "AWS::S3::Bucket": _bucket,
    "AWS::S3::BucketPolicy": _bucket_policy,
    "AWS::SNS::Subscription": _same("sns", "Subscribe"),
    "AWS::SNS::Topic": _topic,
    "AWS::SNS::TopicPolicy": _topic_policy,
    "AWS::SQS::Queue": _queue,
    "AWS::SQS::QueuePolicy": _queue_policy,
    "AWS::Scheduler::Schedule": _same("scheduler", "CreateSchedule", "Name"),
    "AWS::StepFunctions::StateMachine": _state_machine,
}
