"""A table that exists is read and left alone; several tables of an app do not collide."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from dynamodb_streams_cdc.entities import DeclarationError, Entity, Index, Table, exactly
from stacks.errors import SynthError
from stacks.pipeline import source_id
from stacks.sinks import SINKS
from tests.infrastructure.conftest import Synthesise
from tests.infrastructure.deployment import REGION, Deployment, context_of
from tests.infrastructure.policies import ACCOUNT, Request
from tests.infrastructure.templates import (
    Assembly,
    Resource,
    Template,
    environment_of,
    flat,
    of_type,
    only,
    processors,
    statements,
)
from tests.infrastructure.test_environments import PHYSICAL_NAMES

TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/Shop"
STREAM = f"{TABLE}/stream/2026-01-01T00:00:00.000"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd"
MAPPING = "AWS::Lambda::EventSourceMapping"
ALARM = "AWS::CloudWatch::Alarm"


def existing(**others: Any) -> str:
    return json.dumps({"orders": {"arn": TABLE, "stream_arn": STREAM, **others}})


@pytest.fixture(scope="module")
def plain(synthesise: Synthesise) -> Assembly:
    """A table of another program, with a reader of its own, under AWS's key."""
    return synthesise(environment="sandbox", source_tables=existing(readers=1))


@pytest.fixture(scope="module")
def encrypted(synthesise: Synthesise) -> Assembly:
    """A table of the same team, under a key of the customer, with the canary."""
    settings = existing(key_arn=KEY, canary=True)
    return synthesise(environment="sandbox", source_tables=settings)


class TestExisting:
    def test_the_template_has_no_resource_of_the_table(self, plain: Assembly) -> None:
        for name, resource in plain.pipeline["Resources"].items():
            assert not resource["Type"].startswith(("Custom::", "AWS::CloudFormation::")), name
        tables = of_type(plain.pipeline, "AWS::DynamoDB::GlobalTable")
        kinds = {name.removesuffix("Table")[:5] for name in tables}
        assert kinds == {"Chang", "Idemp", "Aggre"}
        allowed = {(a, r) for _, a, r in statements(plain.pipeline) if r.startswith(TABLE)}
        assert allowed == {
            *((f"dynamodb:{action}", TABLE) for action in ("GetItem", "BatchGetItem", "Scan")),
            *((f"dynamodb:{action}", STREAM) for action in ("DescribeStream", "GetRecords")),
            *((f"dynamodb:{action}", STREAM) for action in ("GetShardIterator", "ListStreams")),
        }

    def test_no_function_may_write_into_it(self, plain: Assembly) -> None:
        deployment = Deployment(plain)
        for role in deployment.roles():
            for action in ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "UpdateTable"):
                key = {"dynamodb:leadingkeys": "cdc-canary"}
                request = Request(role, f"dynamodb:{action}", TABLE, key)
                assert not deployment.decide(request).allowed, (role, action)

    def test_the_manifest_names_it(self, plain: Assembly) -> None:
        (table,) = json.loads(flat(plain.pipeline["Outputs"]["Manifest"]["Value"]))["source_tables"]
        assert (table["name"], table["table"], table["stream"]) == ("orders", "Shop", STREAM)

    def test_one_reader_of_another_program_leaves_one_place(self, plain: Assembly) -> None:
        sources = {
            name.partition("Mapping")[0]: flat(mapping["Properties"]["EventSourceArn"])
            for name, mapping in of_type(plain.pipeline, MAPPING).items()
        }
        assert sources.pop("Audit") == STREAM
        assert {source.endswith("StreamArn") for source in sources.values()} == {True}
        assert Counter(sources.values()).most_common()[0][1] == 2

    def test_readers_of_the_log_read_its_large_images(self, plain: Assembly) -> None:
        functions = processors(plain.pipeline)
        for processor in ("aggregation", "search"):
            variables = environment_of(functions[processor])
            assert variables["FEED"] == "change-log"
            role = flat(functions[processor]["Properties"]["Role"]).removesuffix(".Arn")
            bucket = variables["LARGE_IMAGES_BUCKET"]
            assert any(
                (who, action) == (role, "s3:GetObject") and resource.startswith(f"{bucket}.Arn")
                for who, action, resource in statements(plain.pipeline)
            )

    def test_without_canary_no_alarm_waits_for_it(
        self, plain: Assembly, encrypted: Assembly
    ) -> None:
        watcher = only(plain.pipeline, "AWS::Lambda::Function", "Watcher")
        assert not {"SOURCE_TABLE_NAME", "SOURCE_TABLE_KEYS"} & environment_of(watcher).keys()
        assert not [name for name in of_type(plain.pipeline, ALARM) if "CanaryMissing" in name]
        with_canary = of_type(encrypted.pipeline, ALARM)
        assert len([name for name in with_canary if "CanaryMissing" in name]) == 3

    def test_without_canary_writes_prove_no_stream_record(
        self, plain: Assembly, encrypted: Assembly
    ) -> None:
        """A put that changes nothing consumes write units: only the log's writes are counted."""
        for assembly, others in ((plain, {"Aggregation", "Search"}), (encrypted, {"Audit"})):
            names = [name for name in of_type(assembly.pipeline, ALARM) if "NotPolled" in name]
            found = {name.partition("Observability")[2].partition("NotPolled")[0] for name in names}
            assert found == {"Aggregation", "Search"} | others

    def test_a_customer_s_key_can_be_used(self, encrypted: Assembly, plain: Assembly) -> None:
        """Reading the table or its stream takes Decrypt; the canary's PutItem takes the others."""
        deployment = Deployment(encrypted)
        functions = processors(encrypted.pipeline)
        for function in functions.values():
            role = deployment.value("pipeline", function["Properties"]["Role"])
            assert _may(deployment, role, "kms:Decrypt", "kms:DescribeKey")
            assert not _may(deployment, role, "kms:Encrypt")
        watcher = only(encrypted.pipeline, "AWS::Lambda::Function", "Watcher")["Properties"]
        role = deployment.value("pipeline", watcher["Role"])
        assert _may(deployment, role, "kms:Decrypt", "kms:GenerateDataKey", "kms:Encrypt")
        canary = {**context_of("dynamodb:PutItem"), "dynamodb:leadingkeys": "cdc-canary"}
        assert deployment.decide(Request(role, "dynamodb:PutItem", TABLE, canary)).allowed
        operator = json.dumps(deployment.managed_policy())
        assert KEY in operator
        assert "kms:" not in json.dumps(plain.pipeline)

    @pytest.mark.parametrize(
        ("variable", "value", "says"),
        [
            ("CDK_DEFAULT_REGION", "eu-west-1", f"in Region {REGION}, and this deployment is for"),
            ("CDK_DEFAULT_ACCOUNT", "444455556666", f"account {ACCOUNT}, and this deployment is"),
        ],
    )
    def test_a_table_elsewhere(
        self,
        synthesise: Synthesise,
        monkeypatch: pytest.MonkeyPatch,
        variable: str,
        value: str,
        says: str,
    ) -> None:
        monkeypatch.setenv(variable, value)
        with pytest.raises(SynthError, match=says):
            synthesise(environment="sandbox", source_tables=existing())

    def test_both_readers_taken_stops_synth(self, synthesise: Synthesise) -> None:
        with pytest.raises(SynthError, match="audit must read its stream, which serves 0 of this"):
            synthesise(environment="sandbox", source_tables=existing(readers=2))

    def test_a_canary_needs_a_text_key(self, synthesise: Synthesise) -> None:
        numbers = Table("orders", keys={"id": "N"}, entities=(Entity("order"),))
        with pytest.raises(SynthError, match="whose partition key is not text"):
            synthesise(
                environment="sandbox", tables=(numbers,), source_tables=existing(canary=True)
            )


