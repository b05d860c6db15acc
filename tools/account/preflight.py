"""Checks an account before a deploy; only reads.

Each check queries AWS and passes the responses to a pure function (`tools.account.checks`). A check
without permission is reported and does not block.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from dynamodb_streams_cdc.entities import BUILT_IN, Table
from local.deployed.deployment import QUALIFIER
from stacks.environments import Environment
from tools.account import checks, inventory, key, source_tables, vpc
from tools.account.checks import Concurrency, Offer, Reader, StreamReaders, Wanted
from tools.account.findings import Finding
from tools.account.identity import Account
from tools.account.source_tables import Found, SourceTable

ENGINE = "OpenSearch_3.5"
"""Engine of the domain in stacks/search.py; a test compares the two."""

_DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"}
)
_NO_ENCRYPTION = ("NoSuchBucket", "ServerSideEncryptionConfigurationNotFoundError")
_TABLES = ("AWS::DynamoDB::GlobalTable", "AWS::DynamoDB::Table")
_MAPPING = "AWS::Lambda::EventSourceMapping"


@dataclass(frozen=True)
class Check:
    """One check: `look` queries AWS and judges; `actions` are the permissions that it needs."""

    name: str
    actions: str
    look: Callable[[Account, Wanted], list[Finding]]


def wanted_of(
    account: Account,
    environment: Environment,
    tables: Sequence[Table],
    qualifier: str = QUALIFIER,
) -> Wanted:
    """Return the requirements of an environment with these tables."""
    cluster = environment.cluster_for(tables)
    domain = environment.managed_domain if any(each.indexes for each in tables) else None
    types = (cluster.instance_type, cluster.master_instance_type) if cluster else ()
    processors = [sink for table in tables for sink in _sinks(table)]
    return Wanted(
        names=environment,
        account=account.number,
        region=account.region,
        snap_start=environment.snap_start,
        tracing=environment.tracing,
        qualifier=qualifier,
        lanes=sum(environment.processor(each).parallelization_factor for each in processors),
        mappings=len(processors),
        engine=ENGINE,
        instance_types=tuple(dict.fromkeys(each for each in types if each)),
        zones=cluster.zones if cluster else 1,
        publishes_logs=bool(cluster and cluster.publishes_logs),
        domain=(domain.name, domain.region) if domain else None,
        domain_is_public=bool(domain and domain.id and not domain.in_vpc),
        domain_account=domain.arn.split(":")[4] if domain and domain.arn else None,
        source_tables=tuple(
            SourceTable(table, setting)
            for table in tables
            if (setting := environment.source_tables.get(table.name))
        ),
        expires_by={
            table.name: table.expires_by
            for table in tables
            if table.name not in environment.source_tables
        },
        alarm_topic=environment.alarm_topic_arn,
        makes_topic=environment.alarm_email is not None,
        reserved=sum(environment.processor(each).reserved_concurrency or 0 for each in processors),
        network=environment,
        gateway_stack=environment.gateway_stack(tables),
        tables={f"{environment.stack_prefix}-{each.stack}": each.name for each in tables},
        key=environment.kms_key_arn,
        former_keys=environment.former_key_arns,
        further_sinks=tuple(sorted({sink for table in tables for sink in table.further_sinks})),
    )


def _sinks(table: Table) -> list[str]:
    """Return the sinks that a table's entities use: each has a processor and a mapping."""
    return [sink for sink in (*BUILT_IN, *table.further_sinks) if table.using(sink)]


def preflight(account: Account, wanted: Wanted) -> list[Finding]:
    """Return the findings of every check, in a fixed order."""
    return [finding for check in CHECKS for finding in _run(check, account, wanted)]


def _run(check: Check, account: Account, wanted: Wanted) -> list[Finding]:
    try:
        return check.look(account, wanted)
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        recovery = f"allow {check.actions}" if code in _DENIED else str(error).rstrip(".")
    except ParamValidationError:
        raise
    except BotoCoreError as error:
        recovery = str(error).rstrip(".")
    return [Finding(check.name, "unknown", f"The {check.name} could not be checked: {recovery}.")]


