"""Damage of every kind: `cdc verify` names exactly that, and `cdc repair --from` heals it."""

import json
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

import pytest

from dynamodb_streams_cdc import Aggregation, Change, Image, Outcome, Sink, serialize_item
from dynamodb_streams_cdc.control import backfill, parts
from dynamodb_streams_cdc.control.functions import (
    RESPONSE_TOO_LARGE,
    TIME_IS_UP,
    InvocationFailed,
)
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.entities import Entity, Table, starts_with
from dynamodb_streams_cdc.errors import RetryableError
from dynamodb_streams_cdc.operations import walk
from dynamodb_streams_cdc.operations.errors import OperationError, UsageError
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.redrive import PATIENCE
from dynamodb_streams_cdc.operations.repair_differences import AGAIN
from dynamodb_streams_cdc.operations.verify import FRESH_SECONDS, Verify
from dynamodb_streams_cdc.processor import Processor
from dynamodb_streams_cdc.sinks.base import SinkChoice
from dynamodb_streams_cdc.sinks.by_entity import ByEntity
from dynamodb_streams_cdc.sinks.documents import CDC
from dynamodb_streams_cdc.sinks.log_entries import entry_of
from dynamodb_streams_cdc.testing.memory import MemoryLedger
from dynamodb_streams_cdc.testing.simulation.operator import SimulatedSourceTable
from dynamodb_streams_cdc.testing.simulation.pipeline import contributions, identity
from tests.factories import change
from tests.unit.operated import SINKS, Operated

if TYPE_CHECKING:
    from dynamodb_streams_cdc.sinks.contributions import Contribution

ITEMS = 60


@pytest.fixture
def filled() -> Operated:
    """A table whose copies are all right."""
    made = Operated(ITEMS)
    made.backfill().run()
    return made


Damage = Callable[[Operated, int], str | None]
"""Damages the copy of an item; returns the name of what differs if it is not the item."""


# Documents


def lose_the_document(o: Operated, n: int) -> None:
    del o.copies.index.documents[o.id(n)]


def bury_the_document(o: Operated, n: int) -> None:
    held = o.copies.index.documents[o.id(n)]
    o.copies.index.documents[o.id(n)] = {CDC: {**held[CDC], "deleted": True}}


def alter_the_document(o: Operated, n: int) -> None:
    o.copies.index.documents[o.id(n)] = {**o.copies.index.documents[o.id(n)], "amount": -1}


def empty_the_document(o: Operated, n: int) -> None:
    o.copies.index.documents[o.id(n)] = {CDC: o.copies.index.documents[o.id(n)][CDC]}


def add_a_field(o: Operated, n: int) -> None:
    o.copies.index.documents[o.id(n)] = {**o.copies.index.documents[o.id(n)], "note": "mine"}


def take_the_version(o: Operated, n: int) -> None:
    held = o.copies.index.documents[o.id(n)]
    o.copies.index.documents[o.id(n)] = {k: v for k, v in held.items() if k != CDC}


def write_a_version(o: Operated, n: int) -> None:
    """Above all that changes have: each of them would be refused."""
    held = o.copies.index.documents[o.id(n)]
    o.copies.index.documents[o.id(n)] = {**held, CDC: {**held[CDC], "version": "v2"}}


def write_a_number_as_version(o: Operated, n: int) -> None:
    held = o.copies.index.documents[o.id(n)]
    o.copies.index.documents[o.id(n)] = {**held, CDC: {**held[CDC], "version": 2}}


def swap_with_another(o: Operated, n: int) -> None:
    """Only this document: the other one is damaged by itself."""
    other = o.copies.index.documents[o.id((n + 1) % ITEMS)]
    mine = o.copies.index.documents[o.id(n)]
    o.copies.index.documents[o.id(n)] = {**other, CDC: mine[CDC], "group": 99}


def index_what_never_was(o: Operated, n: int) -> str:
    name = f"items/S=never-{n}"
    held = o.copies.index.documents[o.id(n)]
    o.copies.index.documents[name] = {**held, CDC: {**held[CDC], "item": name}}
    return name


def index_under_another_name(o: Operated, n: int) -> str:
    o.copies.index.documents[f"copy-{n}"] = o.copies.index.documents[o.id(n)]
    return f"copy-{n}"


def index_of_another_table(o: Operated, n: int) -> str:
    name = f"others/S={n}"
    held = o.copies.index.documents[o.id(n)]
    o.copies.index.documents[name] = {**held, CDC: {**held[CDC], "item": name}}
    return name


def bring_in_a_stranger(o: Operated, n: int) -> str:
    o.copies.index.documents[f"stranger-{n}"] = {"hello": n}
    return f"stranger-{n}"


