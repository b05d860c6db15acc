"""The stacks of one environment, wired together."""

from aws_cdk import App, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from stacks.environments import Environment
from stacks.pipeline import PipelineStack
from stacks.search import SearchStack
from stacks.search_logs import SearchLogs


def add_stacks(app: App, *, environment: Environment, code: lambda_.Code) -> None:
    """Add the environment's stacks, for the account and Region of the caller."""
    prefix = environment.stack_prefix
    search = None
    if environment.search_cluster is not None:
        logs = None
        if environment.search_cluster.publishes_logs:
            logs = SearchLogs(app, f"{prefix}-search-logs", environment=environment)
        search = SearchStack(
            app,
            f"{prefix}-search",
            environment=environment,
            cluster=environment.search_cluster,
            logs=logs,
        )
    pipeline = PipelineStack(
        app,
        f"{prefix}-pipeline",
        environment=environment,
        code=code,
        search=search.target if search else None,
    )
    if search is not None:
        # The imports of its exports have names: the CDK cannot tell the order from them.
        pipeline.add_stack_dependency(search)
    if (arn := environment.permissions_boundary_arn) is not None:
        boundary = iam.ManagedPolicy.from_managed_policy_arn(pipeline, "Boundary", arn)
        iam.PermissionsBoundary.of(app).apply(boundary)
    Tags.of(app).add("application", environment.prefix)
    Tags.of(app).add("environment", environment.name)