def bootstrap_version(account: Account, qualifier: str) -> str | None:
    """Return the version of the CDK's bootstrap stack of a qualifier, None if there is none."""
    client, name = account.client("ssm"), f"/cdk-bootstrap/{qualifier}/version"
    try:
        version: str = client.get_parameter(Name=name)["Parameter"]["Value"]
    except client.exceptions.ParameterNotFound:
        return None
    return version


def _bootstrap(account: Account, wanted: Wanted) -> list[Finding]:
    return checks.bootstrap(bootstrap_version(account, wanted.qualifier), wanted)


def _concurrency(account: Account, wanted: Wanted) -> list[Finding]:
    limit = account.client("lambda").get_account_settings()["AccountLimit"]
    unreserved = limit["UnreservedConcurrentExecutions"]
    own = _reserved_now(account, wanted) if wanted.reserved else 0
    found = Concurrency(limit.get("ConcurrentExecutions", unreserved), unreserved, own)
    return checks.concurrency(found, wanted)


def _reserved_now(account: Account, wanted: Wanted) -> int | None:
    """Return the invocations that the environment's functions reserve; None if not allowed."""
    client, total = account.client("lambda"), 0
    try:
        for kind, name in _resources(account, wanted):
            if kind == "AWS::Lambda::Function":
                try:
                    found = client.get_function_concurrency(FunctionName=name)
                except client.exceptions.ResourceNotFoundException:
                    continue
                total += found.get("ReservedConcurrentExecutions", 0)
    except ClientError as error:
        if error.response["Error"].get("Code", "") in _DENIED:
            return None
        raise
    return total


def _log_policies(account: Account, wanted: Wanted) -> list[Finding]:
    logs = account.client("logs")
    found = inventory.pages(logs, "describe_resource_policies", "resourcePolicies")
    return checks.log_policies([policy["policyName"] for policy in found], wanted)


def _search_domain(account: Account, wanted: Wanted) -> list[Finding]:
    if wanted.domain is not None:
        if elsewhere := checks.domain_place(wanted):
            return elsewhere
        name, region = wanted.domain
        client = account.client("opensearch", region)
        try:
            status = client.describe_domain(DomainName=name)["DomainStatus"]
        except client.exceptions.ResourceNotFoundException:
            status = None
        return checks.existing_domain(status, wanted)
    if not wanted.instance_types:
        return []
    client = account.client("opensearch")
    versions = list(_answers(client.list_versions, "Versions"))
    zones = {}
    if wanted.engine in versions:
        details = _answers(
            client.list_instance_type_details,
            "InstanceTypeDetails",
            EngineVersion=wanted.engine,
        )
        zones = {each["InstanceType"]: each.get("AvailabilityZones", []) for each in details}
    return checks.domain_offer(Offer(versions, zones), wanted)


def _answers(operation: Callable[..., Any], field: str, **request: Any) -> Iterator[Any]:
    """Yield the entries of a listing without a paginator in boto3."""
    token: dict[str, str] = {}
    while True:
        page = operation(**request, **token)
        yield from page.get(field, ())
        if not page.get("NextToken"):
            return
        token = {"NextToken": page["NextToken"]}


def _stacks(account: Account, wanted: Wanted) -> list[Finding]:
    found = inventory.stacks(account, wanted.names)
    foreign = [each["StackName"] for each in found if not inventory.is_ours(each, wanted.names)]
    return (
        checks.foreign(foreign, wanted)
        or checks.other_copies(found, wanted)
        or checks.stacks(found, wanted)
    )


def _readers(account: Account, wanted: Wanted) -> list[Finding]:
    found = _resources(account, wanted)
    tables = [name for kind, name in found if kind in _TABLES]
    own = {name for kind, name in found if kind == _MAPPING}
    streams = [each for name in tables for each in _readers_of(account, name, own)]
    return checks.readers(streams, wanted)


