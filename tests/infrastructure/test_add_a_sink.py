"""docs/how-to/add-a-sink.md, followed in a copy of the repository: all of it knows the new sink.

The copy is a fork: lambdas/domain has a declaration of its own, which is that of the example.
"""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dynamodb_streams_cdc import Image, Processor
from tests.cli.conftest import Cloud, aws, cloud  # noqa: F401 - fixtures
from tests.cli.test_repair import LOG
from tests.contracts.sql import SCHEMA, Database
from tests.factories import SOURCE, FakeContext
from tests.fake_pipeline import ARNS, POISON, FakePipeline, item, placed
from tests.infrastructure.deployment import Deployment
from tests.infrastructure.templates import Assembly, allowed, of_type, only
from tests.lambdas.conftest import create_table
from tests.schedules import long

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "add-a-sink.md"
COPIED = (
    *("lambdas", "stacks", "src", "local", "tools", "tests", "docs"),
    *("cdk.json", "pyproject.toml", "Makefile"),
)
OWN = "lambdas/sql/"
DOMAIN, EXAMPLE = (f"lambdas/{name}/__init__.py" for name in ("domain", "example_domain"))
LOCKED = "lambdas/requirements.txt"
"""What `make lock` writes; no test asks the package index."""
FENCE = r"\n```\w+\n(.*?)^```$"
STEP = re.compile(
    rf"^<!-- (file|below|instead): (\S+)(?: ([^\n]+))? -->{FENCE}", re.MULTILINE | re.DOTALL
)
pytestmark = [
    long,
    pytest.mark.skipif(
        (ROOT / OWN).exists(),
        reason="lambdas/sql exists: the page was followed in this repository",
    ),
]
SYNTHESISE = """\
import importlib, json, pathlib, sys
from aws_cdk import App
from lambdas.domain import TABLES
from stacks import environments
from stacks.acknowledgments import check_best_practices
from stacks.application import add_stacks
from tools import settings_page

code = pathlib.Path("code")
code.mkdir()
(code / "stand_in.py").touch()
context = json.loads(pathlib.Path("cdk.json").read_text())["context"]
app = App(context={**context, "environment": "sandbox"}, outdir="cdk.out")
environment = environments.load(app.node.get_all_context())
add_stacks(app, environment=environment, tables=TABLES, package=code)
check_best_practices(app, environment)
app.synth()
resources = json.loads(pathlib.Path("cdk.out/cdc-sandbox-pipeline.template.json").read_text())
[variables] = [
    {name: value if isinstance(value, str) else "a name" for name, value in found.items()}
    for each in resources["Resources"].values()
    if each["Type"] == "AWS::Lambda::Function"
    and (found := each["Properties"]["Environment"]["Variables"]).get("PROCESSOR") == "sql"
]
handler = importlib.import_module("lambdas.sql.handler")
settings = handler.SqlSettings.load(variables)
assert callable(handler.handler)
assert {name.upper() for name in type(settings).model_fields} == set(variables)
assert "`SQL_HOST`" in settings_page.page()
"""


@dataclass(frozen=True)
class Followed:
    """The copy, after the steps of the page; `changed` files are new, or differ."""

    root: Path
    changed: set[str]
    assembly: Assembly


