"""What the templates promise the functions is what the functions ask for."""

import itertools
from importlib import import_module
from typing import Any, TypeVar

import pytest

from lambdas.domain import TABLES
from lambdas.erasure.settings import ErasureSettings
from lambdas.maintenance.settings import MaintenanceSettings
from lambdas.settings import FunctionSettings, Settings
from lambdas.watcher.settings import WatcherSettings
from tests.infrastructure.conftest import Synthesise
from tests.infrastructure.templates import Assembly, environment_of, only, processors

FUNCTION = "AWS::Lambda::Function"
Found = TypeVar("Found", bound=FunctionSettings)


def settings_of(function: Any, model: type[Found]) -> Found:
    """Return the settings that a template gives a function; each is read, and none is missing."""
    module, _, name = function["Properties"]["Handler"].rpartition(".")
    variables = environment_of(function)
    assert callable(getattr(import_module(module), name))
    assert {field.upper() for field in model.model_fields} == set(variables)
    return model.load(variables)


@pytest.mark.parametrize(
    ("environment", "processor"),
    [
        *itertools.product(["sandbox", "production", "local"], ["aggregation", "audit", "search"]),
        ("notifying", "notifications"),
    ],
)
def test_a_processor_finds_its_handler_and_its_settings(
    environment: str, processor: str, request: pytest.FixtureRequest
) -> None:
    function = processors(request.getfixturevalue(environment).pipeline)[processor]
    model = _settings_model(function["Properties"]["Handler"].rpartition(".")[0])
    assert settings_of(function, model).processor == processor


def test_processors_of_the_domain_find_their_settings(synthesise: Synthesise) -> None:
    """A fork's own sinks are among them."""
    made = synthesise(environment="sandbox", tables=TABLES)
    found = [processors(template) for name, template in made.templates.items() if "pipe" in name]
    for processor, function in (each for functions in found for each in functions.items()):
        model = _settings_model(function["Properties"]["Handler"].rpartition(".")[0])
        assert model.load(environment_of(function)).processor == processor


@pytest.mark.parametrize("environment", ["sandbox", "production", "local"])
def test_the_watcher_finds_its_handler_and_its_settings(
    environment: str, request: pytest.FixtureRequest
) -> None:
    assembly: Assembly = request.getfixturevalue(environment)
    settings = settings_of(only(assembly.pipeline, FUNCTION, "Watcher"), WatcherSettings)
    assert settings.source_table_keys == {"customer_id": "S", "order_id": "S"}
    assert set(settings.dead_letters) == set(processors(assembly.pipeline))


@pytest.mark.parametrize("environment", ["sandbox", "production", "local", "notifying"])
def test_the_erasure_finds_its_handler_and_its_settings(
    environment: str, request: pytest.FixtureRequest
) -> None:
    assembly: Assembly = request.getfixturevalue(environment)
    settings = settings_of(only(assembly.pipeline, FUNCTION, "Erasure"), ErasureSettings)
    assert settings.source_table == "orders"
    assert settings.search_indexes[0].endswith("orders")
    assert list(settings.own_sinks) == (["notifications"] if environment == "notifying" else [])


@pytest.mark.parametrize("environment", ["sandbox", "production"])
def test_the_maintenance_finds_its_handler_and_its_settings(
    environment: str, request: pytest.FixtureRequest
) -> None:
    assembly: Assembly = request.getfixturevalue(environment)
    settings = settings_of(only(assembly.pipeline, FUNCTION, "Maintenance"), MaintenanceSettings)
    functions, sinks = zip(*settings.processors.values(), strict=True)
    assert set(sinks) == set(processors(assembly.pipeline))
    assert {assembly.pipeline["Resources"][each]["Type"] for each in functions} == {FUNCTION}
    assert settings.verify_share == 0.5


def test_the_emulator_gets_no_maintenance_unless_it_is_set(local: Assembly) -> None:
    names = local.pipeline["Resources"]
    assert not [name for name in names if "Maintenance" in name]


def test_the_dead_letter_prefix_is_the_one_that_the_role_allows(sandbox: Assembly) -> None:
    for processor, function in processors(sandbox.pipeline).items():
        assert environment_of(function)["DEAD_LETTER_PREFIX"] == f"dead-letters/{processor}/"


def _settings_model(handler: str) -> type[Settings]:
    module = import_module(handler.rpartition(".")[0] + ".settings")
    (model,) = {
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Settings) and value is not Settings
    }
    return model
