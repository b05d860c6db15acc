"""The check of exercise 2."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from typing import TypeAlias

from dynamodb_streams_cdc import Change, Image
from dynamodb_streams_cdc.testing.simulation import SimulatedTable
from exercises.checks import reading
from exercises.checks.bench import Bench, a_digit_more, faults, item, order, wrong
from exercises.stores import SearchIndex

Sync: TypeAlias = Callable[[Change, SearchIndex], None]

PLACED, SHIPPED, REFUNDED = order(), order(status="shipped"), order(status="refunded")
MINUTE = 60.0
LOOKS = 3
"""How often a function may look at a document before it writes: others write after each."""


def what_is_written_is_found(sync: Sync) -> None:
    """An order is placed, shipped, deleted."""
    for states in ([PLACED], [PLACED, SHIPPED]):
        bench = _written(sync, *states)
        if _status(bench.store) != states[-1]["status"]:
            wrong(
                f"Order 1001 is {states[-1]['status']}, and readers find {_found(bench.store)}.",
                "The document of an order has what document(change.new_image) says. A script of "
                "index.update that returns None writes nothing.",
                reading.SEARCH,
            )
        wanted, found = _as_text(states[-1]), bench.store.search()[item()]
        for name, value in wanted.items():
            if found.get(name) != value:
                wrong(
                    f"Order 1001 has {name} {value!r} as text, and readers find "
                    f"{repr(found[name]) if name in found else f'no {name}'}.",
                    "The document of an order has what document(change.new_image) says: all that "
                    "the order has, as text.",
                    reading.SEARCH,
                )
    bench = _written(sync, PLACED, None)
    if bench.store.search():
        wrong(
            f"Order 1001 was deleted, and readers still find {_found(bench.store)}.",
            "change.new_image is None after a delete. Either there is no document then, or one "
            'that readers do not see because it has "deleted": True. A script of index.update that '
            "returns None leaves the document as it is.",
            reading.TOMBSTONES,
        )


def an_old_batch_comes_back(sync: Sync) -> None:
    """An order is placed and, a minute later, shipped. Then the first batch comes again."""
    bench = _written(sync, PLACED, SHIPPED)
    bench.again()
    if _status(bench.store) != "shipped":
        wrong(
            "Order 1001 was placed, and shipped a minute later. Then the first batch was delivered "
            f"again, as it may be after a crash, and readers find {_found(bench.store)}.",
            "The function wrote what came last, which is not what happened last. The index has to "
            "know how new the document is that it holds.",
            reading.VERSIONS,
        )


def two_changes_within_a_second(sync: Sync) -> None:
    """An order is placed and shipped at once; then the batch comes again, and breaks off."""
    bench = Bench(sync, SearchIndex())
    bench.write(PLACED, SHIPPED)
    bench.run()
    if _status(bench.store) != "shipped":
        wrong(
            "Order 1001 was placed and shipped within one second, and readers find "
            f"{_found(bench.store)}.",
            "DynamoDB rounds the time of a record down to the second. By their time neither of the "
            "two is newer, so the second was refused.",
            reading.TIMES,
        )
    placed = bench.change(0)
    sync(placed, bench.store)
    if _status(bench.store) != "shipped":
        wrong(
            "Order 1001 was placed and shipped within one second. Then the first of the two came "
            f"again, and readers find {_found(bench.store)}.",
            "DynamoDB rounds the time of a record down to the second. By their time neither of the "
            "two is older, so the first overwrote the second.",
            reading.TIMES,
        )


def what_is_deleted_stays_deleted(sync: Sync) -> None:
    """An order is placed and deleted. Then the first batch comes again."""
    bench = _written(sync, PLACED, None)
    bench.again()
    if bench.store.search():
        wrong(
            "Order 1001 was placed, and deleted a minute later. Then the first batch was delivered "
            f"again, and readers find {_found(bench.store)}: an order that is gone.",
            "With the document its version was forgotten, so nothing was newer than what came. "
            'A delete has to leave something behind: a tombstone, with its version and "deleted": '
            "True.",
            reading.TOMBSTONES,
        )


def what_is_deleted_can_be_made_again(sync: Sync) -> None:
    """An order is placed, deleted, and placed again; then the delete comes again."""
    bench = _written(sync, PLACED, None, SHIPPED)
    if _status(bench.store) != "shipped":
        written = bench.store.documents.get(item(), {}).get("status") == "shipped"
        wrong(
            f"Order 1001 was deleted, and then written again. Readers find {_found(bench.store)}.",
            'The new state was written, and "deleted": True of the tombstone is still there. '
            "Replace the document; do not merge it with the one before."
            if written
            else "A tombstone refuses what is older than the delete, and nothing else.",
            reading.SEARCH if written else reading.TOMBSTONES,
        )
    sync(bench.change(1), bench.store)
    if _status(bench.store) != "shipped":
        wrong(
            "Order 1001 was deleted, and then written again. Then the delete came once more, and "
            f"readers find {_found(bench.store)}.",
            "A delete can be old news, too: compare its version as that of any other change.",
            reading.VERSIONS,
        )


def an_attribute_that_is_dropped(sync: Sync) -> None:
    """An order loses its note: by a change, and by being deleted and placed again."""
    noted: Image = {**PLACED, "note": "call first"}
    for states in ([noted, SHIPPED], [noted, None, SHIPPED]):
        bench = _written(sync, *states)
        if "note" in bench.store.search().get(item(), {}):
            wrong(
                f"Order 1001 {'was deleted and written again' if None in states else 'changed'} "
                "without its note, and readers still find the note.",
                "The new image is all that there is of the order. A document that is merged with "
                "the one before it keeps what the order lost; replace it.",
                reading.SEARCH,
            )


def sequence_numbers_that_grow_a_digit(sync: Sync) -> None:
    """The sequence numbers of a stream get longer: 999... is followed by 1000..."""
    index, changes = SearchIndex(), a_digit_more()
    for change in changes:
        sync(change, index)
    wanted = (changes[-1].new_image or {})["updated_by"]
    found = index.search().get(item(), {}).get("updated_by")
    if found != wanted:
        numbers = [change.sequence_number for change in changes]
        wrong(
            f"Four changes, the last by {wanted!r}, and readers find that by {found!r}. Their "
            f"sequence numbers begin with {', '.join(number[:3] for number in numbers)}, and have "
            f"{', '.join(str(len(number)) for number in numbers)} digits.",
            "Compared as text, 1000 is less than 999. change.version pads them; it also knows "
            "which stream came first.",
            reading.NUMBERS,
        )


def two_functions_at_once(sync: Sync) -> None:
    """While one function works on a change, another brings a newer one."""
    bench = _written(sync, PLACED, SHIPPED, REFUNDED, None, PLACED)
    placed, shipped, refunded, deleted, again = (bench.change(n) for n in range(5))
    cases = (
        (placed, shipped, "`shipped`", refunded, "refunded"),
        (None, placed, "`placed`, its first state", refunded, "refunded"),
        (refunded, deleted, "its delete", again, "placed"),
    )
    for (held, change, what, newer, status), calls in product(cases, range(LOOKS)):
        index = SearchIndex()
        if held:
            sync(held, index)
        _act_after(calls, index, partial(sync, newer, index))
        sync(change, index)
        while happens := index.meanwhile:
            index.meanwhile = None
            happens()
        if _status(index) != status:
            wrong(
                f"One function read the document of order 1001, to compare it with {what}. Before "
                f"it wrote, another function wrote `{status}`, which is newer. Then the first "
                f"wrote, and readers find {_found(index)}.",
                "Comparing and writing are two steps, and anybody can come between them: a poller "
                "that was believed dead, a redrive, a backfill. index.update does both in one.",
                reading.SEARCH,
            )


def an_index_out_of_reach(sync: Sync) -> None:
    """For a while, the index does not answer."""
    bench = Bench(sync, SearchIndex())
    bench.lab.fail_sink(seconds=1)
    bench.write(PLACED, SHIPPED)
    bench.run()
    if _status(bench.store) != "shipped":
        wrong(
            f"The index could not be reached for a second, and readers find {_found(bench.store)}.",
            "Your function caught the error and returned, which tells Lambda that all is done. Let "
            "it out: then the batch is delivered again.",
            reading.SWALLOWED,
        )


def every_failure(sync: Sync) -> None:
    """Crashes, outages, redeliveries, replays, splits of shards, new streams."""
    faults(sync, SearchIndex, _differences, reading.VERSIONS)


STEPS = {
    what_is_written_is_found: 2,
    an_old_batch_comes_back: 1,
    two_changes_within_a_second: 1,
    what_is_deleted_stays_deleted: 2,
    what_is_deleted_can_be_made_again: 4,
    an_attribute_that_is_dropped: 4,
    sequence_numbers_that_grow_a_digit: 1,
    two_functions_at_once: 3,
    an_index_out_of_reach: 4,
    every_failure: 4,
}
"""The steps, and the number of the hint that helps with each."""

HINTS = (
    "A document may have fields of your own. What would the function have to find in it to know "
    "that the change at hand is older? (change.time is rounded to the second, sequence numbers "
    "are text of varying length; change.version compares as it is.)",
    "If a document is removed, its version is gone too. Write a delete as you write anything else: "
    'a document with the version of the change, and "deleted": True, which readers do not see.',
    "Between index.get and index.put another function may write. index.update(id, script) calls "
    "your script with the document that is there, and no one writes it meanwhile.",
    "Inside of sync, define newest(held): return None if held is not None and held['version'] is "
    "greater than change.version or equal to it; otherwise return the document with its version, "
    "or the tombstone. Then index.update(change.item_id, newest).",
)

LEARNT = (
    "The newest change wins, by its version, wherever and whenever it is delivered; a delete is a "
    "change like any other; and the comparison and the write must be in the same step. Search does "
    "this on OpenSearch: the script is a scripted upsert, and an alias hides the tombstones."
)


def _written(sync: Sync, *states: Image | None) -> Bench[SearchIndex]:
    """Return a bench on which an order had these states, a minute apart."""
    bench = Bench(sync, SearchIndex())
    bench.write(*states, pause=MINUTE)
    bench.run()
    return bench


def _act_after(calls: int, index: SearchIndex, happens: Callable[[], object]) -> None:
    """Let something happen after one more call than so many."""
    index.meanwhile = partial(_act_after, calls - 1, index, happens) if calls else happens


def _status(index: SearchIndex) -> object:
    return index.search().get(item(), {}).get("status")


def _found(index: SearchIndex) -> str:
    found = index.search().get(item())
    if found is None:
        others = ", ".join(map(repr, index.search()))
        but = f" under {item()!r}, the change.item_id, but {others}" if others else ""
        return f"nothing{but}"
    status = found.get("status")
    return f"it {status}" if isinstance(status, str) else f"{dict(found)}"


def _differences(index: SearchIndex, table: SimulatedTable) -> Iterator[str]:
    wanted = {f"items/S={state['id']}": _as_text(state) for state in table.items.values()}
    held = index.search()
    for item_id in sorted(wanted.keys() | held.keys()):
        want, found = wanted.get(item_id), held.get(item_id)
        if want is None:
            yield f"{item_id} is gone, and readers find it"
        elif found is None:
            yield f"{item_id} is in the table, and readers do not find it"
        elif any(found.get(name) != value for name, value in want.items()):
            yield f"{item_id} is {want}, and readers find {dict(found)}"


def _as_text(state: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in state.items()}
