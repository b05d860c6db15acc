"""The output `Manifest` has every table, processor and bucket, and the names that `cdc` reads."""

import pytest

from dynamodb_streams_cdc.operations.manifest import Manifest
from lambdas.example_domain import TABLES as EXAMPLE
from tests.factories import customer, order
from tests.infrastructure.templates import Assembly, environment_of, flat, of_type, processors


@pytest.fixture(params=["sandbox", "production", "local"])
def assembly(request: pytest.FixtureRequest) -> Assembly:
    found: Assembly = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def manifest(assembly: Assembly) -> Manifest:
    outputs = assembly.pipeline["Outputs"]
    return Manifest.of("stack", {name: flat(each["Value"]) for name, each in outputs.items()})


def test_every_table_is_in_it(assembly: Assembly, manifest: Manifest) -> None:
    tables = of_type(assembly.pipeline, "AWS::DynamoDB::GlobalTable")
    found = [each.table for each in manifest.source_tables] + list(manifest.tables.values())
    assert sorted(found) == sorted(tables)
    for each in manifest.source_tables:
        schema = tables[each.table]["Properties"]["KeySchema"]
        assert list(each.keys) == [key["AttributeName"] for key in schema]
        assert each.stream == f"{each.table}.StreamArn"


def test_every_bucket_is_in_it(assembly: Assembly, manifest: Manifest) -> None:
    buckets = of_type(assembly.pipeline, "AWS::S3::Bucket")
    assert sorted(manifest.buckets.values()) == sorted(buckets)


def test_processors_are_those_of_their_functions(assembly: Assembly, manifest: Manifest) -> None:
    functions = processors(assembly.pipeline)
    assert {each.name for each in manifest.processors} == functions.keys()
    for each in manifest.processors:
        assert assembly.pipeline["Resources"][each.function] == functions[each.name]
        settings = environment_of(functions[each.name])
        assert (each.source_table, each.feed) == (settings["SOURCE_TABLE"], settings["FEED"])
        assert settings["DEAD_LETTER_BUCKET"] == manifest.bucket("dead_letters")
        assert each.dead_letter_queue in of_type(assembly.pipeline, "AWS::SQS::Queue")
        mapping = of_type(assembly.pipeline, "AWS::Lambda::EventSourceMapping")[each.mapping]
        assert flat(mapping["Properties"]["FunctionName"]) == each.function


def test_entities_are_told_apart_by_their_keys(manifest: Manifest) -> None:
    [declared] = EXAMPLE
    [deployed] = manifest.source_tables
    for state in (order(), customer()):
        entity = declared.entity_of(state)
        assert entity is not None
        assert deployed.entity_of(state) == entity.name


def test_it_is_not_exported(assembly: Assembly) -> None:
    """An exported value has at most 1,024 characters; see stacks/manifest.py."""
    assert "Export" not in assembly.pipeline["Outputs"]["Manifest"]