def bring_back_a_deleted_item(o: Operated, n: int) -> None:
    o.table.items.pop(o.table.key_of(o.item(n)))
    held = o.copies.index.documents[o.id(n)]
    o.copies.index.documents[o.id(n)] = {**held, "amount": 3}
    row = o.copies.ledger.rows[o.id(n)]
    delta = {name: {m: -a for m, a in of.items()} for name, of in row.contribution.items()}
    for name, of in delta.items():
        held_sums = o.copies.ledger.totals[name]
        o.copies.ledger.totals[name] = {m: held_sums[m] + Decimal(a) for m, a in of.items()}
    o.copies.ledger.rows[o.id(n)] = replace(row, contribution={}, deleted=True, revision=9)
    removed = replace_item(o, n)
    o.copies.log.insert([removed], deadline_of(o))


def deadline_of(o: Operated) -> Any:
    return Deadline(o.clock)


def replace_item(o: Operated, n: int) -> Any:
    """Return the log's entry of a REMOVE of the item, above its backfill."""
    gone = {"id": f"item-{n}", "group": Decimal(n % 7), "amount": Decimal(n % 50 + 1)}
    entry = entry_of(change(n + 1, gone, None, keys=("id",)))
    version = next(v for name, v in o.copies.log.entries if name == o.id(n))
    return {**entry, "item": {"S": o.id(n)}, "version": {"S": f"{version[:-6]}999999"}}


# Ledger and log


def stale_row(o: Operated, n: int) -> None:
    """The row and the sums lack a change, as if it had been lost."""
    row = o.copies.ledger.rows[o.id(n)]
    (name,) = row.contribution
    total = o.copies.ledger.totals[name]
    o.copies.ledger.totals[name] = {**total, "amount": total["amount"] + 5}
    amount = Decimal(row.contribution[name]["amount"]) + 5
    contribution: Contribution = {name: {"count": 1, "amount": amount}}
    o.copies.ledger.rows[o.id(n)] = replace(row, contribution=contribution)


def uncounted_item(o: Operated, n: int) -> None:
    """Neither row nor sum know the item, as if its INSERT had been lost."""
    row = o.copies.ledger.rows.pop(o.id(n))
    (name,) = row.contribution
    total = o.copies.ledger.totals[name]
    amount = Decimal(row.contribution[name]["amount"])
    o.copies.ledger.totals[name] = {"count": total["count"] - 1, "amount": total["amount"] - amount}


def forgotten_history(o: Operated, n: int) -> None:
    for key in [key for key in o.copies.log.entries if key[0] == o.id(n)]:
        del o.copies.log.entries[key]


HEALED: dict[str, tuple[Damage, str, str]] = {
    each.__name__: (each, sink, kind)
    for each, sink, kind in [
        (lose_the_document, "search", "missing"),
        (bury_the_document, "search", "missing"),
        (alter_the_document, "search", "wrong"),
        (empty_the_document, "search", "wrong"),
        (add_a_field, "search", "wrong"),
        (take_the_version, "search", "foreign"),
        (write_a_version, "search", "foreign"),
        (write_a_number_as_version, "search", "foreign"),
        (swap_with_another, "search", "wrong"),
        (index_what_never_was, "search", "extra"),
        (index_under_another_name, "search", "foreign"),
        (index_of_another_table, "search", "foreign"),
        (bring_in_a_stranger, "search", "foreign"),
        (bring_back_a_deleted_item, "search", "extra"),
        (stale_row, "aggregation", "wrong"),
        (uncounted_item, "aggregation", "missing"),
        (forgotten_history, "audit", "missing"),
    ]
}
"""Damage that a repair heals: its sink, and the kind of the difference."""


def found(o: Operated, name: str) -> Iterator[tuple[str, str, str]]:
    work = o.verify(name)
    work.run()
    assert not work.report.problems
    for each in work.differences():
        yield each["processor"], each["kind"], each["item"]


def repaired(o: Operated, name: str) -> Any:
    work = o.verify(name)
    work.run()
    return o.repair(work.differences())


def test_right_copies_have_no_difference(filled: Operated) -> None:
    assert filled.wrong() == []
    report = filled.verify().run()
    assert (report.complete, report.count) == (True, 0)
    assert report.read["search"] == 2 * ITEMS


@pytest.mark.parametrize("name", HEALED)
def test_damage_is_named_and_healed(filled: Operated, name: str) -> None:
    damage, sink, kind = HEALED[name]
    item = damage(filled, 5) or filled.id(5)
    assert list(found(filled, "first")) == [(sink, kind, item)]
    report = repaired(filled, "second")
    assert (report.complete, dict(report.repaired)) == (True, {sink: 1})
    assert list(found(filled, "third")) == []


def test_damage_of_all_kinds_at_once_is_named_and_healed(filled: Operated) -> None:
    rng = random.Random(8)
    # Damage to a sum hides that of others in it: `stale_row` and `uncounted_item` do not.
    numbers = rng.sample(range(ITEMS), 3 * len(HEALED))
    wanted = []
    for number, name in zip(numbers, [*HEALED] * 3, strict=True):
        damage, sink, kind = HEALED[name]
        wanted.append((sink, kind, damage(filled, number) or filled.id(number)))
    assert sorted(found(filled, "first")) == sorted(wanted)
    report = repaired(filled, "second")
    assert report.complete, report.unrepaired
    assert list(found(filled, "third")) == []