def run(root: Path, *command: str) -> None:
    """Run a command in the copy, with the copy's packages."""
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(root)}
    # A pipe would stay open for as long as a process that the command started.
    output = root.parent / "output.txt"
    with output.open("w") as file:
        done = subprocess.run(
            command,
            cwd=root,
            env={**environment, "PYTHONPATH": f"{root}:{root / 'src'}"},
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    assert done.returncode == 0, output.read_text()


def follow(root: Path) -> None:
    """Do what the page says: run the first commands, write its files, add its lines."""
    page = PAGE.read_text()
    commands = re.search(rf"{FENCE}", page[page.index("```sh") - 1 :], re.MULTILINE | re.DOTALL)
    assert commands is not None
    run(root, "sh", "-ec", commands[1])
    for kind, name, mark, text in STEP.findall(page):
        path = root / name
        if kind == "file":
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            continue
        lines = path.read_text().splitlines(keepends=True)
        [at] = [number for number, line in enumerate(lines) if mark in line]
        lines[at : at + 1] = [text] if kind == "instead" else [lines[at], text]
        path.write_text("".join(lines))


def differing(root: Path) -> Iterator[str]:
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        original = ROOT / name
        if path.is_file() and not (
            original.exists() and original.read_bytes() == path.read_bytes()
        ):
            yield name


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    root = tmp_path_factory.mktemp("how-to") / "copy"
    root.mkdir()
    for name in COPIED:
        original = ROOT / name
        if original.is_dir():
            shutil.copytree(original, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(original, root / name)
    shutil.copy(root / EXAMPLE, root / DOMAIN)
    follow(root)
    changed = set(differing(root)) | {LOCKED}
    run(root, "ruff", "check", "lambdas/sql", "stacks/sinks")
    run(root, sys.executable, "-B", "-c", SYNTHESISE)
    templates = {
        path.name.split(".")[0].removeprefix("cdc-sandbox-"): json.loads(path.read_text())
        for path in (root / "cdk.out").glob("*.template.json")
    }
    return Followed(root, changed, Assembly(root, templates))


def test_at_most_five_files_change_outside_the_folder(followed: Followed) -> None:
    outside = {name for name in followed.changed if not name.startswith(OWN)}
    assert len(outside) <= 5, sorted(outside)
    assert {name.removeprefix(OWN) for name in followed.changed - outside} == {
        "__init__.py",
        "handler.py",
        "settings.py",
        "sink.py",
    }


def test_the_fork_s_own_tests_stay_green(followed: Followed) -> None:
    """Those that see the list of sinks, or follow the page themselves."""
    tests = ("test_add_a_sink.py", "test_pipeline.py::TestReaders", "test_runbook.py")
    paths = [f"tests/infrastructure/{name}" for name in tests]
    run(followed.root, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths)


def test_the_manifest_names_the_processor(followed: Followed) -> None:
    found = manifest(followed)["processors"]
    assert [each["name"] for each in found] == ["aggregation", "audit", "search", "sql"]
    sql = found[-1]
    assert (sql["sink"], sql["feed"], sql["source_table"]) == ("sql", "change-log", "orders")


def test_it_has_the_alarms_of_every_processor(followed: Followed) -> None:
    alarms = of_type(followed.assembly.pipeline, "AWS::CloudWatch::Alarm")

    def of(processor: str) -> set[str]:
        begin = f"Observability{processor}"
        return {
            re.sub(r"[0-9A-F]{8}$", "", name.removeprefix(begin))
            for name in alarms
            if name.startswith(begin)
        }

    assert of("Sql") == of("Aggregation")
    assert "IteratorAgeHigh" in of("Sql")


def test_the_dashboard_and_the_queries_show_it(followed: Followed) -> None:
    template = followed.assembly.pipeline
    dashboard = json.dumps(only(template, "AWS::CloudWatch::Dashboard"))
    for graph in ("behind by", "changes", "invocations", "dead letters"):
        assert f"sql: {graph}" in dashboard
    for query in of_type(template, "AWS::Logs::QueryDefinition").values():
        assert "SqlLogs" in json.dumps(query["Properties"]["LogGroupNames"])


def test_the_watcher_counts_its_dead_letters(followed: Followed) -> None:
    watcher = only(followed.assembly.pipeline, "AWS::Lambda::Function", "Watcher")
    assert "dead-letters/sql/" in json.dumps(watcher["Properties"]["Environment"])


def test_operators_may_invoke_it_and_read_its_queue(followed: Followed) -> None:
    policy = json.dumps(Deployment(followed.assembly).managed_policy())
    for logical_id in ("SqlFunction", "SqlDeadLettersQueue"):
        assert logical_id in policy


def test_it_may_connect_as_one_user(followed: Followed) -> None:
    [user] = [
        resource
        for action, resource in allowed(followed.assembly.pipeline, "sql")
        if action == "rds-db:connect"
    ]
    assert user.endswith(":dbuser:cluster-ABCDEFGHIJKL01234/cdc")


# The command line


@dataclass
class SqlPipeline(FakePipeline):
    """The function of the SQL sink, on SQLite; the other functions have nothing to repair."""

    database: Database = field(kw_only=True)

    def processor(self, name: str) -> Processor:
        assert name == "sql"
        return Processor(
            name,
            SOURCE,
            self.database.sink(row_of),
            self.store,
            permanent=(ValueError,),
            clock=self.clock,
            source_table=self.table,
        )

    def context(self, processor: str) -> FakeContext:
        return FakeContext(self.clock, invoked_function_arn=ARNS["search"])


def row_of(order: Image) -> dict[str, Any]:
    if order["status"] == POISON:
        message = "poison has no row"
        raise ValueError(message)
    return {"status": order["status"], "total": str(order["total"])}


def manifest(followed: Followed) -> dict[str, Any]:
    output = followed.assembly.pipeline["Outputs"]["Manifest"]["Value"]
    found: dict[str, Any] = json.loads(Deployment(followed.assembly).value("pipeline", output))
    return found


@pytest.fixture
def deployed(cloud: Cloud, followed: Followed, tmp_path: Path) -> Cloud:  # noqa: F811
    """The stack of the copy, with the queues, buckets and table that moto has."""
    made = manifest(followed)
    made |= {name: cloud.manifest[name] for name in ("buckets", "tables")}
    made["source_tables"][0]["table"] = "orders-1A2B"
    for each in made["processors"]:
        queue = cloud.client("sqs").create_queue(QueueName=each["name"])
        each["dead_letter_queue"] = queue["QueueUrl"]
    cloud.manifest = made
    database = Database(sqlite3, partial(sqlite3.connect, tmp_path / "copies.db"))
    database.run(SCHEMA.format(collation=""))
    others = dict.fromkeys(("aggregation", "audit", "search"), LOG)
    cloud.pipeline = SqlPipeline(database=database, answers=others)
    cloud.pipeline.write(1, POISON)
    cloud.pipeline.deliver(placed(1, 1, POISON), placed(2, 2, "placed"), processor="sql")
    cloud.post()
    return cloud


def database_of(deployed: Cloud) -> Database:
    assert isinstance(deployed.pipeline, SqlPipeline)
    return deployed.pipeline.database


def test_cdc_lists_and_redrives_its_dead_letters(deployed: Cloud) -> None:
    listed = deployed.run("dead-letters", "list", "--json")
    [dead_letter] = json.loads(listed.stdout)["dead_letters"]
    assert dead_letter["processor"] == "sql"
    shown = deployed.run("dead-letters", "show", dead_letter["id"])
    assert shown.exit_code == 0, shown.output

    deployed.pipeline.write(1, "placed")
    done = deployed.run("redrive", "--yes", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["archived"] == 1
    assert deployed.remaining("sql") == []
    assert set(database_of(deployed).shown()) == {item(1), item(2)}


def test_cdc_repairs_its_rows(deployed: Cloud) -> None:
    keys = [("customer_id", "S"), ("order_id", "S")]
    create_table(deployed.client("dynamodb"), "orders-1A2B", keys, view="NEW_AND_OLD_IMAGES")
    deployed.pipeline.write(2, "shipped")
    _, customer, order = item(2).replace("S=", "").split("/")
    done = deployed.run("repair", f"customer_id={customer}", f"order_id={order}")
    assert done.exit_code == 0, done.output
    assert "copies repaired: 1 of sql." in done.output
    assert database_of(deployed).shown()[item(2)][0] == "shipped"
