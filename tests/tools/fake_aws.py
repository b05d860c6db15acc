"""An AWS account in memory, below botocore: requests and responses have AWS's own shapes.

Both are validated against the service models that boto3 ships, so that a test cannot agree with
itself on a field that AWS does not have. S3 and STS are moto's.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, Self
from uuid import UUID

import boto3
import botocore.client
import pytest
from botocore.validate import validate_parameters

ACCOUNT = "123456789012"  # moto's
REGION = "eu-west-1"
CREATED = "2026-11-28T11:00:00Z"
MOTOS = ("s3",)
MESSAGES = {"ExpiredToken": "The security token included in the request is expired"}
KINDS = {
    "table": "AWS::DynamoDB::GlobalTable",
    "bucket": "AWS::S3::Bucket",
    "mapping": "AWS::Lambda::EventSourceMapping",
    "policy": "AWS::IAM::ManagedPolicy",
}
REASONS = {
    "bucket": "The bucket you tried to delete is not empty",
    "policy": "Cannot delete a policy attached to entities.",
}
"""Why CloudFormation cannot delete a resource."""


@dataclass
class Stack:
    """A stack with its resources, by type and physical name."""

    name: str
    status: str = "CREATE_COMPLETE"
    protected: bool = False
    exports: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    resources: list[tuple[str, str]] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    is_ours: bool = True
    table: str | None = None
    """Declared name of the source table in the manifest; it is the first table of the stack."""

    @property
    def tags(self) -> list[dict[str, str]]:
        """The tags of the app's stacks."""
        environment = self.name.removeprefix("cdc-").partition("-")[0]
        tags = {"application": "cdc", "environment": environment} if self.is_ours else {}
        return [{"Key": key, "Value": value} for key, value in tags.items()]

    @property
    def arn(self) -> str:
        return f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{self.name}/0"