# What only a rebuild heals


def lose_the_row(o: Operated, n: int) -> None:
    """The sum counts the item still."""
    del o.copies.ledger.rows[o.id(n)]


def alter_the_row(o: Operated, n: int) -> None:
    row = o.copies.ledger.rows[o.id(n)]
    (name,) = row.contribution
    o.copies.ledger.rows[o.id(n)] = replace(row, contribution={name: {"count": 2}})


def damage_the_row(o: Operated, n: int) -> None:
    row = o.copies.ledger.rows[o.id(n)]
    o.copies.ledger.rows[o.id(n)] = replace(row, contribution={}, lacks=("contribution",))


def alter_a_sum(o: Operated, n: int) -> str:
    name = f"group#{n % 7}"
    total = o.copies.ledger.totals[name]
    o.copies.ledger.totals[name] = {**total, "amount": total["amount"] + Decimal("0.01")}
    return name


def add_a_sum(o: Operated, n: int) -> str:
    o.copies.ledger.totals["group#none"] = {"count": Decimal(1)}
    return "group#none"


def lose_a_sum(o: Operated, n: int) -> str:
    del o.copies.ledger.totals[f"group#{n % 7}"]
    return f"group#{n % 7}"


@pytest.mark.parametrize(
    ("damage", "kinds"),
    [
        (lose_the_row, {"missing", "sum"}),
        (alter_the_row, {"wrong", "sum"}),
        (damage_the_row, {"wrong", "sum"}),
        (alter_a_sum, {"sum"}),
        (add_a_sum, {"sum"}),
        (lose_a_sum, {"sum"}),
    ],
)
def test_damage_of_sums_is_named_and_not_made_worse(
    filled: Operated, damage: Damage, kinds: set[str]
) -> None:
    damage(filled, 5)
    first = set(found(filled, "first"))
    assert {kind for _, kind, _ in first} == kinds
    before = {name: dict(total) for name, total in filled.copies.ledger.totals.items()}
    report = repaired(filled, "second")
    assert not report.complete
    assert all("cdc rebuild aggregation" in each.why for each in report.unrepaired)
    assert filled.copies.ledger.totals == before
    assert set(found(filled, "third")) == first


def test_an_item_that_the_domain_refuses_is_named(filled: Operated) -> None:
    item = filled.item(5)
    filled.table.put({**item, "poison": "hopeless"}, filled.clock.now())
    wanted = {("aggregation", "refused"), ("search", "refused"), ("audit", "wrong")}
    assert {(sink, kind) for sink, kind, _ in found(filled, "first")} == wanted


@pytest.fixture
def strange(filled: Operated) -> Operated:
    """A pipeline whose table has an item of no entity, which no sink may skip."""
    entity = Entity("item", {"id": starts_with("item-")})
    declared = Table("items", keys={"id": "S"}, entities=(entity,), unknown="dead-letter")
    for name, handler in filled.handlers.items():
        assert isinstance(handler, Processor)
        choice = ByEntity(declared, {"item": cast("Sink", handler.sink)})
        filled.handlers[name] = replace(handler, sink=choice)
    filled.table.put({**filled.item(5), "id": "stranger"}, filled.clock.now())
    return filled


def test_an_item_of_no_entity_is_refused_by_every_sink(strange: Operated) -> None:
    name = identity(strange.table, {"id": "stranger"})
    assert set(found(strange, "all")) == {(sink, "refused", name) for sink in SINKS}
    alone = strange.verify("one").run_items([{"id": {"S": "stranger"}}])
    assert (alone.complete, alone.count) == (False, len(SINKS))


def test_a_copy_of_an_item_of_no_entity_is_foreign_and_removed(strange: Operated) -> None:
    """No sink may hold the item, and readers of the index find it."""
    documents, name = strange.copies.index.documents, identity(strange.table, {"id": "stranger"})
    documents[name] = deepcopy(documents[strange.id(5)])
    assert set(found(strange, "all")) == {
        *((sink, "refused", name) for sink in SINKS),
        ("search", "foreign", name),
    }
    assert repaired(strange, "again").repaired["search"] == 1
    assert name not in documents


def test_an_item_of_no_entity_that_is_gone_is_none(strange: Operated) -> None:
    work = strange.verify()
    strange.table.delete({"id": "stranger"}, strange.clock.now())
    assert work.run_items([{"id": {"S": "stranger"}}]).complete


