"""What people write on the way to an audit log, and the sentence that is meant for it."""

import contextlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynamodb_streams_cdc import Change
from exercises.checks import __main__ as checks
from exercises.stores import AlreadyThere, AuditTable
from tests.exercises.verdicts import ONE, verdict

ROOT = Path(__file__).parents[2]


def entry(change: Change) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "who": change.actor,
        "before": change.old_image,
        "after": change.new_image,
    }


def inserting(key: Callable[[Change], str]) -> Callable[[Change, AuditTable], None]:
    """Return an audit that is right but for its key."""

    def audit(change: Change, log: AuditTable) -> None:
        with contextlib.suppress(AlreadyThere):
            log.insert(change.item_id, key(change), entry(change))

    return audit


def deaf_to_deletes(change: Change, log: AuditTable) -> None:
    if change.new_image:
        inserting(lambda change: change.version)(change, log)


def under_its_number(change: Change, log: AuditTable) -> None:
    log.insert(str(change.keys["order_id"]), change.version, entry(change))


def deletes_under_another_key(change: Change, log: AuditTable) -> None:
    item = change.item_id if change.new_image else "None"
    log.insert(item, change.version, entry(change))


def a_note_in_place_of_the_delete(change: Change, log: AuditTable) -> None:
    log.put("notes", change.version, {})
    deaf_to_deletes(change, log)


def before_from_the_log(change: Change, log: AuditTable) -> None:
    told = log.history(change.item_id)
    before = told[-1]["after"] if told else None
    with contextlib.suppress(AlreadyThere):
        log.insert(change.item_id, change.version, {**entry(change), "before": before})


def kind_and_before_from_the_log(change: Change, log: AuditTable) -> None:
    told = log.history(change.item_id)
    before = told[-1]["after"] if told else change.old_image
    kind = "REMOVE" if change.new_image is None else "INSERT" if before is None else "MODIFY"
    with contextlib.suppress(AlreadyThere):
        found = {**entry(change), "kind": kind, "before": before}
        log.insert(change.item_id, change.version, found)


def without_the_actor(change: Change, log: AuditTable) -> None:
    log.put(change.item_id, change.version, {"kind": change.kind, "after": change.new_image})


def looking(write: Callable[..., None]) -> Callable[[Change, AuditTable], None]:
    """Return an audit that looks for an entry before it writes."""

    def audit(change: Change, log: AuditTable) -> None:
        told = [each["version"] for each in log.history(change.item_id)]
        if change.version not in told:
            found = {**entry(change), "version": change.version}
            write(log, change.item_id, change.version, found)

    return audit


def as_text(change: Change, log: AuditTable) -> None:
    after = {name: str(value) for name, value in (change.new_image or {}).items()}
    log.put(change.item_id, change.version, {**entry(change), "after": after or None})


def without_the_author(change: Change, log: AuditTable) -> None:
    after = {**change.new_image} if change.new_image else {}
    after.pop("updated_by", None)
    log.put(change.item_id, change.version, {**entry(change), "after": after or None})


def empty_where_nothing_was(change: Change, log: AuditTable) -> None:
    before, after = change.old_image or {}, change.new_image or {}
    log.put(change.item_id, change.version, {**entry(change), "before": before, "after": after})


def with_the_image_in_a_field(change: Change, log: AuditTable) -> None:
    found = {**entry(change), "before": {"image": change.old_image}}
    log.put(change.item_id, change.version, found)


def actor_from_the_image(change: Change, log: AuditTable) -> None:
    who = (change.new_image or {}).get("updated_by")
    log.put(change.item_id, change.version, {**entry(change), "who": who})


def actor_from_either_image(change: Change, log: AuditTable) -> None:
    who = (change.new_image or change.old_image or {}).get("updated_by")
    log.put(change.item_id, change.version, {**entry(change), "who": who})


def overwriting(change: Change, log: AuditTable) -> None:
    log.put(change.item_id, change.version, entry(change))


def letting_it_out(change: Change, log: AuditTable) -> None:
    log.insert(change.item_id, change.version, entry(change))


def letting_a_collision_out(change: Change, log: AuditTable) -> None:
    log.insert(change.item_id, change.time.isoformat(), entry(change))


def swallowing(change: Change, log: AuditTable) -> None:
    with contextlib.suppress(Exception):
        log.insert(change.item_id, change.version, entry(change))


def numbering(change: Change, log: AuditTable) -> None:
    number = len(log.history(change.item_id))
    log.insert(change.item_id, f"{number:06}", entry(change))


def remembering_first(change: Change, log: AuditTable) -> None:
    done = MEMORY.setdefault(log, set())
    if change.version not in done:
        done.add(change.version)
        log.insert(change.item_id, change.version, entry(change))


MEMORY: dict[AuditTable, set[str]] = {}


def stumbling(change: Change, log: AuditTable) -> None:
    log.insert(change.item_id, change.version, {**entry(change), "n": change.new_image["total"]})  # type: ignore[index]


