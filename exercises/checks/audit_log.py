"""The check of exercise 1."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NoReturn, TypeAlias

from dynamodb_streams_cdc import Change, ChangeKind
from dynamodb_streams_cdc.change import TTL_PRINCIPAL
from dynamodb_streams_cdc.testing.simulation import SimulatedTable
from exercises.checks import reading
from exercises.checks.bench import (
    Bench,
    Wrong,
    a_digit_more,
    change_of,
    faults,
    item,
    order,
    short,
    wrong,
)
from exercises.stores import AlreadyThere, AuditTable, Entry

Audit: TypeAlias = Callable[[Change, AuditTable], None]

PLACED, SHIPPED = order(), order(status="shipped", by="warehouse")
MINUTE = 60.0
STATUSES = ("placed", "shipped", "refunded", "placed", "shipped", "refunded")


def every_change_leaves_an_entry(audit: Audit) -> None:
    """An order is placed, shipped and deleted, minutes apart."""
    bench = Bench(audit, AuditTable())
    bench.write(PLACED, SHIPPED, None, pause=MINUTE)
    bench.run()
    told = [entry.get("kind") for entry in bench.store.history(item())]
    for kind in (ChangeKind.INSERT, ChangeKind.MODIFY, ChangeKind.REMOVE):
        elsewhere = sorted(
            {
                owner
                for (owner, _), entry in bench.store.rows.items()
                if owner != item() and entry.get("kind") == kind
            }
        )
        if kind not in told and elsewhere:
            wrong(
                "Order 1001 was placed, shipped and deleted, and the log has no entry under "
                f"{item()!r} that says {kind}. It has one under "
                f"{', '.join(map(repr, elsewhere))}.",
                "The partition key of the log is change.item_id: the first argument of put and "
                "insert. Under another one, log.history does not find the entry.",
                reading.EXAMPLE_1,
            )
        if kind not in told:
            wrong(
                f"Order 1001 was placed, shipped and deleted, and no entry of it says {kind}. "
                f"The log has: {_kinds(bench.store)}.",
                "Each change needs an entry with its kind: a REMOVE too, after which there is no "
                "new image.",
                reading.EXAMPLE_1,
            )


def changes_within_a_second(audit: Audit) -> None:
    """An order is placed, shipped and refunded at once."""
    collision = Wrong(
        "Order 1001 was placed, shipped and refunded within one second, and not each of the three "
        "has an entry.",
        "DynamoDB rounds the time of a record down to the second, so changes share it, and a key "
        "made of it. Each change has something that no other change of its item has.",
        reading.TIMES,
    )
    bench = Bench(audit, AuditTable())
    bench.explain = _when_it_is_there(collision)
    bench.write(PLACED, SHIPPED, order(status="refunded"))
    bench.run()
    if len(bench.store.history(item())) < 3:
        raise collision


def who_did_it_and_what_it_was(audit: Audit) -> None:
    """An order is placed by the shop, shipped by the warehouse, and deleted by who knows."""
    bench = Bench(audit, AuditTable())
    bench.write(PLACED, SHIPPED, None, pause=MINUTE)
    bench.run()
    wanted = (
        {"kind": "INSERT", "who": "shop", "before": None, "after": PLACED},
        {"kind": "MODIFY", "who": "warehouse", "before": PLACED, "after": SHIPPED},
        {"kind": "REMOVE", "who": None, "before": SHIPPED, "after": None},
    )
    entries = {str(entry.get("kind")): entry for entry in bench.store.history(item())}
    for want in wanted:
        entry = entries[str(want["kind"])]
        for name, value in want.items():
            if name not in entry or entry[name] != value:
                if name == "who" and value is None:
                    wrong(
                        f"The entry of the REMOVE {_should_say(entry, name, value)}.",
                        "A delete carries nobody's name: `updated_by` in the old image is the "
                        "author of the change before. change.actor knows the difference.",
                        reading.AUTHORS,
                    )
                wrong(
                    f"The entry of the {want['kind']} {_should_say(entry, name, value)}.",
                    "The record holds both images, and the change has the actor: who wrote the "
                    "item, as the application says in it. What is not kept now is gone tomorrow.",
                    reading.AUTHORS,
                )


def an_order_from_before_the_log(audit: Audit) -> None:
    """An order was placed when there was no stream yet; then it is shipped."""
    table, log = SimulatedTable("orders-1A2B", ("order_id",)), AuditTable()
    table.put(PLACED, 0.0)
    [shard] = table.enable_stream(MINUTE).shards.values()
    table.put(SHIPPED, 2 * MINUTE)
    for record in shard.records:
        audit(change_of(record), log)
    entry = (log.history(item()) or [{}])[0]
    for name, value in (("kind", "MODIFY"), ("before", PLACED)):
        if entry.get(name) != value:
            wrong(
                "Order 1001 was placed before there was a log, and then shipped. The entry "
                f"{_should_say(entry, name, value)}.",
                "The log does not have what was before it began. The change does: change.kind and "
                "change.old_image.",
                reading.EXAMPLE_1,
            )


def an_expiry_is_told_from_a_delete(audit: Audit) -> None:
    """Time to Live removes an order."""
    bench = Bench(audit, AuditTable())
    bench.write(PLACED)
    bench.lab.expire({"order_id": "1001"})
    bench.run()
    [entry] = [e for e in bench.store.history(item()) if e.get("kind") == ChangeKind.REMOVE]
    if entry.get("who") != TTL_PRINCIPAL:
        wrong(
            f"Order 1001 expired. The entry {_should_say(entry, 'who', TTL_PRINCIPAL)}.",
            f"change.actor is {TTL_PRINCIPAL} when Time to Live removed an item.",
            reading.AUTHORS,
        )


def a_batch_delivered_twice(audit: Audit) -> None:
    """Lambda delivers a batch again that was done."""
    bench = Bench(audit, AuditTable())
    bench.explain = _when_it_is_there(_let_out())
    bench.lab.redeliver()
    bench.write(PLACED, SHIPPED, None)
    bench.run()
    _compare(bench.store, "A batch of three changes was delivered twice")


def a_function_that_dies(audit: Audit) -> None:
    """The function dies in its first call of the table, and the batch is delivered again."""
    bench = Bench(audit, AuditTable())
    bench.explain = _when_it_is_there(_let_out())
    bench.lab.crash_before()
    bench.write(PLACED, SHIPPED, None)
    bench.run()
    _compare(bench.store, "The function died before it wrote the first entry of three")


def a_table_out_of_reach(audit: Audit) -> None:
    """For a while, the log's table does not answer."""
    bench = Bench(audit, AuditTable())
    bench.lab.fail_sink(seconds=1)
    bench.write(PLACED, SHIPPED, None)
    bench.run()
    if len(bench.store.history(item())) < 3:
        wrong(
            "The log's table could not be reached for a second, and the log lacks "
            f"{3 - len(bench.store.history(item()))} of 3 changes now.",
            "Your function caught the error and returned, which tells Lambda that all is done. "
            "Catch AlreadyThere alone and let out the rest: then the batch is delivered again.",
            reading.SWALLOWED,
        )