def test_a_row_of_an_item_that_adds_nothing_is_made(filled: Operated) -> None:
    """Such as the canary's: whether sums agree does not matter to it."""
    del filled.copies.ledger.rows[filled.id(5)]
    alter_a_sum(filled, 5)
    work = filled.verify("first")
    work.run()
    [missing] = [each for each in work.differences() if each["kind"] == "missing"]
    del missing["delta"], missing["sums_agree"]
    report = filled.repair([missing])
    assert (report.unrepaired, filled.invocations[-1][1]["countMissing"]) == ([], True)


# On the way


class Late(Operated):
    """A pipeline in which a change arrives while it is verified."""

    right: Any = None

    def invoke(self, processor: str, event: Any) -> Any:
        answer = super().invoke(processor, event)
        if event.get("of") == "table" and processor == "search" and self.right:
            self.copies.index.documents[self.id(5)] = self.right
        return answer


def test_a_change_on_its_way_is_not_a_difference() -> None:
    late = Late(ITEMS)
    late.backfill().run()
    late.right = late.copies.index.documents[late.id(5)]
    alter_the_document(late, 5)
    report = late.verify().run()
    assert report.count == 0


def test_a_copy_that_changes_at_every_look_is_not_verified(filled: Operated) -> None:
    alter_the_document(filled, 5)
    ask = Operated.invoke

    class Moving(Operated):
        def invoke(self, processor: str, event: Any) -> Any:
            if event.get("of") == "items" and event["Records"]:
                held = self.copies.index.documents[self.id(5)]
                self.copies.index.documents[self.id(5)] = {**held, "amount": held["amount"] - 1}
            return ask(self, processor, event)

    filled.__class__ = Moving
    report = filled.verify().run()
    assert (report.count, report.moving, report.complete) == (0, 1, False)
    assert report.unverified == {"search"}


def test_a_look_without_an_answer_is_repeated(filled: Operated) -> None:
    """One throttled request at the end would cost all that was read for hours."""
    ask, failing = Operated.invoke, iter((True, True, False))

    class Throttled(Operated):
        def invoke(self, processor: str, event: Any) -> Any:
            if event.get("of") == "items" and event["Records"] and next(failing):
                message = "throttled"
                raise InvocationFailed(message, outage=True)
            return ask(self, processor, event)

    alter_the_document(filled, 5)
    filled.__class__ = Throttled
    report = filled.verify().run()
    assert (report.count, report.verified) == (1, True)


def test_many_differences_are_asked_about_at_once() -> None:
    """Several requests are under way, and the next ones are found without reading all again."""
    together = threading.Barrier(3, timeout=10)
    items = [{"id": {"S": str(number)}} for number in range(600)]

    class Slow:
        def invoke(self, processor: str, event: Any) -> Any:
            asked = [record["Keys"] for record in event["Records"]]
            if len(asked) < len(items):
                together.wait()
            told = {"kind": "missing", "store": 0, "token": "", "version": None, "detail": ""}
            found = [{**told, "item": keys["id"]["S"], "keys": keys} for keys in asked]
            return {"comparable": True, "problem": "", "differences": found}

    job = Job("many", {})
    work = Verify(Slow(), {"id": "S"}, {"search": "search"}, job, settle=0, workers=3)
    assert work.run_items(items).count == len(items)


def test_the_next_differences_are_found_by_an_index() -> None:
    def work_of(rows: int) -> int:
        job, steps = Job(f"of-{rows}", {}), [0]
        with job.transaction():
            job.add_found(((f"{n:09}", {}) for n in range(rows)), 1.0)
        job._database.set_progress_handler(lambda: steps.append(1), 10)
        assert len(job.found("seen", 100)) == 100
        return len(steps)

    assert work_of(20_000) == work_of(200)


# Jobs


def test_a_killed_verification_goes_on_where_it_stopped(filled: Operated) -> None:
    alter_the_document(filled, 5)
    ask = Operated.invoke
    answers = 0

    class Killed(Operated):
        def invoke(self, processor: str, event: Any) -> Any:
            nonlocal answers
            answers += 1
            if answers == 12:
                raise KeyboardInterrupt
            return ask(self, processor, event)

    filled.__class__ = Killed
    work = filled.verify()
    with pytest.raises(KeyboardInterrupt):
        work.run()
    done = {part.name for part in work.job.parts() if part.done}
    assert done
    work.job.close()
    filled.__class__ = Operated
    filled.invocations.clear()
    again = filled.verify()
    assert again.job.resumed
    assert again.run().differences == {"search": {"wrong": 1}}
    kinds = (event.get("of", "") for _, event in filled.invocations)
    assert len(done) + Counter(kinds)["table"] <= 24 + 1


def test_a_run_after_a_problem_reads_everything_again(filled: Operated) -> None:
    filled.fails = {"audit"}
    work = filled.verify()
    assert work.run().problems
    work.finish()
    work.job.close()
    filled.fails = set()
    filled.copies.index.documents.clear()
    again = filled.verify()
    assert not again.job.resumed
    assert again.run().differences == {"search": {"missing": ITEMS}}


