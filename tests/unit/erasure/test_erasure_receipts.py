"""The receipts of an erasure, also where their writing is disturbed."""

from collections.abc import Mapping
from typing import Any

import pytest

from dynamodb_streams_cdc.change import Image
from dynamodb_streams_cdc.cli.forget import _advice
from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import RetryableError
from tests.unit.erasure.world import ANNA, BEN, ERASED, HELD, NOTHING, World, identity, keys


class TestReceipts:
    """One run erases two items of long ago; the writing of their receipts is disturbed."""

    @pytest.fixture
    def world(self) -> World:
        world = World()
        for each in (ANNA, BEN):
            world.delete(each)
        world.pass_days(30)
        return world

    def refuse(self, world: World, calls: int, *, item: Image = ANNA, late: bool = False) -> None:
        """Let the first requests to write the receipt of an item fail, before or after it."""
        complete = world.records.complete
        left = [calls]

        def refused(name: str, record: Any, deadline: Deadline) -> bool:
            if name != identity(item) or not left[0]:
                return complete(name, record, deadline)
            left[0] -= 1
            if late:
                complete(name, record, deadline)
            message = "TransactionConflict"
            raise RetryableError(message)

        world.records.complete = refused  # type: ignore[assignment,method-assign]

    @pytest.mark.parametrize("late", [False, True])
    def test_one_that_is_refused_is_written_later(self, world: World, late: bool) -> None:
        self.refuse(world, 1, late=late)
        report = world.forget(ANNA, BEN)
        assert report.complete
        assert {each.receipt for each in report.items} == set(world.records.receipts)
        assert [(each.status, each.why) for each in report.items] == [(ERASED, ""), (ERASED, "")]

    def test_one_that_is_refused_for_long_leaves_the_others(self, world: World) -> None:
        self.refuse(world, 100)
        report = world.forget(ANNA, BEN)
        assert report.problems == ["receipts cannot be written: TransactionConflict"]
        refused, erased = report.items
        receipt = world.records.records[identity(ANNA)].receipt
        assert (refused.status, refused.receipt) == (HELD, receipt)
        assert (erased.status, [erased.receipt]) == (ERASED, list(world.records.receipts))
        assert _advice(refused, check=False).endswith(
            f"run it again; if nothing is held then, its receipt is {receipt}"
        )

    def test_those_before_the_deadline_are_told(self, world: World) -> None:
        complete = world.records.complete

        def slow(*arguments: Any) -> bool:
            done = complete(*arguments)
            world.clock.sleep(61)
            return done

        world.records.complete = slow  # type: ignore[assignment,method-assign]
        report = world.forget(ANNA, BEN)
        assert report.complete
        assert {each.receipt for each in report.items} == set(world.records.receipts)

    @pytest.mark.parametrize("lost", [1, 100])
    def test_a_lost_answer_is_given_again(self, world: World, lost: int) -> None:
        answer = world.invoke
        left = [lost]

        def losing(processor: str, event: Mapping[str, Any]) -> Any:
            found = answer(processor, event)
            if event["operation"] == "complete" and left[0]:
                left[0] -= 1
                message = "the connection is closed"
                raise InvocationFailed(message, outage=True)
            return found

        world.invoke = losing  # type: ignore[method-assign]
        report = world.forget(ANNA, BEN)
        assert report.complete == (lost == 1)
        named = {each.receipt for each in report.items}
        assert named == set(world.records.receipts)
        assert [each.status for each in world.forget(ANNA, BEN).items] == [NOTHING, NOTHING]

    def test_an_erasure_that_began_since_is_another_one(self, world: World) -> None:
        world.records.receipts["earlier"] = {}
        world.records.note(identity(ANNA), 7.0, Deadline(world.clock))
        record = world.records.records[identity(ANNA)]
        asked = {"Keys": keys(ANNA), "revision": record.revision, "receipt": "earlier"}
        event = {"operation": "complete", "Records": [asked]}
        assert world.invoke("erasure", event) == {"receipts": {}, "problem": ""}
        assert world.records.records == {identity(ANNA): record}

    def test_a_function_of_an_earlier_version_names_none(self, world: World) -> None:
        answer = world.invoke

        def earlier(processor: str, event: Mapping[str, Any]) -> Any:
            assert not any("receipt" in each for each in event["Records"])
            found = answer(processor, event)
            del found["problem" if event["operation"] == "complete" else "receipts"]
            return found

        world.invoke = earlier  # type: ignore[method-assign]
        assert world.forget(ANNA, BEN).complete


def test_nothing_is_completed_before_it_is_due(world: World) -> None:
    world.delete(ANNA)
    world.forget(ANNA)
    known = {"Keys": keys(ANNA), "revision": world.records.records[identity(ANNA)].revision}
    event = {"operation": "complete", "Records": [known]}
    assert world.invoke("erasure", event) == {"receipts": {}, "problem": ""}
    world.pass_days(8)
    assert list(world.invoke("erasure", event)["receipts"]) == [identity(ANNA)]
