"""Attempts that people write on the way to a search copy, and the sentence for each."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from dynamodb_streams_cdc import Change
from exercises import exercise_2
from exercises.solutions import exercise_2 as solved_2
from exercises.stores import Document, SearchIndex
from tests.exercises.verdicts import TWO, verdict


def text_of(change: Change) -> dict[str, Any]:
    return exercise_2.document(change.new_image) if change.new_image else {"deleted": True}


def comparing(
    is_newer: Callable[[Change, Document], bool],
) -> Callable[[Change, SearchIndex], None]:
    """Return a sync that is right but for what it takes for newer."""

    def sync(change: Change, index: SearchIndex) -> None:
        def script(held: Document | None) -> Document | None:
            if held is not None and not is_newer(change, held):
                return None
            return {
                **text_of(change),
                "version": change.version,
                "time": change.timestamp,
                "number": change.sequence_number,
                "events": [*(held["events"] if held else []), change.event_id],
            }

        index.update(change.item_id, script)

    return sync


def showing_tombstones(change: Change, index: SearchIndex) -> None:
    found = exercise_2.document(change.new_image or {})
    index.put(change.item_id, {**found, "version": change.version})


def forgetting_deletes(change: Change, index: SearchIndex) -> None:
    if change.new_image is None:
        index.delete(change.item_id)
    else:
        solved_2.sync(change, index)


def burying_for_ever(change: Change, index: SearchIndex) -> None:
    if not (index.documents.get(change.item_id) or {}).get("deleted"):
        solved_2.sync(change, index)


def read_then_write(change: Change, index: SearchIndex) -> None:
    held = index.get(change.item_id)
    if held is None or held["version"] < change.version:
        index.put(change.item_id, {**text_of(change), "version": change.version})


def look_then_write(change: Change, index: SearchIndex) -> None:
    newer: list[bool] = []

    def look(held: Document | None) -> None:
        newer.append(held is None or held["version"] < change.version)

    index.update(change.item_id, look)
    if newer[0]:
        index.put(change.item_id, {**text_of(change), "version": change.version})


def failing_in_silence(change: Change, index: SearchIndex) -> None:
    with contextlib.suppress(Exception):
        solved_2.sync(change, index)


def under_its_number(change: Change, index: SearchIndex) -> None:
    index.put(str(change.keys["order_id"]), text_of(change))


def deaf_to_deletions(change: Change, index: SearchIndex) -> None:
    if change.new_image:
        solved_2.sync(change, index)


def merging_with_the_tombstone(change: Change, index: SearchIndex) -> None:
    def script(held: Document | None) -> Document | None:
        if held is not None and held["version"] >= change.version:
            return None
        return {**(held or {}), **text_of(change), "version": change.version}

    index.update(change.item_id, script)


def merging(change: Change, index: SearchIndex) -> None:
    def script(held: Document | None) -> Document | None:
        if held is not None and held["version"] >= change.version:
            return None
        return {**(held or {}), "deleted": False, **text_of(change), "version": change.version}

    index.update(change.item_id, script)


def burying_in_place(change: Change, index: SearchIndex) -> None:
    """Write a tombstone over what was there, and what is made again over the tombstone."""

    def script(held: Document | None) -> Document | None:
        if held is not None and held["version"] >= change.version:
            return None
        kept = held if held and (held["deleted"] or change.new_image is None) else {}
        return {**kept, "deleted": False, **text_of(change), "version": change.version}

    index.update(change.item_id, script)


def looking_twice(change: Change, index: SearchIndex) -> None:
    held = index.get(change.item_id) and index.get(change.item_id)
    if held is None or held["version"] < change.version:
        index.put(change.item_id, {**text_of(change), "version": change.version})


def putting_what_is_new(change: Change, index: SearchIndex) -> None:
    if index.get(change.item_id) is None:
        index.put(change.item_id, {**text_of(change), "version": change.version})
    else:
        solved_2.sync(change, index)


def putting_tombstones(change: Change, index: SearchIndex) -> None:
    if change.new_image is not None:
        solved_2.sync(change, index)
        return
    held = index.get(change.item_id)
    if held is None or held["version"] < change.version:
        index.put(change.item_id, {**text_of(change), "version": change.version})


def putting_tombstones_without_a_look(change: Change, index: SearchIndex) -> None:
    if change.new_image is None:
        index.put(change.item_id, {"deleted": True, "version": change.version})
    else:
        solved_2.sync(change, index)


def writing_the_status_alone(change: Change, index: SearchIndex) -> None:
    index.put(change.item_id, {"status": (change.new_image or {}).get("status")})


def writing_images(change: Change, index: SearchIndex) -> None:
    index.put(change.item_id, change.new_image or {"deleted": True})


def stumbling_over_deletes(change: Change, index: SearchIndex) -> None:
    index.put(change.item_id, exercise_2.document(change.new_image))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sync", "step", "sentence"),
    [
        (
            under_its_number,
            "what_is_written_is_found",
            "readers find nothing under 'orders/S=1001', the change.item_id, but '1001'.",
        ),
        (
            writing_the_status_alone,
            "what_is_written_is_found",
            "Order 1001 has order_id '1001' as text, and readers find no order_id.",
        ),
        (
            writing_images,
            "what_is_written_is_found",
            "Order 1001 has total '29.33' as text, and readers find Decimal('29.33').",
        ),
        (deaf_to_deletions, "what_is_written_is_found", "readers still find it placed"),
        (showing_tombstones, "what_is_written_is_found", "Order 1001 was deleted, and readers"),
        (stumbling_over_deletes, "what_is_written_is_found", "Your code raised AttributeError"),
        (
            comparing(lambda change, held: change.event_id not in held["events"]),
            "every_failure",
            "This is the shortest story of it",
        ),
        (
            comparing(lambda change, held: held["time"] < change.timestamp),
            "two_changes_within_a_second",
            "neither of the two is newer, so the second was refused",
        ),
        (
            comparing(lambda change, held: held["time"] <= change.timestamp),
            "two_changes_within_a_second",
            "neither of the two is older, so the first overwrote the second",
        ),
        (forgetting_deletes, "what_is_deleted_stays_deleted", "an order that is gone"),
        (burying_for_ever, "what_is_deleted_can_be_made_again", "A tombstone refuses what is"),
        (
            merging_with_the_tombstone,
            "what_is_deleted_can_be_made_again",
            'The new state was written, and "deleted": True of the tombstone is still there',
        ),
        (
            putting_tombstones_without_a_look,
            "what_is_deleted_can_be_made_again",
            "Then the delete came once more, and readers find nothing",
        ),
        (
            comparing(lambda change, held: held["number"] < change.sequence_number),
            "sequence_numbers_that_grow_a_digit",
            "Compared as text, 1000 is less than 999",
        ),
        (merging, "an_attribute_that_is_dropped", "changed without its note, and readers still"),
        (burying_in_place, "an_attribute_that_is_dropped", "was deleted and written again without"),
        (read_then_write, "two_functions_at_once", "Comparing and writing are two steps"),
        (look_then_write, "two_functions_at_once", "Comparing and writing are two steps"),
        (looking_twice, "two_functions_at_once", "to compare it with `shipped`"),
        (putting_what_is_new, "two_functions_at_once", "to compare it with `placed`, its first"),
        (putting_tombstones, "two_functions_at_once", "to compare it with its delete"),
        (failing_in_silence, "an_index_out_of_reach", "The index could not be reached"),
        (
            comparing(lambda change, held: int(held["number"]) < int(change.sequence_number)),
            "every_failure",
            "This is the shortest story of it",
        ),
    ],
)
def test_half_a_search_copy_meets_its_sentence(
    sync: Callable[[Change, SearchIndex], None], step: str, sentence: str
) -> None:
    failed_at, said = verdict(TWO, sync)
    assert failed_at == step
    assert sentence in said