def _time_to_live(account: Account, wanted: Wanted) -> list[Finding]:
    client, findings = account.client("dynamodb"), []
    own = {name for kind, name in _resources(account, wanted) if kind in _TABLES}
    for stack in inventory.stacks(account, wanted.names):
        for table in checks.source_tables_of(stack):
            if table["name"] in wanted.expires_by and (name := table.get("table")) in own:
                found = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
                findings += checks.time_to_live(name, found, wanted.expires_by[table["name"]])
    return findings


def _source_tables(account: Account, wanted: Wanted) -> list[Finding]:
    if not wanted.source_tables:
        return []
    own = {name for kind, name in _resources(account, wanted) if kind == _MAPPING}
    return [
        finding
        for source in wanted.source_tables
        for finding in source_tables.elsewhere(source, wanted)
        or _source_table(account, source, own, wanted)
    ]


def _source_table(
    account: Account, source: SourceTable, own: set[str], wanted: Wanted
) -> list[Finding]:
    client = account.client("dynamodb")
    try:
        table = client.describe_table(TableName=source.name)["Table"]
    except client.exceptions.ResourceNotFoundException:
        return source_tables.absent(source)
    time_to_live = client.describe_time_to_live(TableName=source.name)["TimeToLiveDescription"]
    readers = _readers_at(account, source.name, source.setting.stream_arn, own)
    manager = _manager_of_key(account, source_tables.key_of_table(table))
    return source_tables.judged(source, Found(table, time_to_live, readers, manager), wanted)


def _resources(account: Account, wanted: Wanted) -> list[tuple[str, str]]:
    """Return type and physical name of the resources of the environment's stacks."""
    return [
        (each["ResourceType"], each["PhysicalResourceId"])
        for stack in inventory.stacks(account, wanted.names)
        for each in inventory.resources(account, stack["StackName"])
        if each.get("PhysicalResourceId") and each["ResourceStatus"] != "DELETE_COMPLETE"
    ]


def _readers_of(account: Account, table: str, own: set[str]) -> Iterator[StreamReaders]:
    client = account.client("dynamodb")
    try:
        arn = client.describe_table(TableName=table)["Table"].get("LatestStreamArn")
    except client.exceptions.ResourceNotFoundException:
        return
    if arn is not None:
        yield _readers_at(account, table, arn, own)


def _readers_at(account: Account, table: str, arn: str, own: set[str]) -> StreamReaders:
    mappings = inventory.pages(
        account.client("lambda"),
        "list_event_source_mappings",
        "EventSourceMappings",
        EventSourceArn=arn,
    )
    pipes = inventory.pages(account.client("pipes"), "list_pipes", "Pipes", SourcePrefix=arn)
    return StreamReaders(
        table,
        [
            Reader(
                uuid=each["UUID"],
                reader=each["FunctionArn"].split(":")[6],
                state=each["State"],
                ours=each["UUID"] in own,
            )
            for each in mappings
        ],
        [pipe["Name"] for pipe in pipes if pipe["Source"] == arn],
    )


def _alarm_topic(account: Account, wanted: Wanted) -> list[Finding]:
    if wanted.alarm_topic is None:
        return []
    misplaced = checks.topic_place(wanted)
    if misplaced:
        return misplaced
    client = account.client("sns")
    try:
        attributes = client.get_topic_attributes(TopicArn=wanted.alarm_topic)["Attributes"]
    except client.exceptions.NotFoundException:
        attributes = None
    return checks.topic(attributes, wanted)


