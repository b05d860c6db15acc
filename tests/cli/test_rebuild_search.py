"""`cdc rebuild search`: the functions' own code, and wrong use."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from dynamodb_streams_cdc import Processor, Sink
from dynamodb_streams_cdc.entities import Entity, Table, starts_with
from dynamodb_streams_cdc.operations import rebuild_search
from dynamodb_streams_cdc.sinks.by_entity import ByEntity
from tests.cli.conftest import Cloud
from tests.fake_pipeline import item
from tests.lambdas.conftest import create_table

TABLE = "orders-1A2B"


@pytest.fixture(autouse=True)
def table(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The orders table with five items, all of them in the index."""
    monkeypatch.setattr(rebuild_search, "NOTICE_SECONDS", 0.0)
    client = cloud.client("dynamodb")
    create_table(client, TABLE, [("customer_id", "S"), ("order_id", "S")])
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    client.update_table(TableName=TABLE, StreamSpecification=stream)
    for customer in range(5):
        cloud.pipeline.write(customer, "placed")
    assert cloud.run("backfill", "--yes", "--processor", "search").exit_code == 0


def rebuild(cloud: Cloud, *words: str, status: int = 0) -> str:
    done = cloud.run("rebuild", "search", "--yes", "--settle", "0", *words)
    assert done.exit_code == status, done.output
    return done.output


def test_an_index_is_rebuilt_swapped_and_finished(cloud: Cloud) -> None:
    output = rebuild(cloud)
    assert "items: 5 items and tombstones read, 5 documents copied." in output
    assert "items: readers find items-v2. items-v1 is still written" in output
    assert cloud.pipeline.index.live == 2
    assert len(cloud.pipeline.indexed()) == 5
    assert "the index before it is deleted" in rebuild(cloud, "--finish")
    assert cloud.pipeline.index.others == {}


