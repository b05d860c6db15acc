"""The stacks of one environment, wired together."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from aws_cdk import App, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from dynamodb_streams_cdc.entities import Table, tables_of
from stacks.constructs.gateways import add_gateways
from stacks.environments import Environment
from stacks.errors import SynthError
from stacks.pipeline import PipelineStack
from stacks.search import SearchStack
from stacks.search_logs import SearchLogs

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: 6,144 characters of a
# managed policy, not adjustable, less what is around the resources
MOST_OF_A_POLICY = 5_900
# An index has three resources in one statement, which the CDK does not divide, with the longest ARN
# of a domain, and what is around the index's name
OF_AN_INDEX = 3 * len(
    '"arn:aws-us-gov:es:ap-southeast-2:123456789012:domain/" /-second/*,' + 28 * "x"
)


def add_stacks(
    app: App, *, environment: Environment, tables: Sequence[Table], package: Path
) -> None:
    """Add the environment's stacks, for the account and Region of the caller.

    `package` is the folder with the functions' code.

    Raises:
        SynthError: the tables do not fit together, or not the environment.
        DeclarationError: they are no tables.
    """
    tables = tables_of(tables)
    _check(tables, environment)
    prefix = environment.stack_prefix
    search, cluster = None, environment.cluster_for(tables)
    if cluster is not None:
        logs = None
        if cluster.publishes_logs:
            logs = SearchLogs(app, f"{prefix}-search-logs", environment=environment)
        search = SearchStack(
            app,
            f"{prefix}-search",
            environment=environment,
            cluster=cluster,
            logs=logs,
        )
    pipelines = {f"{prefix}-{table.stack}": table for table in tables}
    known: set[str] = set()
    made: list[PipelineStack] = []
    for name, table in pipelines.items():
        pipeline = PipelineStack(
            app,
            name,
            table=table,
            environment=environment,
            code=lambda_.Code.from_asset(str(package)),
            search=search.target if search else None,
            pipelines=tuple(pipelines),
        )
        if search is not None:
            # The imports of its exports have names: the CDK cannot tell the order from them.
            pipeline.add_stack_dependency(search)
        made.append(pipeline)
        known |= {each.name for each in pipeline.processors}
    environment.check_processors(known)
    for pipeline in made:
        if pipeline.stack_name == environment.gateway_stack(tables):
            add_gateways(pipeline, environment)
    if (arn := environment.permissions_boundary_arn) is not None:
        boundary = iam.ManagedPolicy.from_managed_policy_arn(made[0], "Boundary", arn)
        iam.PermissionsBoundary.of(app).apply(boundary)
    Tags.of(app).add("application", environment.prefix)
    Tags.of(app).add("environment", environment.name)


def _check(tables: Sequence[Table], environment: Environment) -> None:
    if not tables:
        message = "lambdas/domain declares no table: put one into TABLES."
        raise SynthError(message)
    for what, names in (
        ("name", [table.name for table in tables]),
        ("stack", [table.stack for table in tables]),
        ("index", [index.name for table in tables for index in table.indexes]),
    ):
        for name, times in Counter(names).items():
            if times > 1:
                message = (
                    f"lambdas/domain declares {times} tables with the {what} {name!r}: give each "
                    f"table a {what} of its own."
                )
                raise SynthError(message)
    for table in tables:
        names = [f"{environment.index_prefix}{index.name}" for index in table.indexes]
        if sum(OF_AN_INDEX + 3 * len(name) for name in names) > MOST_OF_A_POLICY:
            message = (
                f"lambdas/domain declares {len(names)} indexes for table {table.name!r}, whose "
                "function needs a larger policy than IAM allows (6,144 characters): give their "
                "names fewer characters, or let entities share an index."
            )
            raise SynthError(message)
    environment.check_tables(tables)
    declared = [table.name for table in tables]
    for name in environment.source_tables:
        if name not in declared:
            message = (
                f"Setting 'source_tables' has {name!r}, which lambdas/domain does not declare: use "
                f"{', '.join(declared)}."
            )
            raise SynthError(message)
    arns = Counter(each.arn for each in environment.source_tables.values())
    for arn, times in arns.items():
        if times > 1:
            names = [each for each, at in environment.source_tables.items() if at.arn == arn]
            message = (
                f"Setting 'source_tables' has {arn} for {' and '.join(names)}, whose processors "
                "would all read its one stream: declare one table with the entities of all."
            )
            raise SynthError(message)