def _own_domain(account: Account, wanted: Wanted) -> list[Finding]:
    """Whether the domain that the environment has can follow a change of the settings."""
    client = account.client("opensearch")
    if not wanted.instance_types:
        return []
    findings = []
    for kind, name in _resources(account, wanted):
        if kind == "AWS::OpenSearchService::Domain":
            try:
                status = client.describe_domain(DomainName=name)["DomainStatus"]
            except client.exceptions.ResourceNotFoundException:
                continue
            manager = _manager_of_key(account, vpc.key_of_domain(status)) if not wanted.key else ""
            findings += vpc.of_domain(status, wanted, is_customers=manager == "CUSTOMER")
            if manager is None:
                sentence = (
                    f"The key of the domain {name}, which it has to keep, could not be checked: "
                    "allow kms:DescribeKey."
                )
                findings.append(Finding("own search domain", "unknown", sentence))
    return findings


def _manager_of_key(account: Account, key: str) -> str | None:
    """Return `CUSTOMER` or `AWS`, who manages a key; None if that may not be read."""
    if not key:
        return "AWS"
    client = account.client("kms")
    try:
        return str(client.describe_key(KeyId=key)["KeyMetadata"].get("KeyManager", "CUSTOMER"))
    except client.exceptions.NotFoundException:
        # No key of AWS is ever deleted.
        return "CUSTOMER"
    except ClientError as error:
        if error.response["Error"].get("Code", "") in _DENIED:
            return None
        raise


def _key(account: Account, wanted: Wanted) -> list[Finding]:
    if wanted.key is None:
        return []
    if misplaced := key.place(wanted):
        return misplaced
    client = account.client("kms")
    try:
        metadata = client.describe_key(KeyId=wanted.key)["KeyMetadata"]
    except client.exceptions.NotFoundException:
        metadata = None
    if unusable := key.state(metadata, wanted):
        return unusable
    policy = client.get_key_policy(KeyId=wanted.key, PolicyName="default")["Policy"]
    return key.policy(json.loads(policy), wanted)


def _former_keys(account: Account, wanted: Wanted) -> list[Finding]:
    client, findings = account.client("kms"), []
    for arn in wanted.former_keys:
        try:
            metadata = client.describe_key(KeyId=arn)["KeyMetadata"]
        except client.exceptions.NotFoundException:
            metadata = None
        findings += key.former(arn, metadata)
    return [*findings, *key.unnamed(_keys_of_buckets(account, wanted), wanted)]


def _keys_of_buckets(account: Account, wanted: Wanted) -> dict[str, str]:
    """Return a bucket of the environment for each key that encrypts any."""
    client = account.client("s3")
    found: dict[str, str] = {}
    for kind, name in _resources(account, wanted):
        if kind != "AWS::S3::Bucket":
            continue
        try:
            rules = client.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]
        except ClientError as error:
            if error.response["Error"].get("Code", "") in _NO_ENCRYPTION:
                continue
            raise
        for rule in rules["Rules"]:
            used = rule.get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID")
            if used:
                found.setdefault(used, name)
    return found


def _network(account: Account, wanted: Wanted) -> list[Finding]:
    network = wanted.network
    if network.vpc_id is None:
        return []
    client = account.client("ec2")

    def listed(operation: str, field: str, name: str, *values: str) -> list[dict[str, Any]]:
        request = {"Filters": [{"Name": name, "Values": list(values)}]}
        return list(inventory.pages(client, operation, field, **request))

    subnets = listed("describe_subnets", "Subnets", "subnet-id", *network.subnet_ids)
    groups = listed(
        "describe_security_groups", "SecurityGroups", "group-id", *network.security_group_ids
    )
    misplaced = [
        *vpc.members(
            "subnet_ids",
            network.subnet_ids,
            {each["SubnetId"]: each["VpcId"] for each in subnets},
            network.vpc_id,
        ),
        *vpc.members(
            "security_group_ids",
            network.security_group_ids,
            {each["GroupId"]: each["VpcId"] for each in groups},
            network.vpc_id,
        ),
    ]
    if misplaced:
        return misplaced
    findings = [
        *vpc.zones({each["SubnetId"]: each["AvailabilityZone"] for each in subnets}, wanted),
        *vpc.routes(
            listed("describe_route_tables", "RouteTables", "vpc-id", network.vpc_id),
            listed("describe_vpc_endpoints", "VpcEndpoints", "vpc-id", network.vpc_id),
            wanted,
        ),
        *vpc.linked_role(_has_linked_role(account), wanted),
        *vpc.moved_gateways(_with_gateways(account, wanted), wanted),
    ]
    return findings or [Finding(vpc.CHECK, "ok", f"Functions can run in {network.vpc_id}.")]


