"""Sizes of the domain, and settings of single processors."""

from typing import Any

import pytest

from stacks.environments import SettingsError, load
from tests.infrastructure.conftest import Synthesise
from tests.infrastructure.templates import (
    Assembly,
    environment_of,
    of_type,
    only,
    processors,
)
from tools.example_context import CONTEXT


@pytest.fixture(scope="module")
def sized(synthesise: Synthesise) -> Assembly:
    return synthesise(
        environment="sandbox",
        search_nodes="4",
        search_zones="2",
        search_instance_type="m7g.large.search",
        search_volume_gib="50",
        search_masters="3",
        search_master_instance_type="m7g.medium.search",
        search_logs="true",
        memory_mib="1024",
        batch_size="200",
        batching_window_seconds="3",
        aggregate_shards="20",
        reserved_concurrency="40",
        **{
            "memory_mib.audit": "2048",
            "batch_size.audit": "50",
            "batching_window_seconds.audit": "0",
            "parallelization_factor.aggregation": "5",
            "reserved_concurrency.search": "7",
            "max_record_age_hours.search": "24",
            "breaker_share.search": "1",
        },
    )


def mapping(assembly: Assembly, processor: str) -> dict[str, Any]:
    name = f"{processor.title()}Mapping"
    found: dict[str, Any] = only(assembly.pipeline, "AWS::Lambda::EventSourceMapping", name)[
        "Properties"
    ]
    return found


def test_the_domain_has_the_size_of_the_settings(sized: Assembly) -> None:
    assert set(sized.templates) == {"search-logs", "search", "pipeline"}
    domain = only(sized.search, "AWS::OpenSearchService::Domain")["Properties"]
    assert domain["ClusterConfig"] == {
        "DedicatedMasterCount": 3,
        "DedicatedMasterEnabled": True,
        "DedicatedMasterType": "m7g.medium.search",
        "InstanceCount": 4,
        "InstanceType": "m7g.large.search",
        "MultiAZWithStandbyEnabled": False,
        "ZoneAwarenessConfig": {"AvailabilityZoneCount": 2},
        "ZoneAwarenessEnabled": True,
    }
    assert domain["EBSOptions"]["VolumeSize"] == 50


def test_a_processor_may_have_settings_of_its_own(sized: Assembly) -> None:
    memory = {
        name: (each["Properties"]["MemorySize"], each["Properties"]["ReservedConcurrentExecutions"])
        for name, each in processors(sized.pipeline).items()
    }
    assert memory == {"aggregation": (1024, 40), "audit": (2048, 40), "search": (1024, 7)}
    names = ("BatchSize", "MaximumBatchingWindowInSeconds", "ParallelizationFactor")
    found = {each: tuple(mapping(sized, each)[name] for name in names) for each in memory}
    assert found == {"aggregation": (200, 3, 5), "audit": (50, 0, 2), "search": (200, 3, 2)}


def test_a_processor_has_an_age_and_a_breaker_of_its_own(sized: Assembly) -> None:
    found = {
        name: (
            mapping(sized, name)["MaximumRecordAgeInSeconds"],
            environment_of(each)["BREAKER_SHARE"],
        )
        for name, each in processors(sized.pipeline).items()
    }
    assert found == {
        "aggregation": (72_000, "0.5"),
        "audit": (72_000, "0.5"),
        "search": (86_400, "1.0"),
    }


def test_no_concurrency_is_reserved_without_the_setting(sandbox: Assembly) -> None:
    for function in of_type(sandbox.pipeline, "AWS::Lambda::Function").values():
        assert "ReservedConcurrentExecutions" not in function["Properties"]


def test_a_processor_s_settings_come_before_those_of_all() -> None:
    own = {"sandbox": {"batch_size.audit": 50, "batch_size": 20}}
    environment = load({"environment": "sandbox", "environments": own, "batch_size": "30"})
    assert environment.processor("audit").batch_size == 50
    assert environment.processor("search").batch_size == 30


def test_a_processor_that_does_not_exist_stops_synth(synthesise: Synthesise) -> None:
    with pytest.raises(SettingsError) as refused:
        synthesise(environment="sandbox", **{"batch_size.serach": "20"})
    assert "Unknown processor 'serach'" in str(refused.value)
    assert "did you mean 'search'?" in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"memory_mib": "128"}, "Setting 'memory_mib' is '128' in -c memory_mib=: input should"),
        ({"batch_size.audit": "0"}, "Setting 'batch_size.audit' is '0' in -c batch_size.audit=:"),
        ({"epoch.audit": "0002"}, "Setting 'epoch.audit' in the context (-c) is none of a proce"),
        ({"batching_window_seconds": "301"}, "Setting 'batching_window_seconds' is '301' in"),
        ({"reserved_concurrency": "0"}, "Setting 'reserved_concurrency' is '0' in"),
        (
            {"parallelization_factor.aggregation": "5"},
            "Setting 'aggregate_shards' is 8, fewer than the 20 lanes",
        ),
        ({"search_nodes": "0"}, "Setting 'search_nodes' is '0' in -c search_nodes=:"),
        ({"search_nodes": "4", "search_zones": "3"}, "'search_nodes' is 4, which 3 zones"),
        ({"search_masters": "2"}, "'search_masters' is '2' in -c search_masters=: must be 0, 3"),
        ({"search_masters": "3"}, "Setting 'search_master_instance_type' is missing: "),
        ({"search_instance_type": "m7g.large"}, "Setting 'search_instance_type' is 'm7g.large'"),
        ({"search_instance_type": "i3.large.search"}, "must be of a family that takes EBS"),
        ({"search_volume_gib": "5"}, "Setting 'search_volume_gib' is '5' in"),
        (
            {
                "search_url": "https://search-mine-1a2b.eu-west-1.es.amazonaws.com",
                "search_nodes": "3",
            },
            "Setting 'search_nodes' is for a domain that the app creates, and 'search_url'",
        ),
    ],
)
def test_a_wrong_size_is_a_sentence(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load({**CONTEXT, "environment": "sandbox", **settings})
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


FAMILIES = {
    "takes EBS volumes": (
        "i3",
        "i4g",
        "i4i",
        "i7ie",
        "i8g",
        "im4gn",
        "oi2",
        "r6gd",
        "r7gd",
        "r8gd",
    ),
    "encrypts its data at rest": ("t2", "m3", "r3"),
}


@pytest.mark.parametrize("setting", ["search_instance_type", "search_master_instance_type"])
def test_a_family_that_the_domain_cannot_have_is_refused(setting: str) -> None:
    for why, families in FAMILIES.items():
        for family in families:
            instance_type = f"{family}.large.search"
            with pytest.raises(SettingsError) as refused:
                load({**CONTEXT, "environment": "sandbox", setting: instance_type})
            assert f"Setting '{setting}' is '{instance_type}'" in str(refused.value)
            assert f"must be of a family that {why}" in str(refused.value)
    for family in ("t3", "m7g", "m8g", "r7g", "r8g", "r7i", "c7g", "c7i", "or1", "or2", "om2"):
        load({**CONTEXT, "environment": "sandbox", setting: f"{family}.large.search"})