def test_a_run_that_goes_on_looks_again(filled: Operated) -> None:
    alter_the_document(filled, 5)
    alter_a_sum(filled, 6)
    work = filled.verify()
    work.run()
    assert {each["kind"] for each in work.differences()} == {"wrong", "sum"}
    filled.repair(each for each in work.differences() if each["kind"] == "wrong")
    filled.copies.ledger.totals["group#6"]["amount"] -= Decimal("0.01")
    work.job.close()
    again = filled.verify()
    assert again.job.resumed
    assert (again.run().complete, again.report.count) == (True, 0)


def test_items_of_a_run_that_goes_on_are_looked_at_again(filled: Operated) -> None:
    """Their first report was not written, and the copy was repaired since."""
    alter_the_document(filled, 5)
    work = filled.verify()
    assert work.run_items([{"id": {"S": "item-5"}}]).count == 1
    filled.repair(work.differences())
    work.job.close()
    assert filled.verify().run_items([{"id": {"S": "item-5"}}]).complete


def test_what_was_read_long_ago_is_read_again(filled: Operated) -> None:
    """The first run ended before its report; what was damaged since would be all right."""
    work = filled.verify()
    assert work.run().complete
    work.job.close()
    lose_the_document(filled, 5)
    filled.clock.sleep(FRESH_SECONDS + 1)
    again = filled.verify()
    assert again.job.resumed
    assert again.run().differences == {"search": {"missing": 1}}


def test_a_job_that_is_done_holds_no_item(filled: Operated, jobs_folder: Path) -> None:
    """A person's key and sums would outlive their erasure."""
    lose_the_document(filled, 3)
    work = filled.verify("done")
    assert work.run().count == 1
    assert next(work.differences())["item"] == filled.id(3)
    work.finish()
    work.job.close()
    files = [path for path in jobs_folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if filled.id(3).encode() in path.read_bytes()]


def test_an_interrupted_run_of_another_day_begins_again(filled: Operated) -> None:
    first = Job("old", {})
    first.add_parts(["a"])
    first.close()
    os.utime(first.path, (1, 1))
    assert Job("old", {}, stale_seconds=3600).parts() == []


def test_a_document_without_an_object_under_cdc_is_foreign(filled: Operated) -> None:
    filled.copies.index.documents[filled.id(5)] = {"amount": 1, CDC: None}
    assert list(found(filled, "first")) == [("search", "foreign", filled.id(5))]
    assert repaired(filled, "second").complete
    assert list(found(filled, "third")) == []


def test_two_at_once_do_not_share_a_job(filled: Operated) -> None:
    first = filled.verify()
    with pytest.raises(OperationError, match="is at work in another process"):
        filled.verify()
    first.job.close()


def test_a_job_of_other_work_is_refused(filled: Operated) -> None:
    filled.backfill("mine").job.close()
    with pytest.raises(UsageError, match=r"was begun with other options \(command\)"):
        filled.verify("mine")


def test_a_slow_function_is_asked_about_fewer_differences(filled: Operated) -> None:
    """As in the walk: it would be out of time at each look, and nothing would be verified."""
    for number in range(20):
        lose_the_document(filled, number)
    ask = Operated.invoke

    class Slow(Operated):
        def invoke(self, processor: str, event: Any) -> Any:
            if event.get("of") == "items" and len(event["Records"]) > 5:
                message = "Task timed out"
                raise InvocationFailed(message)
            return ask(self, processor, event)

    filled.__class__ = Slow
    report = filled.verify().run()
    assert (report.verified, report.count) == (True, 20)


def test_an_item_that_kills_leaves_the_others_verified(filled: Operated) -> None:
    for number in range(20):
        lose_the_document(filled, number)
    ask = Operated.invoke
    killer = {"Keys": {"id": {"S": "item-7"}}, "store": 0}

    class Dying(Operated):
        def invoke(self, processor: str, event: Any) -> Any:
            if event.get("of") == "items" and killer in event["Records"]:
                message = "Runtime exited with error: signal: killed"
                raise InvocationFailed(message)
            return ask(self, processor, event)

    filled.__class__ = Dying
    report = filled.verify().run()
    assert (report.verified, report.count, report.moving) == (False, 19, 1)


@pytest.mark.parametrize(("reason", "asked"), [("Throttled", walk.PATIENCE + 1), (TIME_IS_UP, 2)])
def test_a_sink_that_stays_silent_is_asked_once_each_time(
    filled: Operated, reason: str, asked: int
) -> None:
    """Two requests about differences: the first is repeated, unless its reason stays."""
    for number in (5, 6):
        alter_the_document(filled, number)
    ask, looks = Operated.invoke, []

    class Silent(Operated):
        def invoke(self, processor: str, event: Any) -> Any:
            if event.get("of") == "items" and event["Records"]:
                looks.append(event)
                message = "no answer"
                raise InvocationFailed(message, reason, outage=True)
            return ask(self, processor, event)

    filled.__class__ = Silent
    with patch("dynamodb_streams_cdc.operations.verify.ASKED_AT_ONCE", 1):
        report = filled.verify().run()
    assert (len(looks), report.moving) == (asked, 2)