def test_no_index_is_made_without_a_folder_for_jobs(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CDC_JOBS", str(tmp_path / "file"))
    said = rebuild(cloud, status=1)
    assert "Set CDC_JOBS to a folder that you may write to." in said
    assert cloud.pipeline.index.second is None


def test_a_rollback_returns_to_the_old_index(cloud: Cloud) -> None:
    rebuild(cloud)
    assert "readers find items-v1 again" in rebuild(cloud, "--rollback")
    assert cloud.pipeline.index.live == 1
    assert "the new index is deleted" in rebuild(cloud, "--abandon")
    assert cloud.pipeline.index.others == {}


def test_a_swapped_index_says_what_there_is_to_do(cloud: Cloud) -> None:
    rebuild(cloud)
    assert "Give --finish to delete items-v1, or --rollback" in rebuild(cloud, status=1)
    assert "give --rollback first, or --finish" in rebuild(cloud, "--abandon", status=1)


def test_an_index_with_nothing_to_do_holds_up_no_other(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that is finished already, when `--finish` was interrupted."""
    rebuild(cloud)
    known: dict[str, Any] = {"aside": {}, "items": {}}
    monkeypatch.setattr("dynamodb_streams_cdc.cli.rebuild_search.indexes_of", lambda *_: known)
    output = rebuild(cloud, "--finish", status=1)
    assert "no index 'aside'" in output
    assert "items: readers find items-v2, and the index before it is deleted" in output


def test_an_index_that_differs_is_not_swapped_unless_accepted(cloud: Cloud) -> None:
    cloud.pipeline.write(3, "poison")
    output = rebuild(cloud, status=1)
    assert item(3) in output
    assert "1 documents of items-v2 differ from the table, and 0 are accepted" in output
    assert cloud.pipeline.index.live == 1
    report = cloud.json("rebuild", "search", "--yes", "--settle", "0", "--accept", "1")
    [index] = report["indexes"]
    assert (index["done"], index["differing"], index["refused"]) == ("swapped", 1, 1)


def test_an_index_that_differed_is_read_again(cloud: Cloud) -> None:
    """What came into it meanwhile, and no copy takes out of it, would be swapped in."""
    cloud.pipeline.write(3, "poison")
    rebuild(cloud, status=1)
    cloud.pipeline.index.others[2]["stranger"] = {"hello": 1}
    output = rebuild(cloud, "--accept", "1", status=1)
    assert "2 documents of items-v2 differ from the table, and 1 are accepted" in output


def test_an_item_of_no_entity_needs_no_accept(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in neither index: `cdc verify` names it."""
    declared = Table(
        "orders",
        keys={"customer_id": "S", "order_id": "S"},
        entities=(Entity("order", {"order_id": starts_with("0")}),),
        unknown="dead-letter",
    )
    make = cloud.pipeline.processor

    def of_orders(name: str) -> Processor:
        made = make(name)
        return replace(made, sink=ByEntity(declared, {"order": cast("Sink", made.sink)}))

    monkeypatch.setattr(cloud.pipeline, "processor", of_orders)
    cloud.pipeline.write(99_999, "placed")
    found = cloud.json("verify", "--processor", "search", "--settle", "0", status=1)
    assert [each["kind"] for each in found["differences"]] == ["refused"]
    rebuild(cloud)
    assert len(cloud.pipeline.indexed()) == 5


def test_an_index_of_an_older_deployment_is_abandoned_first(cloud: Cloud) -> None:
    cloud.pipeline.write(3, "poison")
    rebuild(cloud, status=1)
    cloud.pipeline.index.mapping = "another"
    assert "another mapping than the deployed one" in rebuild(cloud, status=1)
    rebuild(cloud, "--abandon")
    cloud.pipeline.write(3, "placed")
    rebuild(cloud)
    assert cloud.pipeline.index.live == 2


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--index", "others"], 2, "--index: cdc-sandbox-pipeline has items, and no index"),
        (["--rollback", "--finish"], 2, "Give one of --rollback, --finish and --abandon."),
        (["--rollback"], 1, "items has no earlier index to roll back to."),
        (["--finish"], 1, "items has no second index."),
        (["--abandon"], 1, "items has no second index."),
    ],
)
def test_wrong_use_is_told(cloud: Cloud, words: list[str], status: int, said: str) -> None:
    assert said in rebuild(cloud, *words, status=status)


def test_a_rebuild_asks_a_person_and_refuses_a_program(cloud: Cloud) -> None:
    done = cloud.run("rebuild", "search")
    assert done.exit_code == 2
    assert "Rebuild items? Say --yes where no person can answer." in done.output
    assert cloud.pipeline.index.second is None


def test_workers_have_a_segment_each(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of its first run, also if it goes on with other ones: its parts are named by them."""
    cloud.pipeline.answers["search"] = interrupted_at(cloud, "tombstones")
    cloud.run("rebuild", "search", "--yes", "--settle", "0", "--workers", "12")
    del cloud.pipeline.answers["search"]
    rebuild(cloud, "--workers", "3")
    segments = {
        (event["segment"], event["segments"])
        for _, event in cloud.pipeline.invocations
        if event.get("step") in ("copy", "tombstones", "verify") and "segment" in event
    }
    assert segments == {(number, 12) for number in range(12)}


@pytest.mark.parametrize("command", ["rebuild search", "rebuild aggregation", "purge", "verify"])
def test_one_machine_takes_no_more_than_64_workers(cloud: Cloud, command: str) -> None:
    done = cloud.run(*command.split(), "--workers", "65")
    assert done.exit_code == 2
    assert "--workers: at most 64 on this machine" in done.output


def interrupted_at(cloud: Cloud, step: str) -> Any:
    ask = cloud.pipeline.processor("search")

    def answer(event: Any) -> Any:
        if event.get("step") == step:
            raise KeyboardInterrupt
        return ask(event, cloud.pipeline.context("search"))

    return answer