@dataclass
class FakeAws:
    """Resources of the account, and calls: `calls` are operations in order."""

    stacks: dict[str, Stack] = field(default_factory=dict)
    mappings: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    """ARN of the stream of each table."""
    described: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Description of a table, in addition to the ARN of its stream."""
    expires_by: dict[str, str] = field(default_factory=dict)
    time_to_live: str = "ENABLED"
    """State of Time to Live of the tables in `expires_by`."""
    pipes: dict[str, str] = field(default_factory=dict)
    """Name of each pipe, and the ARN that it reads."""
    parameters: dict[str, str] = field(default_factory=dict)
    topics: dict[str, dict[str, str]] = field(default_factory=dict)
    log_policies: list[str] = field(default_factory=list)
    concurrency: int = 1000
    reserved: dict[str, int] = field(default_factory=dict)
    """Invocations that are reserved for a function."""
    engines: list[str] = field(default_factory=lambda: ["OpenSearch_3.5"])
    instance_types: list[str] = field(default_factory=lambda: ["t3.small.search"])
    domains: dict[str, dict[str, Any]] = field(default_factory=dict)
    subnets: dict[str, tuple[str, str]] = field(default_factory=dict)
    """VPC and zone of each subnet."""
    security_groups: dict[str, str] = field(default_factory=dict)
    """VPC of each security group."""
    route_tables: list[dict[str, Any]] = field(default_factory=list)
    gateways: list[dict[str, Any]] = field(default_factory=list)
    linked_roles: set[str] = field(default_factory=set)
    attached: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Names of the holders of each managed policy by its ARN, by `Role`, `User` or `Group`."""
    bounded: dict[str, list[str]] = field(default_factory=dict)
    """Names of those to whom a policy is the boundary of their permissions."""
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Metadata of each key by ARN, with its policy as `Policy`."""
    denied: set[str] = field(default_factory=set)
    errors: dict[str, str] = field(default_factory=dict)
    """Code of the error that an operation is answered with."""
    calls: list[str] = field(default_factory=list)
    on_call: dict[str, Callable[[], object]] = field(default_factory=dict)
    """Called just before an operation."""
    bucket_is_empty: Callable[[str], bool] = lambda name: _versions(name) == 0

    def add(self, *stacks: Stack) -> None:
        self.stacks |= {stack.name: stack for stack in stacks}

    def add_mapping(self, uuid: str, function: str, table: str) -> None:
        self.mappings[uuid] = {
            "UUID": uuid,
            "FunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}",
            "EventSourceArn": self.tables[table],
            "State": "Enabled",
        }

    def installed(self, monkeypatch: pytest.MonkeyPatch) -> Self:
        real = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]

        def call(client: Any, operation: str, request: dict[str, Any]) -> Any:
            service = client.meta.service_model.service_name
            name = f"{service}:{operation}"
            self.calls.append(name)
            self.on_call.get(name, lambda: None)()
            if name in self.denied:
                fail(client, operation, "AccessDeniedException")
            if name in self.errors:
                fail(client, operation, self.errors[name])
            if service in MOTOS:
                return real(client, operation, request)
            model = client.meta.service_model.operation_model(operation)
            validate_parameters(request, model.input_shape)
            answer: Any = getattr(self, f"_{service}_{operation}", lambda client, request: {})(
                client, request
            )
            if answer and model.output_shape is not None:
                validate_parameters(answer, model.output_shape)
            return answer

        monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call)
        return self

    # STS

    def _sts_GetCallerIdentity(self, client: Any, request: Any) -> Any:
        return {"Account": ACCOUNT, "Arn": f"arn:aws:sts::{ACCOUNT}:user/tester"}

    # CloudFormation

    def _cloudformation_DescribeStacks(self, client: Any, request: Any) -> Any:
        wanted = request.get("StackName")
        found = [each for each in self.stacks.values() if wanted in (None, each.name, each.arn)]
        if wanted and not found:
            fail(client, "DescribeStacks", "ValidationError")
        described = [_described(stack) for stack in found]
        for stack in found:
            self._go_on(stack)
        return {"Stacks": described}

    def _go_on(self, stack: Stack) -> None:
        """Time passes with each look."""
        if stack.status in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"):
            stack.status = stack.status.replace("IN_PROGRESS", "COMPLETE")
        elif stack.status == "DELETE_IN_PROGRESS":
            stack.failing = {
                name
                for kind, name in stack.resources
                if (kind == KINDS["bucket"] and not self.bucket_is_empty(name))
                or (kind == KINDS["policy"] and any(self.attached.get(name, {}).values()))
            }
            if stack.failing:
                stack.status = "DELETE_FAILED"
            else:
                self._remove(stack)

    def _remove(self, stack: Stack) -> None:
        del self.stacks[stack.name]
        for kind, name in stack.resources:
            self.mappings.pop(name, None)
            self.tables.pop(name, None)
            if kind == KINDS["bucket"]:
                s3().delete_bucket(Bucket=name)

    def _cloudformation_DeleteStack(self, client: Any, request: Any) -> Any:
        for stack in self.stacks.values():
            if request["StackName"] in (stack.name, stack.arn):
                used = {name for other in self.stacks.values() for name in other.imports}
                assert not stack.protected, "a protected stack was deleted"
                assert not used & set(stack.exports), "a stack was deleted that others import from"
                stack.status = "DELETE_IN_PROGRESS"
        return {}

    def _cloudformation_ListStackResources(self, client: Any, request: Any) -> Any:
        [stack] = [
            each for each in self.stacks.values() if request["StackName"] in (each.name, each.arn)
        ]
        return {
            "StackResourceSummaries": [
                {
                    "LogicalResourceId": f"Logical{name}",
                    "PhysicalResourceId": name,
                    "ResourceType": kind,
                    "LastUpdatedTimestamp": CREATED,
                    "ResourceStatus": "DELETE_FAILED"
                    if name in stack.failing
                    else "CREATE_COMPLETE",
                    "ResourceStatusReason": REASONS[
                        "policy" if kind == KINDS["policy"] else "bucket"
                    ],
                }
                for kind, name in stack.resources
            ]
        }

    def _cloudformation_ListImports(self, client: Any, request: Any) -> Any:
        name = request["ExportName"]
        users = [stack.name for stack in self.stacks.values() if name in stack.imports]
        if not users:
            fail(client, "ListImports", "ValidationError")
        return {"Imports": users}

    # Lambda

    def _lambda_ListEventSourceMappings(self, client: Any, request: Any) -> Any:
        source = request.get("EventSourceArn")
        found = [
            dict(each)
            for each in self.mappings.values()
            if source in (None, each["EventSourceArn"])
        ]
        for each in self.mappings.values():
            if each["State"] == "Disabling":
                each["State"] = "Disabled"
        return {"EventSourceMappings": found}

    def _lambda_UpdateEventSourceMapping(self, client: Any, request: Any) -> Any:
        mapping = self.mappings[request["UUID"]]
        if mapping["State"] == "Updating":
            mapping["State"] = "Enabled"
            fail(client, "UpdateEventSourceMapping", "ResourceInUseException")
        mapping["State"] = "Disabling"
        return {"UUID": request["UUID"], "State": "Disabling"}

    def _lambda_ListFunctions(self, client: Any, request: Any) -> Any:
        return {"Functions": []}

    def _lambda_GetAccountSettings(self, client: Any, request: Any) -> Any:
        limits = {
            "UnreservedConcurrentExecutions": self.concurrency - sum(self.reserved.values()),
            "ConcurrentExecutions": self.concurrency,
        }
        return {"AccountLimit": limits}

    def _lambda_GetFunctionConcurrency(self, client: Any, request: Any) -> Any:
        name = request["FunctionName"]
        if name in self.reserved:
            return {"ReservedConcurrentExecutions": self.reserved[name]}
        return {}

    # Network and keys

    def _ec2_DescribeSubnets(self, client: Any, request: Any) -> Any:
        wanted = request["Filters"][0]["Values"]
        return {
            "Subnets": [
                {"SubnetId": name, "VpcId": vpc, "AvailabilityZone": zone}
                for name, (vpc, zone) in self.subnets.items()
                if name in wanted
            ]
        }

    def _ec2_DescribeSecurityGroups(self, client: Any, request: Any) -> Any:
        wanted = request["Filters"][0]["Values"]
        return {
            "SecurityGroups": [
                {"GroupId": name, "VpcId": vpc}
                for name, vpc in self.security_groups.items()
                if name in wanted
            ]
        }

    def _ec2_DescribeRouteTables(self, client: Any, request: Any) -> Any:
        return {"RouteTables": self.route_tables}

    def _ec2_DescribeVpcEndpoints(self, client: Any, request: Any) -> Any:
        return {"VpcEndpoints": self.gateways}

    def _iam_GetRole(self, client: Any, request: Any) -> Any:
        name = request["RoleName"]
        if name not in self.linked_roles:
            fail(client, "GetRole", "NoSuchEntity")
        arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        role = {"RoleName": name, "Arn": arn, "Path": "/", "RoleId": "A" * 20}
        return {"Role": {**role, "CreateDate": CREATED}}

    def _iam_ListEntitiesForPolicy(self, client: Any, request: Any) -> Any:
        kind = request["EntityFilter"]
        found = [*self.attached.get(request["PolicyArn"], {}).get(kind, [])]
        if request.get("PolicyUsageFilter") != "PermissionsPolicy":
            found = [*self.bounded.get(kind, []), *found]
        return {f"Policy{kind}s": [{f"{kind}Name": each} for each in found], "IsTruncated": False}

    def _iam_DetachRolePolicy(self, client: Any, request: Any) -> Any:
        self.attached[request["PolicyArn"]]["Role"].remove(request["RoleName"])
        return {}

    def _iam_DetachUserPolicy(self, client: Any, request: Any) -> Any:
        self.attached[request["PolicyArn"]]["User"].remove(request["UserName"])
        return {}

    def _iam_DetachGroupPolicy(self, client: Any, request: Any) -> Any:
        self.attached[request["PolicyArn"]]["Group"].remove(request["GroupName"])
        return {}

    def _kms_DescribeKey(self, client: Any, request: Any) -> Any:
        if request["KeyId"] not in self.keys:
            fail(client, "DescribeKey", "NotFoundException")
        metadata = {k: v for k, v in self.keys[request["KeyId"]].items() if k != "Policy"}
        return {"KeyMetadata": {"KeyId": request["KeyId"], **metadata}}

    def _kms_GetKeyPolicy(self, client: Any, request: Any) -> Any:
        return {"Policy": json.dumps(self.keys[request["KeyId"]]["Policy"])}

    # The others

    def _dynamodb_ListTables(self, client: Any, request: Any) -> Any:
        return {"TableNames": sorted(self.tables)}

    def _dynamodb_DescribeTable(self, client: Any, request: Any) -> Any:
        if request["TableName"] not in self.tables:
            fail(client, "DescribeTable", "ResourceNotFoundException")
        name = request["TableName"]
        return {"Table": {"LatestStreamArn": self.tables[name], **self.described.get(name, {})}}

    def _dynamodb_DescribeTimeToLive(self, client: Any, request: Any) -> Any:
        attribute = self.expires_by.get(request["TableName"])
        found = {"TimeToLiveStatus": "DISABLED"}
        if attribute:
            found = {"TimeToLiveStatus": self.time_to_live, "AttributeName": attribute}
        return {"TimeToLiveDescription": found}

    def _pipes_ListPipes(self, client: Any, request: Any) -> Any:
        source = request["SourcePrefix"]
        found = [{"Name": n, "Source": arn} for n, arn in self.pipes.items()]
        return {"Pipes": [each for each in found if each["Source"].startswith(source)]}

    def _ssm_GetParameter(self, client: Any, request: Any) -> Any:
        if request["Name"] not in self.parameters:
            fail(client, "GetParameter", "ParameterNotFound")
        return {"Parameter": {"Value": self.parameters[request["Name"]]}}

    def _logs_DescribeResourcePolicies(self, client: Any, request: Any) -> Any:
        return {"resourcePolicies": [{"policyName": name} for name in self.log_policies]}

    def _sns_GetTopicAttributes(self, client: Any, request: Any) -> Any:
        if request["TopicArn"] not in self.topics:
            fail(client, "GetTopicAttributes", "NotFound")
        return {"Attributes": self.topics[request["TopicArn"]]}

    def _opensearch_ListVersions(self, client: Any, request: Any) -> Any:
        # In two pages, as AWS gives them.
        if "NextToken" in request:
            return {"Versions": self.engines}
        return {"Versions": ["OpenSearch_1.0"], "NextToken": "more"}

    def _opensearch_ListInstanceTypeDetails(self, client: Any, request: Any) -> Any:
        assert request["EngineVersion"] in self.engines
        return {"InstanceTypeDetails": [{"InstanceType": each} for each in self.instance_types]}

    def _opensearch_ListDomainNames(self, client: Any, request: Any) -> Any:
        return {"DomainNames": [{"DomainName": name} for name in self.domains]}

    def _opensearch_DescribeDomain(self, client: Any, request: Any) -> Any:
        name = request["DomainName"]
        if name not in self.domains:
            fail(client, "DescribeDomain", "ResourceNotFoundException")
        options = {"Enabled": bool(self.domains[name].get("fine_grained"))}
        return {
            "DomainStatus": {
                "DomainId": f"{ACCOUNT}/{name}",
                "DomainName": name,
                "ARN": f"arn:aws:es:{REGION}:{ACCOUNT}:domain/{name}",
                "ClusterConfig": {},
                "AdvancedSecurityOptions": options,
                **self.domains[name].get("status", {}),
            }
        }

    def _opensearch_ListTags(self, client: Any, request: Any) -> Any:
        name = request["ARN"].rpartition("/")[2]
        tags = self.domains[name].get("tags", {})
        return {"TagList": [{"Key": key, "Value": value} for key, value in tags.items()]}


def s3() -> Any:
    """A client of moto's S3."""
    make: Any = boto3.client
    return make("s3", region_name=REGION)