def test_a_sink_that_is_out_leaves_the_others_verified(filled: Operated) -> None:
    filled.fails = {"search"}
    report = filled.verify().run()
    assert not report.complete
    assert len(report.problems) == 1
    assert report.problems[0].startswith("search was not verified to its end")
    assert report.read["aggregation"] > ITEMS


def test_sums_are_compared_while_another_sink_is_out(filled: Operated) -> None:
    ask = Operated.invoke

    class Out(Operated):
        def invoke(self, processor: str, event: Any) -> Any:
            self.fails = {"search"} if event.get("of") == "table" else set()
            return ask(self, processor, event)

    filled.__class__ = Out
    alter_a_sum(filled, 5)
    report = filled.verify().run()
    assert len(report.problems) == 1
    assert report.differences == {"aggregation": {"sum": 1}}


def test_sums_that_move_are_read_again(filled: Operated) -> None:
    ask = Operated.invoke
    asked: list[str] = []

    class Moving(Operated):
        def invoke(self, processor: str, event: Any) -> Any:
            if event.get("of") == "sums":
                asked.append(processor)
                if len(asked) == 2:  # between the first sums and the second
                    group = f"group#{self.item(5)['group']}"
                    self.copies.ledger.moved[group] += 1
            return ask(self, processor, event)

    filled.__class__ = Moving
    report = filled.verify().run()
    assert (report.complete, report.moving, len(asked)) == (True, 0, 4)
    assert report.read["search"] == 2 * ITEMS


@dataclass(frozen=True)
class ByNumber(SinkChoice):
    """Gives odd items another sink."""

    even: Sink
    odd: Sink

    @property
    def sinks(self) -> Mapping[str, Sink]:
        return {"even": self.even, "odd": self.odd}

    def entity_of(self, keys: Image) -> str:
        return ("even", "odd")[int(keys["id"][-1]) % 2]

    def sink_of(self, keys: Image) -> Sink:
        return self.sinks[self.entity_of(keys)]


def divide(o: Operated, odd: Sink) -> None:
    """Give the odd items of the aggregation a sink of their own, and fill the copies."""
    processor = o.handlers["aggregation"]
    assert isinstance(processor, Processor)
    sink = ByNumber(Aggregation(o.copies.ledger, contributions), odd)
    o.handlers["aggregation"] = replace(processor, sink=sink)
    o.backfill().run()


WITHOUT_SUMS = "its sums: those of the aggregation alone can be compared, and of one ledger"


def test_sums_of_several_ledgers_are_not_compared() -> None:
    """The rows of one would be added up with those of the other."""
    o = Operated(ITEMS)
    divide(o, Aggregation(MemoryLedger(), contributions))
    report = o.verify().run()
    assert (report.count, report.verified) == (0, True)
    assert report.left_out == {"aggregation": [WITHOUT_SUMS]}
    assert o.verify("part", share=0.5).run().left_out == {}


@pytest.mark.parametrize("ledgers", [1, 2])
def test_sums_of_a_further_sink_are_its_own(ledgers: int) -> None:
    """Its rows were added to the ledger's, and several ledgers of it left out the sums of both."""
    o = Operated(ITEMS)
    o.backfill().run()
    processor = o.handlers["aggregation"]
    assert isinstance(processor, Processor)
    even, odd = (Aggregation(MemoryLedger(), contributions) for _ in range(2))
    sink = ByNumber(even, odd if ledgers == 2 else even)
    o.handlers["board"] = replace(processor, name="board", sink=sink)
    work = o.backfill("board")
    work.processors = ["board"]
    work.run()
    alter_a_sum(o, 5)
    verification = o.verify()
    verification.processors = {"board": "board", **SINKS}
    report = verification.run()
    assert report.differences == {"aggregation": {"sum": 1}}
    assert report.left_out == {"board": [WITHOUT_SUMS]}


def test_an_entity_that_cannot_be_compared_is_named() -> None:
    class Mails:
        def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
            return Outcome(applied=len(changes))

    o = Operated(ITEMS)
    divide(o, Mails())
    report = o.verify().run()
    assert (report.count, report.verified) == (0, True)
    left_out = {"aggregation": ["entity odd: the copies of its sink cannot be read one by one"]}
    assert report.left_out == left_out
    assert o.verify("one", entity="even").run().left_out == {}
    keys = [serialize_item({"id": f"item-{number}"}) for number in range(2)]
    assert o.verify("even-item").run_items(keys[:1]).left_out == {}
    assert o.verify("odd-item").run_items(keys[1:]).left_out == left_out