def _may(deployment: Deployment, role: str, *actions: str) -> bool:
    return all(deployment.decide(Request(role, action, KEY)).allowed for action in actions)


def _sums(image: Mapping[str, Any]) -> dict[str, Any]:
    return {}


def team(name: str) -> tuple[Table, ...]:
    """Return two tables of two entities each; the first without sums, the second without audit."""
    first, second = (Index(name=f"{name}-{each}") for each in ("users", "invoices"))
    return (
        Table(
            f"{name}-users",
            keys={"pk": "S", "sk": "S"},
            entities=(
                Entity("user", keys={"sk": exactly("USER")}, document=dict, index=first),
                Entity("seat", keys={"sk": exactly("SEAT")}),
            ),
            stack="pipeline-users",
        ),
        Table(
            f"{name}-invoices",
            keys={"id": "N"},
            entities=(
                Entity("invoice", contributions=_sums, document=dict, index=second, audited=False),
            ),
            stack="pipeline-invoices",
        ),
    )


SETTINGS: Mapping[str, Mapping[str, str]] = {
    "sandbox": {"search_url": "https://search-shared-abcdefghij.eu-west-1.es.amazonaws.com"},
    "production": {
        "search_url": "https://search-shared-abcdefghij.eu-west-1.es.amazonaws.com",
        "alarms": "none",
    },
    "local": {"search_url": "http://127.0.0.1:9250"},
}