def _versions(bucket: str) -> int:
    """How many versions and delete markers a bucket has."""
    found = s3().list_object_versions(Bucket=bucket)
    return len(found.get("Versions", ())) + len(found.get("DeleteMarkers", ()))


def uuid(name: str) -> str:
    """A mapping's id that says in a test whose it is."""
    return str(UUID(bytes=name.encode()[:16].ljust(16, b"-")))


def fail(client: Any, operation: str, code: str) -> NoReturn:
    """Raise the exception that boto3 raises for an error of this code."""
    kind = client.exceptions.from_code(code)
    message = MESSAGES.get(code, f"{code} of a test")
    raise kind({"Error": {"Code": code, "Message": message}}, operation)


def _described(stack: Stack) -> dict[str, Any]:
    outputs = [{"OutputKey": name, "OutputValue": "", "ExportName": name} for name in stack.exports]
    if stack.table:
        made = next((name for kind, name in stack.resources if kind == KINDS["table"]), "")
        manifest = json.dumps({"source_tables": [{"name": stack.table, "table": made}]})
        outputs.append({"OutputKey": "Manifest", "OutputValue": manifest})
    return {
        "StackName": stack.name,
        "StackId": stack.arn,
        "StackStatus": stack.status,
        "CreationTime": CREATED,
        "EnableTerminationProtection": stack.protected,
        "Outputs": outputs,
        "Tags": stack.tags,
    }