def _with_gateways(account: Account, wanted: Wanted) -> list[str]:
    """Return the names of the environment's stacks that have VPC endpoints."""
    if wanted.gateway_stack is None:
        return []
    return [
        stack["StackName"]
        for stack in inventory.stacks(account, wanted.names)
        if any(
            each["ResourceType"] == "AWS::EC2::VPCEndpoint"
            and each["ResourceStatus"] != "DELETE_COMPLETE"
            for each in inventory.resources(account, stack["StackName"])
        )
    ]


def _has_linked_role(account: Account) -> bool:
    client = account.client("iam")
    for name in vpc.LINKED_ROLES:
        try:
            client.get_role(RoleName=name)
        except client.exceptions.NoSuchEntityException:
            continue
        return True
    return False


def _leftovers(account: Account, wanted: Wanted) -> list[Finding]:
    if inventory.stacks(account, wanted.names):
        return []
    kinds = ("table", "bucket", "search domain")
    found = inventory.look(account, wanted.names, kinds)
    unseen = [
        Finding("leftovers", "unknown", f"Cannot list resources of the kind {kind}: {reason}.")
        for kind, reason in found.unseen.items()
    ]
    return checks.leftovers([str(each) for each in found.resources], wanted) + unseen


CHECKS = (
    Check("bootstrap version", "ssm:GetParameter", _bootstrap),
    Check("Region", "nothing", lambda _, wanted: checks.region(wanted)),
    Check(
        "concurrency",
        "lambda:GetAccountSettings, lambda:GetFunctionConcurrency and "
        "cloudformation:ListStackResources",
        _concurrency,
    ),
    Check("log policies", "logs:DescribeResourcePolicies", _log_policies),
    Check(
        "search domain",
        "es:ListVersions, es:ListInstanceTypeDetails and es:DescribeDomain",
        _search_domain,
    ),
    Check("stacks", "cloudformation:DescribeStacks", _stacks),
    Check(
        "readers",
        "cloudformation:ListStackResources, dynamodb:DescribeTable, "
        "lambda:ListEventSourceMappings and pipes:ListPipes",
        _readers,
    ),
    Check(
        "Time to Live",
        "cloudformation:ListStackResources and dynamodb:DescribeTimeToLive",
        _time_to_live,
    ),
    Check(
        "source table",
        "cloudformation:ListStackResources, dynamodb:DescribeTable, dynamodb:DescribeTimeToLive, "
        "lambda:ListEventSourceMappings, pipes:ListPipes and kms:DescribeKey",
        _source_tables,
    ),
    Check(
        "network",
        "ec2:DescribeSubnets, ec2:DescribeSecurityGroups, ec2:DescribeRouteTables, "
        "ec2:DescribeVpcEndpoints, iam:GetRole and cloudformation:ListStackResources",
        _network,
    ),
    Check("key", "kms:DescribeKey and kms:GetKeyPolicy", _key),
    Check(
        key.FORMER,
        "kms:DescribeKey, s3:GetEncryptionConfiguration and cloudformation:ListStackResources",
        _former_keys,
    ),
    Check(
        "own search domain",
        "cloudformation:ListStackResources, es:DescribeDomain and kms:DescribeKey",
        _own_domain,
    ),
    Check("alarm topic", "sns:GetTopicAttributes", _alarm_topic),
    Check(
        "leftovers", "dynamodb:ListTables, s3:ListAllMyBuckets and es:ListDomainNames", _leftovers
    ),
)
