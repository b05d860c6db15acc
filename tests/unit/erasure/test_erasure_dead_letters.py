"""The dead letters of an item that is erased, and those of other items."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from dynamodb_streams_cdc.control.erasure_objects import (
    DeadLettersPlace,
    StoredVersion,
)
from dynamodb_streams_cdc.dead_letters import dead_letter_name
from dynamodb_streams_cdc.deadline import Deadline
from tests.factories import NOON, change, record
from tests.fake_pipeline import given_up, lambdas_key
from tests.unit.erasure.world import (
    ANNA,
    BEN,
    ERASED,
    HELD,
    REFUSED,
    WAITING,
    World,
    identity,
    keys,
    only,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class TestDeadLetters:
    @pytest.mark.parametrize("given_up_by", ["warehouse", "lambda"])
    def test_one_of_an_unknown_sink_is_redriven_first(self, world: World, given_up_by: str) -> None:
        """It may be the delete that the sink's copy lacks, and nothing else has it."""
        world.delete(ANNA)
        world.pass_days(30)
        removed = change(2, ANNA, None)
        key = f"dead-letters/warehouse/{dead_letter_name(removed.item_id, removed.version, {})}"
        if given_up_by == "lambda":
            key = lambdas_key("batch")
        batch = given_up([record(2, ANNA, None)])
        arn = "arn:aws:lambda:us-east-1:1:function:warehouse-1A2B:live"
        world.put(key, {**batch, "requestContext": {"functionArn": arn}})
        result = only(world.forget(ANNA))
        assert result.status is REFUSED
        assert result.why.startswith("warehouse has a dead letter")
        assert "cdc redrive" in result.why
        assert key in world.objects.objects
        assert len(list(world.log.read(identity(ANNA)))) == 2
        world.objects.objects[f"archive/{key}"] = world.objects.objects.pop(key)
        assert only(world.forget(ANNA)).status is ERASED
        assert not world.objects.objects

    def test_a_processors_own_goes_by_its_key(self, world: World) -> None:
        for number, each in enumerate((ANNA, BEN)):
            found = change(number + 1, None, each)
            name = dead_letter_name(found.item_id, found.version, {})
            world.put(f"dead-letters/search/{name}", {"payload": "{}"})
            world.put(f"archive/dead-letters/search/{name}", {"payload": "{}"})
        assert only(world.forget(ANNA)).found == {"dead-letters": 1, "archive": 1}
        assert len(world.objects.objects) == 2

    def test_a_batch_keeps_the_records_of_others(self, world: World) -> None:
        mine, other = record(1, None, ANNA), record(2, None, BEN)
        for key in (lambdas_key("batch"), f"archive/{lambdas_key('batch')}"):
            world.put(key, given_up([mine, other, record(3, ANNA, None)]))
        assert only(world.forget(ANNA)).found == {"given-up": 1, "archive": 1}
        for content in world.objects.objects.values():
            document = json.loads(content)
            assert json.loads(document["payload"])["Records"] == [other]
            assert document["DDBStreamBatchInfo"]["batchSize"] == 1
            assert b"00004" not in content

    def test_a_batch_of_one_item_goes_whole(self, world: World) -> None:
        world.put(lambdas_key("batch"), given_up([record(1, None, ANNA)]))
        world.forget(ANNA)
        assert not world.objects.objects

    def test_records_of_the_change_log_are_known(self, world: World) -> None:
        entry = {"item": {"S": identity(ANNA)}, "version": {"S": "1"}}
        world.put(lambdas_key("batch"), given_up([{"dynamodb": {"Keys": entry}}]))
        world.forget(ANNA)
        assert not world.objects.objects

    def test_a_table_may_have_the_key_names_of_the_change_log(self, world: World) -> None:
        place = DeadLettersPlace(world.objects, "", "docs", may_move=True)
        made = [{"item": {"S": name}, "version": {"S": "1"}} for name in ("Anna", "Ben")]
        records = [{"dynamodb": {"Keys": each}} for each in made]
        world.put(lambdas_key("batch"), given_up(records))
        (trace,) = place.find({"docs/S=Anna/S=1": made[0]}, None, Deadline(world.clock)).traces
        trace.erase(trace.items, Deadline(world.clock))
        (content,) = world.objects.objects.values()
        assert json.loads(json.loads(content)["payload"])["Records"] == records[1:]

    def test_one_that_waits_holds_the_tombstones(self, world: World) -> None:
        """A redrive may have read it: what it brings back is erased by the next run."""
        world.delete(ANNA)
        world.pass_days(30)
        world.put(lambdas_key("batch"), given_up([record(1, None, ANNA)]))
        world.objects.written.clear()
        result = only(world.forget(ANNA))
        assert (result.status, result.due) == (WAITING, "2024-06-07T12:16:40Z")
        world.apply(change(1, None, ANNA))  # the redrive
        world.pass_days(7)
        again = only(world.forget(ANNA))
        assert (again.status, again.found) == (WAITING, {"change-log": 1})
        world.pass_days(7)
        assert only(world.forget(ANNA)).status is ERASED
        assert "00004" not in world.held()

    def test_one_that_cannot_be_read_is_named(self, world: World) -> None:
        world.delete(ANNA)
        world.pass_days(30)
        batch = json.dumps(given_up([record(1, None, ANNA)]))[:-40]
        world.objects.objects[lambdas_key("truncated")] = batch.encode()
        report = world.forget(ANNA)
        assert report.unclear == [lambdas_key("truncated")]
        assert not report.complete
        assert only(report).status is HELD
        assert world.forget(BEN).complete

    def test_one_that_cannot_be_read_holds_its_own_request(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file of a thousand items is many requests."""
        monkeypatch.setattr("dynamodb_streams_cdc.operations.forget.AT_ONCE", 1)
        for each in (ANNA, BEN):
            world.delete(each)
        world.pass_days(30)
        batch = json.dumps(given_up([record(1, None, ANNA)]))[:-40]
        world.objects.objects[lambdas_key("truncated")] = batch.encode()
        report = world.forget(ANNA, BEN)
        assert [each.status for each in report.items] == [HELD, ERASED]
        assert not report.complete

    @pytest.mark.parametrize(
        ("number", "written"),
        [("100.0", "100"), ("1E2", "100"), ("100", "100"), (f"{'7' * 38}.0", "7" * 38)],
    )
    def test_a_number_is_found_in_any_form(self, world: World, number: str, written: str) -> None:
        place = DeadLettersPlace(world.objects, "", "orders", may_move=True)
        body = f'{{"payload": {{"Keys": {{"id": {{"N": "{written}"}}}}'
        world.objects.objects["truncated"] = body.encode()
        asked = {"orders/N=1E2": {"id": {"N": number}}}
        assert place.find(asked, None, Deadline(world.clock)).unclear == ["truncated"]

    def test_one_whose_record_has_no_key_is_named(self, world: World) -> None:
        key = "dead-letters/search/unreadable/1.json"
        broken = record(1, None, ANNA)
        del broken["dynamodb"]["Keys"]
        world.put(key, given_up([broken]))
        assert world.forget(ANNA).unclear == [key]
        assert world.forget(BEN).complete

    def test_an_object_under_any_key_is_read(self, world: World) -> None:
        """Every object of the on-failure bucket counts as a dead letter."""
        world.put("aws/copied-by-hand.json", given_up([record(1, None, ANNA)]))
        assert only(world.forget(ANNA)).found == {"given-up": 1}

    def test_old_versions_go_whole(self, world: World) -> None:
        """The current version has the records of the other items."""
        batch = given_up([record(1, None, ANNA), record(2, None, BEN)])
        place = DeadLettersPlace(world.objects, "", "orders", may_move=True)
        world.put(lambdas_key("old"), batch)
        old = StoredVersion(lambdas_key("old"), "v1", NOON, is_latest=False)
        page: Callable[..., Any] = lambda *_: ([old], None)  # noqa: E731
        world.objects.page = page  # type: ignore[method-assign]
        (trace,) = place.find({identity(ANNA): keys(ANNA)}, None, Deadline(world.clock)).traces
        assert trace.since == NOON
        trace.erase(trace.items, Deadline(world.clock))
        assert not world.objects.objects

    def test_a_bucket_is_read_in_parts(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dynamodb_streams_cdc.control.erasure_objects.PAGE", 3)
        for number in range(10):
            records = [record(1, None, ANNA), record(2, None, BEN)]
            world.put(lambdas_key(f"batch-{number}"), given_up(records))
        assert only(world.forget(ANNA)).found == {"given-up": 10}
        assert all(b"00004" not in content for content in world.objects.objects.values())