def test_sums_that_always_move_are_not_verified(filled: Operated) -> None:
    """Every round reads the ledger, and the first alone looks up the items of its rows."""
    alter_a_sum(filled, 5)
    ask = Operated.invoke

    class Busy(Operated):
        def invoke(self, processor: str, event: Any) -> Any:
            if event.get("of") == "sums":
                for aggregate in self.copies.ledger.totals:
                    self.copies.ledger.moved[aggregate] += 1
            return ask(self, processor, event)

    filled.__class__ = Busy
    filled.invocations.clear()
    report = filled.verify().run()
    assert (report.count, report.moving, report.complete) == (0, 7, False)
    assert report.unverified == {"aggregation"}
    rounds = Counter(
        event.get("lookUp", True)
        for processor, event in filled.invocations
        if processor == "aggregation" and event.get("of") == "copies"
    )
    assert rounds[False] == 2 * rounds[True] > 0


def test_rows_that_are_added_up_are_not_looked_up(filled: Operated) -> None:
    asked = {"operation": "verify", "of": "copies", "keys": {"id": "S"}, "Records": []}
    whole = filled.invoke("aggregation", asked)
    added = filled.invoke("aggregation", {**asked, "lookUp": False})
    assert added["sums"] == whole["sums"] != {}
    assert added["units"] < whole["units"]


def test_a_share_reads_a_part(filled: Operated) -> None:
    report = filled.verify(share=0.01).run()
    assert report.complete
    assert 0 < sum(report.read.values()) < ITEMS


def test_a_share_that_is_read_is_told(filled: Operated) -> None:
    """A thousandth at least, which may be more than was asked for."""
    assert filled.verify(share=0.00001).run().share == 0.001
    assert filled.verify("tenth", share=0.0999).run().share == 0.1


def test_a_share_reads_a_part_of_the_index(filled: Operated) -> None:
    work = filled.verify(share=0.5)
    assert work.run().complete
    found = sum(part.read for part in work.job.parts("copies0/search/"))
    assert ITEMS / 4 < found < ITEMS * 3 / 4


LARGEST = 4_000


class Small(Operated):
    """Functions whose responses may have `LARGEST` bytes."""

    def invoke(self, processor: str, event: Any) -> Any:
        answer = super().invoke(processor, event)
        if len(json.dumps(answer)) > LARGEST:
            message = "response size exceeded"
            raise InvocationFailed(message, RESPONSE_TOO_LARGE)
        return answer


