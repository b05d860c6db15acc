"""What cdk-nag and cfn-lint have to say."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs

from dynamodb_streams_cdc.entities import Entity, Index, Table, starts_with
from stacks import environments
from stacks.acknowledgments import check_best_practices
from stacks.errors import SynthError
from stacks.findings import ACCEPTED, Accepted, readable, rows_for
from tests.infrastructure.conftest import EVERYTHING, GLOBAL_TABLE, Synthesise
from tests.infrastructure.templates import Assembly, of_type, only
from tests.schedules import long
from tools.example_context import CONTEXT

# Commercial Regions near and far, and the other two partitions that the templates support.
COMMERCIAL = ("us-east-1", "eu-west-1", "eu-central-1", "ap-southeast-2", "sa-east-1")
REGIONS = (*COMMERCIAL, "us-gov-west-1", "cn-north-1")
ARN = "arn:aws:dynamodb:us-east-1:111122223333:table/Shop"
EXISTING = {"arn": ARN, "stream_arn": f"{ARN}/stream/2026-01-01T00:00:00.000"}
DEPLOYED: Mapping[str, Mapping[str, str]] = {
    "sandbox": {"environment": "sandbox"},
    "production": {"environment": "production", "alarm_email": "on-call@example.com"},
    "production, without a recipient": {"environment": "production", "alarms": "none"},
    "existing domain": {
        "environment": "sandbox",
        "search_url": "https://search-mine-1a2b3c.eu-west-1.es.amazonaws.com",
    },
    "custom endpoint": {
        "environment": "sandbox",
        "search_url": "https://search.example.com",
        "search_domain_arn": "arn:aws:es:eu-west-1:111122223333:domain/mine",
    },
    "small production": {
        "environment": "production",
        "alarms": "none",
        "search_logs": "false",
        "search_masters": "0",
        "search_nodes": "1",
        "search_zones": "1",
    },
    "every setting": EVERYTHING,
    "global table": {"environment": "sandbox", "source_tables": GLOBAL_TABLE},
    "local": {"environment": "local", "search_url": "http://127.0.0.1:9250"},
    "existing table": {
        "environment": "local",
        "search_url": "http://127.0.0.1:9250",
        "source_tables": json.dumps({"orders": {**EXISTING, "readers": 1}}),
    },
}


@pytest.fixture(scope="session")
def nagged(synthesise: Synthesise) -> Mapping[str, Assembly]:
    """The assemblies of all environments. Synth raises on the first finding without a row."""
    return {name: synthesise(nag=True, **settings) for name, settings in DEPLOYED.items()}


def accepted(assembly: Assembly) -> Iterator[tuple[str, str, str]]:
    """Yield each (rule, path, reason) that was accepted, from the report that synth writes."""
    report = json.loads((assembly.folder / "validation-report.json").read_text())
    for pack in report["pluginReports"]:
        assert pack["violations"] == []
        for finding in pack.get("suppressedViolations", []):
            (construct,) = finding["violatingConstructs"]
            yield finding["ruleName"], construct["constructPath"], finding["reason"]


@long
@pytest.mark.parametrize("name", DEPLOYED)
def test_nag_finds_nothing_but_what_the_table_accepts(
    nagged: Mapping[str, Assembly], name: str
) -> None:
    """Each finding has one row, so that the reason which the page shows is the one that counts."""
    found = list(accepted(nagged[name]))
    assert found
    for rule, path, reason in found:
        (row,) = rows_for(rule, path, DEPLOYED[name]["environment"])
        assert row.reason == reason


@long
def test_every_row_accepts_something(nagged: Mapping[str, Assembly]) -> None:
    used = {
        row
        for name, assembly in nagged.items()
        for rule, path, _ in accepted(assembly)
        for row in rows_for(rule, path, DEPLOYED[name]["environment"])
    }
    assert [f"{row.rule} at {row.at}" for row in ACCEPTED if row not in used] == []
    assert len(set(ACCEPTED)) == len(ACCEPTED)


@long
@pytest.mark.parametrize("search_url", ["", DEPLOYED["existing domain"]["search_url"]])
def test_a_table_may_have_many_indexes(synthesise: Synthesise, search_url: str) -> None:
    """A role has its resources in several policies, each small enough for IAM."""
    settings = {"search_url": search_url} if search_url else {}
    tables = [indexed(17)]
    assembly = synthesise(nag=True, environment="sandbox", tables=tables, **settings)
    policies = of_type(assembly.pipeline, "AWS::IAM::ManagedPolicy")
    sizes = {name: size_of(each["Properties"]["PolicyDocument"]) for name, each in policies.items()}
    assert any("Overflow" in name for name in sizes)
    assert max(sizes.values()) <= 6_144, sizes


def test_more_indexes_than_a_policy_takes_are_refused(synthesise: Synthesise) -> None:
    with pytest.raises(SynthError, match="declares 40 indexes for table 'shop'"):
        synthesise(environment="sandbox", tables=[indexed(40)])


def indexed(number: int) -> Table:
    """A table with as many entities, each with an index of its own."""
    entities = [
        Entity(
            f"entity-{n:02}",
            keys={"sk": starts_with(f"E{n:02}#")},
            document=dict,
            index=Index(name=f"things-{n:02}"),
        )
        for n in range(number)
    ]
    return Table("shop", keys={"pk": "S", "sk": "S"}, entities=entities)


PSEUDO = {
    "AWS::Partition": "aws-us-gov",
    "AWS::Region": "ap-southeast-2",
    "AWS::AccountId": "111122223333",
}


def size_of(document: Mapping[str, Any]) -> int:
    """The characters of a policy in the account with the longest ARNs, as IAM counts them."""

    def told(value: Any) -> Any:
        match value:
            case {"Fn::Join": [separator, parts]}:
                return separator.join(map(told, parts))
            case {"Fn::ImportValue": _}:
                return f"arn:aws-us-gov:es:ap-southeast-2:111122223333:domain/{'x' * 28}"
            case {"Ref": str(name)} if name in PSEUDO:
                return PSEUDO[name]
            case {"Ref": _} | {"Fn::GetAtt": _}:
                return "x" * 80
            case dict():
                return {name: told(each) for name, each in value.items()}
            case list():
                return [told(each) for each in value]
        return value

    return len(json.dumps(told(document), separators=(",", ":")))


@long
def test_production_is_held_to_nist(nagged: Mapping[str, Assembly]) -> None:
    packs = {
        name: [
            pack["pluginName"]
            for pack in json.loads((assembly.folder / "validation-report.json").read_text())[
                "pluginReports"
            ]
        ]
        for name, assembly in nagged.items()
    }
    assert packs["sandbox"] == ["AwsSolutions"]
    assert packs["production"] == ["AwsSolutions", "NIST.800.53.R5"]


@pytest.mark.parametrize(
    ("environment", "rule"),
    [
        ("sandbox", "AwsSolutions-SQS4"),
        ("production", "NIST.800.53.R5-CloudWatchLogGroupEncrypted"),
    ],
)
def test_nag_would_find_something(tmp_path: Path, environment: str, rule: str) -> None:
    """Neither stack nor construct has a row, although the rule has one elsewhere."""
    app = App(outdir=str(tmp_path), builtin_cloud_formation_validation=False)
    stack = Stack(app, "cdc-production-other")
    sqs.Queue(stack, "Queue")
    logs.LogGroup(stack, "Elsewhere")
    check_best_practices(app, environments.load({"environment": environment, "alarms": "none"}))
    with pytest.raises(RuntimeError, match=rule):
        app.synth()


def test_synth_fails_on_an_invalid_property(tmp_path: Path) -> None:
    app = App(context=CONTEXT, outdir=str(tmp_path))
    queue = sqs.CfnQueue(Stack(app, "Stack"), "Queue")
    queue.add_property_override("DelaySeconds", 1_000)
    with pytest.raises(RuntimeError, match="DelaySeconds"):
        app.synth()


def test_synth_takes_an_instance_type_newer_than_the_cdk(synthesise: Synthesise) -> None:
    new = "m99g.large.search"
    made = synthesise(nag=True, environment="sandbox", search_instance_type=new)
    domain = only(made.search, "AWS::OpenSearchService::Domain")
    assert domain["Properties"]["ClusterConfig"]["InstanceType"] == new


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        # Another bucket, another prefix, all prefixes, and all objects.
        ("<LargeImagesBucket1234ABCD.Arn>/dead-letters/audit/*", "Audit/Role/DefaultPolicy"),
        ("<DeadLettersBucket1234ABCD.Arn>/archive/*", "Audit/Role/DefaultPolicy"),
        ("<DeadLettersBucket1234ABCD.Arn>/dead-letters/*", "Audit/Role/DefaultPolicy"),
        ("<DeadLettersBucket1234ABCD.Arn>/*", "Audit/Role/DefaultPolicy"),
        # A role of no function; test_pipeline.py holds that the watcher reaches no image.
        ("<LargeImagesBucket1234ABCD.Arn>/*", "Role/DefaultPolicy"),
        ("*", "Operator"),
    ],
)
def test_a_wider_wildcard_has_no_row(rule: str, path: str) -> None:
    finding = f"AwsSolutions-IAM5[Resource::{rule}]"
    assert rows_for(finding, f"cdc-sandbox-pipeline/{path}/Resource", "sandbox") == []


def test_a_row_for_one_environment_accepts_nothing_elsewhere() -> None:
    row = Accepted("R1", "search/Domain", "Small.", "sandbox")
    assert row.accepts("R1", "search/Domain", "sandbox")
    assert not row.accepts("R1", "search/Domain", "production")


def test_findings_are_named_without_hashes() -> None:
    rule = "AwsSolutions-IAM5[Resource::<DeadLettersBucket3DB126B9.Arn>/dead-letters/audit/*]"
    path = "cdc-sandbox-pipeline/Audit/Role/DefaultPolicy/Resource"
    assert readable(rule, path) == (
        "AwsSolutions-IAM5[DeadLettersBucket/dead-letters/audit/*]",
        "pipeline/Audit/Role/DefaultPolicy",
    )


def cfn_lint(
    *templates: Path, regions: Sequence[str] = REGIONS
) -> "subprocess.CompletedProcess[str]":
    # The script next to this interpreter: the package cannot be run with -m.
    script = str(Path(sys.executable).with_name("cfn-lint"))
    options = ["--non-zero-exit-code", "error", "--ignore-checks", "W", "--regions", *regions]
    return subprocess.run(
        [script, *options, "--", *map(str, templates)],
        capture_output=True,
        text=True,
        check=False,
    )


@long
def test_cloudformation_takes_the_templates_in_every_region(
    sandbox: Assembly, production: Assembly, local: Assembly, everything: Assembly
) -> None:
    """SnapStart, one of the settings of everything, is in no other partition."""
    for assemblies, regions in (
        ((sandbox, production, local), REGIONS),
        ((everything,), COMMERCIAL),
    ):
        templates = [
            path
            for assembly in assemblies
            for path in sorted(assembly.folder.glob("*.template.json"))
        ]
        lint = cfn_lint(*templates, regions=regions)
        assert lint.returncode == 0, lint.stdout + lint.stderr


@long
def test_cfn_lint_looks_at_every_region(tmp_path: Path) -> None:
    """A type that no Region has is refused once per Region."""
    domain = {
        "Type": "AWS::OpenSearchService::Domain",
        "Properties": {"ClusterConfig": {"InstanceType": "r7g.huge.search"}},
    }
    template = tmp_path / "template.json"
    template.write_text(json.dumps({"Resources": {"Domain": domain}}))
    found = cfn_lint(template).stdout
    assert [region for region in REGIONS if f"in '{region}'" not in found] == []
