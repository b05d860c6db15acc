import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dynamodb_streams_cdc.entities import Table
from lambdas.example_domain import TABLES as EXAMPLE
from stacks import environments
from tests.infrastructure.templates import Assembly
from tests.lambdas.conftest import with_notifications
from tools.example_context import CONTEXT
from tools.permissions import EVERYTHING as EVERYTHING

ROOT = Path(__file__).parents[2]
Synthesise = Callable[..., Assembly]
KEY = EVERYTHING["kms_key_arn"]
SUBNETS = tuple(EVERYTHING["subnet_ids"].split(", "))
ORDERS = "arn:aws:dynamodb:us-east-1:111122223333:table/Orders"
STREAM = f"{ORDERS}/stream/2026-01-01T00:00:00.000"
GLOBAL_TABLE = json.dumps({"orders": {"arn": ORDERS, "stream_arn": STREAM, "global_table": True}})


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for the package: templates must not depend on what has been built."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "stand_in.py").touch()
    return folder


@pytest.fixture(scope="session")
def synthesise(code: Path, tmp_path_factory: pytest.TempPathFactory) -> Synthesise:
    def synthesise(
        *, nag: bool = False, tables: Sequence[Table] = EXAMPLE, **settings: str
    ) -> Assembly:
        from aws_cdk import App

        from stacks.acknowledgments import check_best_practices
        from stacks.application import add_stacks

        outdir = tmp_path_factory.mktemp("cdk.out")
        context = {**CONTEXT, **settings}
        # As each takes seconds, CloudFormation's rules are checked where those of cdk-nag are.
        app = App(context=context, outdir=str(outdir), builtin_cloud_formation_validation=nag)
        environment = environments.load(app.node.get_all_context())
        add_stacks(app, environment=environment, tables=tables, package=code)
        if nag:
            check_best_practices(app, environment)
        app.synth()
        templates = {
            path.name.split(".")[0].removeprefix(f"{environment.stack_prefix}-"): json.loads(
                path.read_text()
            )
            for path in sorted(outdir.glob("*.template.json"))
        }
        return Assembly(outdir, templates)

    return synthesise


@pytest.fixture(scope="session")
def sandbox(synthesise: Synthesise) -> Assembly:
    return synthesise(environment="sandbox")


@pytest.fixture(scope="session")
def notifying(synthesise: Synthesise) -> Assembly:
    """Production in which orders have the further sink `notifications`."""
    return synthesise(
        nag=True,
        environment="production",
        alarm_email="on-call@example.com",
        tables=with_notifications(),
    )


@pytest.fixture(scope="session")
def production(synthesise: Synthesise) -> Assembly:
    return synthesise(environment="production", alarm_email="on-call@example.com")


@pytest.fixture(scope="session")
def everything(synthesise: Synthesise) -> Assembly:
    return synthesise(**EVERYTHING)


@pytest.fixture(scope="session")
def local(synthesise: Synthesise) -> Assembly:
    return synthesise(environment="local", search_url="http://127.0.0.1:9250")