@pytest.fixture(scope="module")
def teams(synthesise: Synthesise) -> dict[tuple[str, str], Template]:
    """Return the templates of two teams in three environments by environment, stack and team."""
    return {
        (f"{name}-{environment}", stack): template
        for name in ("blue", "green")
        for environment, settings in SETTINGS.items()
        for stack, template in synthesise(
            environment=environment,
            nag=environment == "sandbox",
            tables=team(name),
            index_prefix=f"{environment}-",
            **settings,
        ).templates.items()
    }


class TestSeveral:
    """Environments of one account; the second team has an account, or a prefix, of its own."""

    def test_a_stack_per_table(self, teams: Mapping[tuple[str, str], Template]) -> None:
        assert {stack for _, stack in teams} == {"pipeline-users", "pipeline-invoices"}
        assert len(teams) == 2 * 3 * 2
        for (_, stack), template in teams.items():
            other = "audit" if stack == "pipeline-users" else "aggregation"
            assert processors(template).keys() == {other, "search"}

    def test_a_setting_of_a_processor_of_one_table(self, synthesise: Synthesise) -> None:
        made = synthesise(
            environment="local",
            tables=team("blue"),
            **SETTINGS["local"],
            **{"batch_size.audit": "50"},
        )
        sizes = {
            mapping["Properties"]["BatchSize"]
            for template in made.templates.values()
            for mapping in of_type(template, MAPPING).values()
        }
        assert sizes == {50, 100}
        with pytest.raises(SynthError, match="Unknown processor 'adit'"):
            synthesise(
                environment="local",
                tables=team("blue"),
                **SETTINGS["local"],
                **{"batch_size.adit": "50"},
            )

    def test_no_physical_name_and_no_export(
        self, teams: Mapping[tuple[str, str], Template]
    ) -> None:
        for template in teams.values():
            for resource in template["Resources"].values():
                named = PHYSICAL_NAMES.get(resource["Type"])
                assert named is None or named not in resource["Properties"]
            assert not [o for o in template["Outputs"].values() if "Export" in o]

    def test_metrics_have_dimensions_of_their_own(
        self, teams: Mapping[tuple[str, str], Template]
    ) -> None:
        """Dimensions of the functions are those of the alarms, and of no other stack's."""
        published: list[tuple[str, str]] = []
        for (deployment, stack), template in teams.items():
            if not deployment.startswith("blue"):
                continue
            environment = deployment.partition("-")[2]
            functions = processors(template)
            mine = {(environment_of(f)["PIPELINE"], name) for name, f in functions.items()}
            assert {pipeline for pipeline, _ in mine} == {f"cdc-{environment}-{stack}"}
            watched = {each for each in _dimensions(template) if each[1] != "retired"}
            assert watched <= mine
            published += mine
        assert len(set(published)) == len(published) == 3 * 4

    def test_saved_queries_have_names_of_their_own(
        self, teams: Mapping[tuple[str, str], Template]
    ) -> None:
        names = [
            query["Properties"]["Name"]
            for (deployment, _), template in teams.items()
            if deployment in ("blue-sandbox", "blue-production")
            for query in of_type(template, "AWS::Logs::QueryDefinition").values()
        ]
        assert len(set(names)) == len(names)

    def test_no_index_is_of_two(self, teams: Mapping[tuple[str, str], Template]) -> None:
        indexes = Counter(
            index
            for template in teams.values()
            for index in json.loads(flat(template["Outputs"]["Manifest"]["Value"]))["search"][
                "indexes"
            ]
        )
        assert len(indexes) == 2 * 3 * 2
        assert set(indexes.values()) == {1}

    def test_each_manifest_names_all_pipelines(
        self, teams: Mapping[tuple[str, str], Template]
    ) -> None:
        for (deployment, _), template in teams.items():
            environment = deployment.partition("-")[2]
            manifest = json.loads(flat(template["Outputs"]["Manifest"]["Value"]))
            assert manifest["pipelines"] == [
                f"cdc-{environment}-pipeline-users",
                f"cdc-{environment}-pipeline-invoices",
            ]

    def test_a_table_with_number_keys_has_no_canary(
        self, teams: Mapping[tuple[str, str], Template]
    ) -> None:
        template = teams["blue-sandbox", "pipeline-invoices"]
        watcher = only(template, "AWS::Lambda::Function", "Watcher")
        assert "SOURCE_TABLE_NAME" not in environment_of(watcher)
        actions = {action for _, action, _ in statements(template)}
        assert "dynamodb:PutItem" not in {a for w, a, _ in statements(template) if "Watcher" in w}
        assert "dynamodb:GetRecords" in actions


def _dimensions(template: Template) -> Iterator[tuple[str, str]]:
    for alarm in of_type(template, ALARM).values():
        for metric in _metrics(alarm["Properties"]):
            named = {each["Name"]: flat(each["Value"]) for each in metric.get("Dimensions", ())}
            if "Processor" in named:
                yield named["Pipeline"], named["Processor"]


