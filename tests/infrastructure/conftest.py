import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dynamodb_streams_cdc.entities import Table
from lambdas.example_domain import TABLES as EXAMPLE
from stacks import environments
from tests.infrastructure.templates import Assembly

ROOT = Path(__file__).parents[2]
CONTEXT: Mapping[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]

Synthesise = Callable[..., Assembly]


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
        app = App(context=context, outdir=str(outdir))
        environment = environments.load(app.node.get_all_context())
        add_stacks(app, environment=environment, tables=tables, package=code)
        if nag:
            check_best_practices(app, environment)
        app.synth()
        templates = {
            path.name.split(".")[0].removeprefix(f"cdc-{environment.name}-"): json.loads(
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
def production(synthesise: Synthesise) -> Assembly:
    return synthesise(environment="production", alarm_email="on-call@example.com")


@pytest.fixture(scope="session")
def local(synthesise: Synthesise) -> Assembly:
    return synthesise(environment="local", search_url="http://127.0.0.1:9250")
