"""The stacks of one environment, wired together."""

from aws_cdk import App, Tags
from aws_cdk import aws_lambda as lambda_

from stacks.environments import Environment
from stacks.observability import ObservabilityStack
from stacks.pipeline import PipelineStack
from stacks.search import SearchStack


def add_stacks(app: App, *, environment: Environment, code: lambda_.Code) -> None:
    """Add the environment's stacks, deployed with whatever account and Region the caller has."""
    prefix = f"cdc-{environment.name}"
    search = None
    if environment.search_url is None and environment.search_cluster is not None:
        search = SearchStack(
            app, f"{prefix}-search", environment=environment, cluster=environment.search_cluster
        )
    pipeline = PipelineStack(
        app,
        f"{prefix}-pipeline",
        environment=environment,
        code=code,
        search=search.target if search else None,
    )
    ObservabilityStack(
        app,
        f"{prefix}-observability",
        environment=environment,
        processors=pipeline.processors,
        domain=search.domain if search else None,
    )
    Tags.of(app).add("application", "cdc")
    Tags.of(app).add("environment", environment.name)