@pytest.mark.parametrize(
    ("audit", "step", "sentence"),
    [
        (deaf_to_deletes, "every_change_leaves_an_entry", "no entry of it says REMOVE"),
        (
            a_note_in_place_of_the_delete,
            "every_change_leaves_an_entry",
            "no entry of it says REMOVE",
        ),
        (
            under_its_number,
            "every_change_leaves_an_entry",
            "no entry under 'orders/S=1001' that says INSERT. It has one under '1001'.",
        ),
        (
            deletes_under_another_key,
            "every_change_leaves_an_entry",
            "that says REMOVE. It has one under 'None'. The partition key of the log is change",
        ),
        (letting_a_collision_out, "changes_within_a_second", "a key made of it"),
        (
            inserting(lambda change: f"{change.time} {change.kind}"),
            "changes_within_a_second",
            "changes share it",
        ),
        (without_the_actor, "who_did_it_and_what_it_was", "and it has no 'who'"),
        (
            as_text,
            "who_did_it_and_what_it_was",
            "{... 'total': Decimal('29.33') ...}, and it says {... 'total': '29.33' ...}",
        ),
        (
            without_the_author,
            "who_did_it_and_what_it_was",
            "{... 'updated_by': 'shop' ...}, and it says {... no 'updated_by' ...}",
        ),
        (
            empty_where_nothing_was,
            "who_did_it_and_what_it_was",
            "should say before: None, and it says {}.",
        ),
        (
            with_the_image_in_a_field,
            "who_did_it_and_what_it_was",
            "should say before: None, and it says {... 'image': None ...}.",
        ),
        (
            before_from_the_log,
            "an_order_from_before_the_log",
            "should say before: {... 'status': 'placed' ...}, and it says None",
        ),
        (kind_and_before_from_the_log, "every_failure", "should say kind: 'INSERT', and it says"),
        (
            actor_from_the_image,
            "an_expiry_is_told_from_a_delete",
            "should say who: 'dynamodb.amazonaws.com', and it says None",
        ),
        (
            actor_from_either_image,
            "who_did_it_and_what_it_was",
            "A delete carries nobody's name",
        ),
        (numbering, "a_batch_delivered_twice", "the log has 6 entries for 3 changes"),
        (
            inserting(lambda change: str(uuid.uuid4())),
            "a_batch_delivered_twice",
            "no counter, no clock, no random number",
        ),
        (overwriting, "a_batch_delivered_twice", "3 entries were written over those"),
        (letting_it_out, "a_batch_delivered_twice", "The entry is there, which is what you wanted"),
        (remembering_first, "a_function_that_dies", "only the log knows"),
        (swallowing, "a_table_out_of_reach", "the log lacks 3 of 3 changes now"),
        (
            inserting(lambda change: change.event_id),
            "an_old_batch_comes_back",
            "the key has to sort as the changes happened",
        ),
        (
            inserting(lambda change: f"{change.time} {change.event_id}"),
            "an_old_batch_comes_back",
            "the key has to sort as the changes happened",
        ),
        (
            inserting(lambda change: change.sequence_number),
            "sequence_numbers_that_grow_a_digit",
            "Compared as text, 1000 comes before 999",
        ),
        (
            inserting(lambda change: f"{change.time} {change.sequence_number}"),
            "sequence_numbers_that_grow_a_digit",
            "Compared as text, 1000 comes before 999",
        ),
        (
            inserting(lambda change: change.sequence_number.zfill(40)),
            "every_failure",
            "This is the shortest story of it",
        ),
        (looking(AuditTable.put), "two_functions_at_once", "Then the first wrote over it."),
        (looking(AuditTable.insert), "two_functions_at_once", "Then the first raised AlreadyThere"),
        (stumbling, "every_change_leaves_an_entry", "Your code raised TypeError: 'NoneType'"),
    ],
)
def test_half_an_audit_log_meets_its_sentence(
    audit: Callable[[Change, AuditTable], None], step: str, sentence: str
) -> None:
    failed_at, said = verdict(ONE, audit)
    assert failed_at == step
    assert sentence in said


def test_a_wrong_author_reads_on_about_authors() -> None:
    *_, (_, wrong) = checks.steps(ONE, actor_from_either_image)
    assert wrong is not None
    page, _, section = wrong.read.partition("#")
    text = (ROOT / page).read_text("utf-8").partition(f"\n## {section.title()}\n")[2]
    assert "the actor of a plain delete is unknown" in text.partition("\n## ")[0]


def test_an_error_is_told_with_its_line_and_its_change() -> None:
    _, said = verdict(ONE, stumbling)
    line = stumbling.__code__.co_firstlineno + 1
    assert f"(line {line} of your file), with the change REMOVE 1001" in said


def catching_all(change: Change, log: AuditTable) -> None:
    with contextlib.suppress(BaseException):
        log.insert(change.item_id, change.version, entry(change))


def test_who_catches_everything_loses_what_an_outage_refused() -> None:
    """Not what a crash refused: the end of its process is nothing that a function can catch."""
    failed_at, said = verdict(ONE, catching_all)
    assert failed_at == "a_table_out_of_reach"
    assert "Your function caught the error and returned" in said


@pytest.mark.parametrize("what", [None, True, "change"])
@pytest.mark.parametrize("write", [AuditTable.put, AuditTable.insert])
def test_an_entry_that_is_none_is_told_its_type_and_line(
    write: Callable[[AuditTable, str, str, Any], None], what: object
) -> None:
    def audit(change: Change, log: AuditTable) -> None:
        write(log, change.item_id, change.version, change if what == "change" else what)

    _, said = verdict(ONE, audit)
    named = "Change" if what == "change" else type(what).__name__
    line = audit.__code__.co_firstlineno + 1
    assert f"TypeError: an entry is a dictionary, got {named} (line {line} of your file)" in said