def _metrics(alarm: Resource) -> Iterator[Resource]:
    yield alarm
    for each in alarm.get("Metrics", ()):
        yield each.get("MetricStat", {}).get("Metric", {})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"stack": "pipeline-users"}, "2 tables with the stack 'pipeline-users'"),
        ({"name": "blue-users"}, "2 tables with the name 'blue-users'"),
    ],
)
def test_two_tables_alike(synthesise: Synthesise, changes: dict[str, str], says: str) -> None:
    first, _ = team("blue")
    given: dict[str, Any] = {"name": "other", "stack": "pipeline-other", **changes}
    other = Table(
        given["name"], keys={"pk": "S"}, entities=(Entity("thing"),), stack=given["stack"]
    )
    with pytest.raises(SynthError, match=says):
        synthesise(environment="local", tables=(first, other), **SETTINGS["local"])


def test_one_tuple_too_few(synthesise: Synthesise) -> None:
    table: Any = Table("things", keys={"pk": "S"}, entities=(Entity("thing"),))
    with pytest.raises(DeclarationError, match=r"\(Table\(...\),\) with a comma"):
        synthesise(environment="local", tables=table, **SETTINGS["local"])


def test_two_declarations_of_one_table(synthesise: Synthesise) -> None:
    tables = team("blue")
    given = {table.name: {"arn": TABLE, "stream_arn": STREAM} for table in tables}
    with pytest.raises(SynthError, match="for blue-users and blue-invoices, whose processors"):
        synthesise(
            environment="local",
            tables=tables,
            source_tables=json.dumps(given),
            **SETTINGS["local"],
        )


class TestIds:
    """A table may have any name: its id is that of no other construct of its stack."""

    def test_every_other_id_is_known(self, everything: Assembly, notifying: Assembly) -> None:
        for assembly in (everything, notifying):
            tree = json.loads((assembly.folder / "tree.json").read_text())["tree"]["children"]
            ids = tree["cdc-production-pipeline"]["children"].keys() - {"Orders", "OrdersTableName"}
            free = {id for id in ids if source_id(id) == id}
            assert free == set(), "name them in stacks.pipeline.TAKEN"
            assert {"Key", "Boundary"} <= ids or "NotificationsTopic" in ids

    @pytest.mark.parametrize(
        ("name", "id"),
        [
            ("orders", "Orders"),
            ("order_items.v2", "OrderItemsV2"),
            ("audit", "SourceAudit"),
            ("search-endpoint", "SourceSearchEndpoint"),
            ("change-log", "SourceChangeLog"),
            ("key", "SourceKey"),
            ("_", "Source"),
        ],
    )
    def test_a_taken_id_gets_a_prefix(self, name: str, id: str) -> None:
        assert source_id(name) == id

    def test_a_table_named_like_a_sink(self, synthesise: Synthesise) -> None:
        table = Table("search", keys={"pk": "S"}, entities=(Entity("thing"),))
        made = synthesise(environment="sandbox", tables=(table,))
        assert "SourceSearchTableName" in made.pipeline["Outputs"]
        assert list(processors(made.pipeline)) == ["audit"]

    def test_a_sink_named_like_a_part_of_the_stack(
        self, synthesise: Synthesise, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(
            SINKS, "watcher", lambda pipeline: pipeline.add_processor("watcher", {})
        )
        table = Table("things", {"pk": "S"}, [Entity("thing", sinks={"watcher": dict})])
        with pytest.raises(SynthError, match="every stack has 'Watcher' already: name the sink"):
            synthesise(environment="sandbox", tables=(table,))

    @pytest.mark.parametrize(
        ("name", "sentence"),
        [
            ("web-hook", "there is no lambdas/web_hook/handler.py, its function: add it"),
            ("webhook", "add_processor has the name 'webhook': give it the sink's name in SINKS"),
        ],
    )
    def test_a_sink_that_no_function_is_of(
        self, synthesise: Synthesise, monkeypatch: pytest.MonkeyPatch, name: str, sentence: str
    ) -> None:
        monkeypatch.setitem(SINKS, "web-hook", lambda pipeline: pipeline.add_processor(name, {}))
        table = Table("things", {"pk": "S"}, [Entity("thing", sinks={"web-hook": dict})])
        with pytest.raises(SynthError, match=sentence):
            synthesise(environment="sandbox", tables=(table,))

    def test_a_long_name(self, synthesise: Synthesise) -> None:
        table = Table("a" * 255, keys={"pk": "S"}, entities=(Entity("thing"),))
        made = synthesise(environment="sandbox", tables=(table,))
        function = processors(made.pipeline)["audit"]
        assert len(function["Properties"]["Description"]) == 256
