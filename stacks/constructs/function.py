"""A function with its role and its log group, as the settings of all functions say."""

from collections.abc import Mapping
from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from dynamodb_streams_cdc.names import FUNCTION_SECONDS
from stacks.constructs.keys import key_of, use_of_key
from stacks.constructs.retention import RETENTION, removal
from stacks.environments import Environment

# The packaged dependencies are built for these two: see AWS_TARGET in stacks/packaging.py.
RUNTIME = lambda_.Runtime.PYTHON_3_13
ARCHITECTURE = lambda_.Architecture.ARM_64
# https://docs.aws.amazon.com/xray/latest/devguide/security_iam_service-with-iam.html: no resource.
TRACING = ("xray:PutTelemetryRecords", "xray:PutTraceSegments")
# AWSLambdaVPCAccessExecutionRole without its access to every log group:
# https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSLambdaVPCAccessExecutionRole.html
NETWORK_INTERFACES = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)


@dataclass(frozen=True)
class FunctionParts:
    """A function, its role and its log group."""

    function: lambda_.Function
    role: iam.Role
    log_group: logs.LogGroup


def add_function(
    scope: Construct,
    *,
    description: str,
    handler: str,
    code: lambda_.Code,
    memory_mib: int,
    reserved_concurrency: int | None = None,
    seconds: int = FUNCTION_SECONDS,
    in_vpc: bool = True,
    snap_start: bool = False,
    variables: Mapping[str, str],
    environment: Environment,
) -> FunctionParts:
    """Add a function named `Function`, with `Role` and `Logs`, to a construct.

    With a VPC it is in it, unless `in_vpc` is false: for one that calls AWS's public APIs alone.
    With `snap_start`, its published versions start from a snapshot.
    """
    log_group = logs.LogGroup(
        scope,
        "Logs",
        retention=RETENTION[environment.log_retention_days],
        encryption_key=key_of(scope),
        removal_policy=removal(keep=environment.keeps_data),
    )
    role = iam.Role(scope, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    network = environment.vpc_id is not None and in_vpc
    _let_run(role, tracing=environment.tracing, network=network)
    function = lambda_.Function(
        scope,
        "Function",
        description=description,
        runtime=RUNTIME,
        architecture=ARCHITECTURE,
        handler=handler,
        code=code,
        role=role,
        memory_size=memory_mib,
        timeout=Duration.seconds(seconds),
        reserved_concurrent_executions=reserved_concurrency,
        log_group=log_group,
        logging_format=lambda_.LoggingFormat.JSON,
        environment=dict(variables),
        snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if snap_start else None,
    )
    resource = function.node.default_child
    assert isinstance(resource, lambda_.CfnFunction)
    if environment.tracing:
        resource.tracing_config = lambda_.CfnFunction.TracingConfigProperty(mode="Active")
    if network:
        resource.vpc_config = lambda_.CfnFunction.VpcConfigProperty(
            subnet_ids=list(environment.subnet_ids),
            security_group_ids=list(environment.security_group_ids),
        )
    log_group.grant_write(role)
    return FunctionParts(function, role, log_group)


def _let_run(role: iam.Role, *, tracing: bool, network: bool) -> None:
    """Grant the role the permissions of the settings, each in a policy of its own.

    Lambda checks them when it makes the function, which waits for the role with its policies. X-Ray
    and network interfaces take no resource in a policy: the wildcard stays in these two policies.
    """
    for name, wanted, actions in (
        ("Tracing", tracing, TRACING),
        ("NetworkInterfaces", network, NETWORK_INTERFACES),
    ):
        if wanted:
            statement = iam.PolicyStatement(actions=list(actions), resources=["*"])
            iam.Policy(role, name, statements=[statement], roles=[role])
    if statements := use_of_key(role):
        iam.Policy(role, "Key", statements=statements, roles=[role])