def test_no_response_is_larger_than_lambda_takes(
    filled: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither that with the differences of a page, nor that to a second look."""
    monkeypatch.setattr(parts, "PAGE_BYTES", 1_500)
    monkeypatch.setattr(parts, "RESPONSE_BYTES", 2_000)
    for number in range(ITEMS):
        alter_the_document(filled, number)
        stale_row(filled, number)
        bring_in_a_stranger(filled, number)
    filled.__class__ = Small
    report = filled.verify(segments=1).run()
    assert report.problems == []
    assert report.differences == {
        "search": {"wrong": ITEMS, "foreign": ITEMS},
        "aggregation": {"wrong": ITEMS},
    }


def test_refusals_of_many_items_take_several_responses(
    filled: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "PAGE_ITEMS", 5)
    monkeypatch.setattr(parts, "RESPONSE_BYTES", 2_000)
    for number in range(ITEMS):
        item = {**filled.item(number), "poison": "hopeless"}
        filled.table.put(item, filled.clock.now())
    filled.__class__ = Small
    filled.copies.index.documents.clear()
    work = filled.backfill("again", segments=1)
    work.processors = ["search"]
    report = work.run()
    assert (report.problems, report.refused) == ([], ITEMS)
    assert len(report.failures[0]["error"]) <= backfill.MOST_TEXT


def test_a_repair_leaves_no_fill_open(filled: Operated) -> None:
    """A purge would wait for one that no command ends."""
    forgotten_history(filled, 0)
    work = filled.verify()
    work.run()
    filled.repair(work.differences())
    filled_by = [event.get("fill") for _, event in filled.invocations if event.get("fill")]
    assert filled_by[-1] == "repair"
    assert filled.invocations[-1][1]["erase"] == ["fill/repair"]


def throttled(entries: Sequence[Any], deadline: Deadline) -> list[Exception]:
    return [RetryableError("throttled") for _ in entries]


def test_what_a_throttled_log_did_not_take_is_left(filled: Operated) -> None:
    for number in range(3):
        forgotten_history(filled, number)
    work = filled.verify()
    work.run()
    filled.seconds = 60.0
    with patch.object(filled.copies.log, "insert", throttled):
        report = filled.repair(work.differences())
    assert not report.complete
    assert (report.repaired["audit"], report.moved["audit"]) == (0, 0)
    assert [each.item for each in report.unrepaired] == [filled.id(number) for number in range(3)]
    assert report.unrepaired[0].why == f"RetryableError: throttled: {AGAIN}"
    again = filled.repair(work.differences())
    assert (again.complete, again.repaired["audit"]) == (True, 3)


def test_items_to_fill_are_read_a_few_at_one_time(
    filled: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred of the largest would be more than a function can hold."""
    read_many = SimulatedSourceTable.read_many
    asked: list[int] = []

    def counted(self: SimulatedSourceTable, keys: Sequence[Any], deadline: Deadline) -> Any:
        asked.append(len(keys))
        return read_many(self, keys, deadline)

    for number in range(ITEMS):
        forgotten_history(filled, number)
        item = {**filled.item(number), "text": "x" * 390_000}
        filled.table.items[filled.table.key_of(item)] = item
    keys = [{"Keys": {"id": {"S": f"item-{number}"}}} for number in range(ITEMS)]
    event = {"operation": "backfill", "streamArn": filled.arn, "keys": {"id": "S"}}
    monkeypatch.setattr(SimulatedSourceTable, "read_many", counted)
    answer = filled.invoke("audit", {**event, "Records": keys})
    assert (answer["applied"], answer["read"], answer["done"]) == (ITEMS, ITEMS, True)
    assert asked == [3, 6, 10, 10, 10, 10, 10, 1]


OUT_OF_MEMORY = InvocationFailed("out of memory", "Runtime.ExitError")


@pytest.mark.parametrize("damage", [lose_the_document, stale_row, forgotten_history])
def test_a_function_that_dies_is_asked_for_fewer(filled: Operated, damage: Damage) -> None:
    """Down to the items that it dies of alone."""
    for number in range(20):
        damage(filled, number)
    work = filled.verify()
    work.run()

    class Dying(Operated):
        def invoke(self, processor: str, event: Any) -> Any:
            if len(event["Records"]) > 3 or filled.id(7) in map(self.id_of, event["Records"]):
                raise OUT_OF_MEMORY
            return super().invoke(processor, event)

        def id_of(self, record: Any) -> str:
            return identity(self.table, {"id": record["Keys"]["id"]["S"]})

    filled.__class__ = Dying
    report = filled.repair(work.differences())
    assert report.repaired.total() == 19
    [left] = report.unrepaired
    assert (left.item, left.why) == (filled.id(7), "Runtime.ExitError: out of memory")


def test_an_outage_is_not_asked_about_in_halves(filled: Operated) -> None:
    for number in range(20):
        lose_the_document(filled, number)
    work = filled.verify()
    work.run()
    filled.invocations.clear()
    filled.fails.add("search")
    assert len(filled.repair(work.differences()).unrepaired) == 20
    assert len(filled.invocations) == 1


def test_a_sink_that_stays_out_is_left_alone() -> None:
    """Each of the 500 requests for 50,000 differences could wait for 90 seconds."""
    out = Operated(0)
    out.fails.add("search")
    told = {"store": 0, "token": "", "version": None, "detail": ""}
    found = (
        {"processor": p, "kind": "missing", "item": f"{n}", "keys": {"id": {"S": f"{n}"}}, **told}
        for n in range(1000)
        for p in ("search", "aggregation")
    )
    report = out.repair(found)
    assert [p for p, _ in out.invocations].count("search") == PATIENCE
    assert (len(report.unrepaired), report.repaired) == (1000, {"aggregation": 1000})
    assert report.unrepaired[-1].why.startswith("not tried: ")


def test_a_slow_log_is_asked_to_the_end(filled: Operated) -> None:
    """Each request begins some histories, and has no time for the others."""
    told = {"keys": {"id": {"S": "1"}}, "store": 0, "token": "", "version": None, "detail": ""}
    found = [{"processor": "audit", "kind": "missing", "item": "1", **told}] * 500
    answer = {"applied": 60, "failures": [], "problem": "DeadlineExceeded: ", "done": False}
    with patch.object(filled, "invoke", lambda sink, event: {"notes": {}, **answer}):
        report = filled.repair(found)
    assert report.repaired == {"audit": 300}


def test_a_sink_that_repairs_nothing_is_not_done(filled: Operated) -> None:
    lose_the_document(filled, 5)
    work = filled.verify()
    work.run()
    answer = {"repaired": 0, "repairable": False, "gone": 0, "failures": []}
    with patch.object(filled, "invoke", lambda sink, event: answer):
        report = filled.repair(work.differences())
    assert (report.complete, report.moved["search"]) == (False, 0)
    assert "keeps no copies that a repair" in report.unrepaired[0].why


def test_an_answer_that_is_none_of_a_fill_is_not_done(filled: Operated) -> None:
    forgotten_history(filled, 5)
    work = filled.verify()
    work.run()
    with patch.object(filled, "invoke", lambda sink, event: {"notes": {}, "applied": 0}):
        report = filled.repair(work.differences())
    assert "does not know the operation backfill" in report.unrepaired[0].why