def an_old_batch_comes_back(audit: Audit) -> None:
    """A poller that was believed dead delivers the first batch hours later."""
    bench = Bench(audit, AuditTable())
    bench.explain = _when_it_is_there(_let_out())
    states = [order(status=status, by=f"clerk {n}") for n, status in enumerate(STATUSES, 1)]
    bench.write(*states[:1], pause=MINUTE)
    bench.write(*states[1:])
    bench.run()
    bench.again()
    told = [entry.get("after") for entry in bench.store.history(item())]
    if told != states:
        _disorder(told, [state["updated_by"] for state in states])


def sequence_numbers_that_grow_a_digit(audit: Audit) -> None:
    """The sequence numbers of a stream get longer: 999... is followed by 1000..."""
    log, changes = AuditTable(), a_digit_more()
    for change in changes:
        audit(change, log)
    told = [(entry.get("after") or {}).get("updated_by") for entry in log.history(item())]
    wanted = [(change.new_image or {})["updated_by"] for change in changes]
    if told != wanted:
        wrong(
            f"Four changes in this order: {', '.join(wanted)}. The log tells them so: "
            f"{', '.join(map(str, told))}.",
            "Sequence numbers have 21 to 40 digits. Compared as text, 1000 comes before 999. "
            "change.version pads them.",
            reading.NUMBERS,
        )


def two_functions_at_once(audit: Audit) -> None:
    """While one function works on a change, another brings the same one."""
    bench = Bench(audit, AuditTable())
    bench.write(PLACED)
    bench.run()
    placed, log = bench.change(0), AuditTable()
    log.meanwhile = partial(audit, placed, log)
    try:
        audit(placed, log)
        then = "wrote over it" if log.overwritten else ""
    except AlreadyThere:
        then = "raised AlreadyThere"
    if then:
        wrong(
            "One function looked for the entry of a change, and found none. Before it wrote, "
            f"another function wrote the entry of the same change. Then the first {then}.",
            "Looking and writing are two steps, and anybody can come between them: a poller that "
            "was believed dead, a redrive. log.insert does both in one, and that the entry is "
            "there is success.",
            reading.APPEND_ONLY,
        )


def every_failure(audit: Audit) -> None:
    """Crashes, outages, redeliveries, replays, splits of shards, new streams."""
    faults(audit, AuditTable, _wrong_histories, reading.VERSIONS)


STEPS = {
    every_change_leaves_an_entry: 5,
    changes_within_a_second: 1,
    who_did_it_and_what_it_was: 4,
    an_order_from_before_the_log: 5,
    an_expiry_is_told_from_a_delete: 4,
    a_batch_delivered_twice: 3,
    a_function_that_dies: 3,
    a_table_out_of_reach: 5,
    an_old_batch_comes_back: 2,
    sequence_numbers_that_grow_a_digit: 2,
    two_functions_at_once: 3,
    every_failure: 2,
}
"""The steps, and the number of the hint that helps with each."""

