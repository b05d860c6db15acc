"""What the templates promise the functions is what the functions ask for."""

import itertools
from importlib import import_module

import pytest

from lambdas.erasure.settings import ErasureSettings
from lambdas.maintenance.settings import MaintenanceSettings
from lambdas.settings import Settings
from lambdas.watcher.settings import WatcherSettings
from tests.infrastructure.templates import Assembly, environment_of, only, processors


@pytest.mark.parametrize(
    ("environment", "processor"),
    [
        *itertools.product(["sandbox", "production", "local"], ["aggregation", "audit", "search"]),
        ("notifying", "notifications"),
    ],
)
def test_a_function_finds_its_handler_and_its_settings(
    environment: str, processor: str, request: pytest.FixtureRequest
) -> None:
    assembly: Assembly = request.getfixturevalue(environment)
    function = processors(assembly.pipeline)[processor]
    module, _, name = function["Properties"]["Handler"].rpartition(".")
    variables = environment_of(function)

    assert callable(getattr(import_module(module), name))
    model = _settings_of(module)
    settings = model.load(variables)

    assert settings.processor == processor
    assert {field.upper() for field in model.model_fields} == set(variables), "one is never read"


@pytest.mark.parametrize("environment", ["sandbox", "production", "local"])
def test_the_watcher_finds_its_handler_and_its_settings(
    environment: str, request: pytest.FixtureRequest
) -> None:
    assembly: Assembly = request.getfixturevalue(environment)
    function = only(assembly.pipeline, "AWS::Lambda::Function", "Watcher")
    module, _, name = function["Properties"]["Handler"].rpartition(".")
    variables = environment_of(function)

    assert callable(getattr(import_module(module), name))
    settings = WatcherSettings.load(variables)

    assert settings.source_table_keys == {"customer_id": "S", "order_id": "S"}
    assert set(settings.dead_letters) == set(processors(assembly.pipeline))
    assert {field.upper() for field in WatcherSettings.model_fields} == set(variables)


@pytest.mark.parametrize("environment", ["sandbox", "production", "local", "notifying"])
def test_the_erasure_finds_its_handler_and_its_settings(
    environment: str, request: pytest.FixtureRequest
) -> None:
    assembly: Assembly = request.getfixturevalue(environment)
    function = only(assembly.pipeline, "AWS::Lambda::Function", "Erasure")
    module, _, name = function["Properties"]["Handler"].rpartition(".")
    variables = environment_of(function)

    assert callable(getattr(import_module(module), name))
    settings = ErasureSettings.load(variables)

    assert settings.source_table == "orders"
    assert settings.search_indexes[0].endswith("orders")
    assert list(settings.own_sinks) == (["notifications"] if environment == "notifying" else [])
    assert {field.upper() for field in ErasureSettings.model_fields} == set(variables)


@pytest.mark.parametrize("environment", ["sandbox", "production"])
def test_the_maintenance_finds_its_handler_and_its_settings(
    environment: str, request: pytest.FixtureRequest
) -> None:
    assembly: Assembly = request.getfixturevalue(environment)
    function = only(assembly.pipeline, "AWS::Lambda::Function", "Maintenance")
    module, _, name = function["Properties"]["Handler"].rpartition(".")
    variables = environment_of(function)

    assert callable(getattr(import_module(module), name))
    settings = MaintenanceSettings.load(variables)

    deployed = processors(assembly.pipeline)
    assert {sink for _, sink in settings.processors.values()} == set(deployed)
    assert {assembly.pipeline["Resources"][f]["Type"] for f, _ in settings.processors.values()} == {
        "AWS::Lambda::Function"
    }
    assert settings.verify_share == 0.5
    assert {field.upper() for field in MaintenanceSettings.model_fields} == set(variables)


def test_the_emulator_gets_no_maintenance_unless_it_is_set(local: Assembly) -> None:
    names = local.pipeline["Resources"]
    assert not [name for name in names if "Maintenance" in name]


def test_the_dead_letter_prefix_is_the_one_that_the_role_allows(sandbox: Assembly) -> None:
    for processor, function in processors(sandbox.pipeline).items():
        assert environment_of(function)["DEAD_LETTER_PREFIX"] == f"dead-letters/{processor}/"


def _settings_of(handler: str) -> type[Settings]:
    module = import_module(handler.rpartition(".")[0] + ".settings")
    (model,) = {
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Settings) and value is not Settings
    }
    return model