HINTS = (
    "An item of a table is found by its key. Which of the things that a change has is different "
    "for each change of an order, and the same each time the change is delivered?",
    "That leaves event_id, sequence_number and version. The log is read in the order of its sort "
    "key: which of the three puts changes in the order in which they happened? (Event ids are in "
    "no order. Sequence numbers are text of 21 to 40 digits: is '1000' greater than '999'?)",
    "log.put writes over what is there; log.insert does not, and raises AlreadyThere. When a "
    "change comes a second time, is it a failure that its entry is there, or success?",
    "change.actor is who made the change: the application's `updated_by` in the new image, Time to "
    "Live for an expiry, and None for a delete, which carries nobody's name.",
    'The entry needs "kind", "who", "before" and "after": change.kind, change.actor, '
    "change.old_image, change.new_image. Insert it under (change.item_id, change.version), and "
    "catch AlreadyThere, and nothing else: with contextlib.suppress, or try and except.",
)

LEARNT = (
    "A record may come twice, so an entry's key is a function of the record: the item, and a "
    "version that sorts. Then a set that only grows is all that a log has to be: no order of "
    "delivery, no crash and no replay can do it harm. ChangeLog does the same on DynamoDB, by a "
    "role that can insert and nothing else."
)


def _let_out() -> Wrong:
    return Wrong(
        "A change came a second time, and your function raised AlreadyThere.",
        "Lambda takes that for a failure and delivers the batch again, with the same result each "
        "time: the shard stands still. The entry is there, which is what you wanted: that is "
        "success.",
        reading.APPEND_ONLY,
    )


def _when_it_is_there(wrong: Wrong) -> Callable[[Exception], Wrong | None]:
    return lambda error: wrong if isinstance(error, AlreadyThere) else None


def _compare(log: AuditTable, happened: str) -> None:
    """Look for entries that are too many, too few, or written twice."""
    count = len(log.history(item()))
    if count > 3:
        wrong(
            f"{happened}: now the log has {count} entries for 3 changes.",
            "Lambda delivers at least once. A key must be the same each time that a change comes: "
            "no counter, no clock, no random number, but something that the record brings along.",
            reading.VERSIONS,
        )
    if count < 3:
        wrong(
            f"{happened}: now the log has {count} entries for 3 changes.",
            "The batch comes again, and then what is not in the log has to be written. If your "
            "function remembers what it has done, it does so too early: only the log knows.",
            reading.MARKERS,
        )
    if log.overwritten:
        wrong(
            f"{happened}, and {len(log.overwritten)} entries were written over those that were "
            "there.",
            "It was the same this time. But a function that can overwrite the log can also forge "
            "it, by mistake or by somebody's will. log.insert never overwrites; on AWS the role "
            "allows nothing else.",
            reading.APPEND_ONLY,
        )


def _disorder(told: Sequence[object], wanted: Sequence[object]) -> NoReturn:
    by = [after.get("updated_by") if isinstance(after, dict) else None for after in told]
    wrong(
        f"Order 1001 was changed by {', '.join(map(str, wanted))}, in this order; then the first "
        f"batch came once more. The log tells it so: {', '.join(map(str, by))}.",
        "Entries are read in the order of their sort key, not in the order in which they came. So "
        "the key has to sort as the changes happened, which event ids, counters of arrivals and "
        "clocks of the function do not. Versions do.",
        reading.VERSIONS,
    )


def _wrong_histories(log: AuditTable, table: SimulatedTable) -> Iterator[str]:
    for states in table.history.values():
        item_id = f"items/S={next(filter(None, states))['id']}"
        entries = log.history(item_id)
        told = [entry.get("after") for entry in entries]
        if told != states:
            yield f"{item_id} had {_amounts(states)}, and the log tells {_amounts(told)}"
            continue
        for entry, before, after in zip(entries, [None, *states[:-1]], states, strict=True):
            for name, value in (("kind", _kind(before, after)), ("before", before)):
                if entry.get(name) != value:
                    yield (
                        f"{item_id} had {_amounts(states)}; the entry whose `after` has "
                        f"{_amounts([after])} {_should_say(entry, name, value)}"
                    )
    if log.overwritten:
        yield f"the entry {log.overwritten[0]} was overwritten"


def _amounts(states: Sequence[object]) -> str:
    amounts = [state.get("amount") if isinstance(state, dict) else "nothing" for state in states]
    s = "s" if len(amounts) > 1 else ""
    return f"amount{s} {', '.join(map(str, amounts))}" if amounts else "no change"


def _kind(before: object, after: object) -> str:
    return "REMOVE" if after is None else "INSERT" if before is None else "MODIFY"


def _kinds(log: AuditTable) -> str:
    return ", ".join(str(entry.get("kind")) for entry in log.rows.values()) or "no entry at all"


def _should_say(entry: Entry, name: str, wanted: object) -> str:
    if name not in entry:
        return f"should say {name}: {short(wanted, None)}, and it has no {name!r}"
    found = entry[name]
    return f"should say {name}: {short(wanted, found)}, and it says {short(found, wanted)}"
