"""The checks of the exercises: starters fail with their sentence, solutions pass.

And what people write on the way from one to the other meets the sentence that is meant for it.
"""

import contextlib
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dynamodb_streams_cdc import Change, Image, replay
from exercises import exercise_1, exercise_2, exercise_3
from exercises.checks import __main__ as checks
from exercises.checks import reading
from exercises.checks.bench import Wrong
from exercises.solutions import exercise_2 as solved_2
from exercises.solutions import exercise_3 as solved_3
from exercises.stores import AlreadyThere, AuditTable, Document, SearchIndex

ROOT = Path(__file__).parents[1]
ONE, TWO, THREE = checks.EXERCISES


def verdict(exercise: checks.Exercise, subject: object) -> tuple[str, str]:
    """Return the step at which a subject fails, and what is said of it."""
    *_, (step, wrong) = checks.steps(exercise, subject)
    return (step, str(wrong)) if wrong else ("", "")


# Starters and solutions


@pytest.mark.parametrize(
    ("exercise", "starter", "step", "sentence"),
    [
        (
            ONE,
            exercise_1.audit,
            "changes_within_a_second",
            "Order 1001 was placed, shipped and refunded within one second, and not each of the "
            "three has an entry. DynamoDB rounds the time of a record down to the second",
        ),
        (
            TWO,
            exercise_2.sync,
            "an_old_batch_comes_back",
            "Then the first batch was delivered again, as it may be after a crash, and readers "
            "find it placed. The function wrote what came last, which is not what happened last.",
        ),
        (
            THREE,
            exercise_3.History,
            "the_log_is_read_in_any_order",
            "The log was read from its end: refunded, shipped, placed. The history says that order "
            "1001 is placed. What was read last is not what happened last",
        ),
    ],
    ids=["audit log", "search sync", "event sourcing"],
)
def test_a_starter_fails_at_its_step_with_its_sentence(
    exercise: checks.Exercise, starter: object, step: str, sentence: str
) -> None:
    failed_at, said = verdict(exercise, starter)
    assert failed_at == step
    assert sentence in said


@pytest.mark.parametrize("exercise", checks.EXERCISES, ids=lambda exercise: exercise.title)
def test_a_solution_passes_every_step_and_hears_what_was_learnt(
    exercise: checks.Exercise, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checks.main([str(exercise.number), "--solution"]) == 0
    told = capsys.readouterr().out
    steps = [step.__name__.replace("_", " ") for step in exercise.check.STEPS]
    assert [line[9:] for line in told.splitlines() if line.startswith("  right  ")] == steps
    assert "\nSolved. " in told
    assert exercise.then in " ".join(told.split())


# Exercise 1: half solved


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


def without_the_actor(change: Change, log: AuditTable) -> None:
    log.put(change.item_id, change.version, {"kind": change.kind, "after": change.new_image})


def actor_from_the_image(change: Change, log: AuditTable) -> None:
    who = (change.new_image or {}).get("updated_by")
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
        (letting_a_collision_out, "changes_within_a_second", "a key made of it"),
        (
            inserting(lambda change: f"{change.time} {change.kind}"),
            "changes_within_a_second",
            "changes share it",
        ),
        (without_the_actor, "who_did_it_and_what_it_was", "and it has no 'who'"),
        (actor_from_the_image, "an_expiry_is_told_from_a_delete", "and it says None"),
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
            inserting(lambda change: change.sequence_number.zfill(40)),
            "whatever_the_weather",
            "This is the shortest story of it",
        ),
        (stumbling, "every_change_leaves_an_entry", "Your code raised TypeError: 'NoneType'"),
    ],
)
def test_half_an_audit_log_meets_its_sentence(
    audit: Callable[[Change, AuditTable], None], step: str, sentence: str
) -> None:
    failed_at, said = verdict(ONE, audit)
    assert failed_at == step
    assert sentence in said


def test_an_error_is_told_with_its_line_and_its_change() -> None:
    _, said = verdict(ONE, stumbling)
    line = stumbling.__code__.co_firstlineno + 1
    assert f"(line {line} of your file), with the change REMOVE 1001" in said


# Exercise 2: half solved


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
    index.put(change.item_id, {**(change.new_image or {}), "version": change.version})


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


def failing_in_silence(change: Change, index: SearchIndex) -> None:
    with contextlib.suppress(Exception):
        solved_2.sync(change, index)


def deaf_to_deletions(change: Change, index: SearchIndex) -> None:
    if change.new_image:
        solved_2.sync(change, index)


def stumbling_over_deletes(change: Change, index: SearchIndex) -> None:
    index.put(change.item_id, exercise_2.document(change.new_image))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sync", "step", "sentence"),
    [
        (deaf_to_deletions, "what_is_written_is_found", "readers still find it placed"),
        (showing_tombstones, "what_is_written_is_found", "Order 1001 was deleted, and readers"),
        (stumbling_over_deletes, "what_is_written_is_found", "Your code raised AttributeError"),
        (
            comparing(lambda change, held: change.event_id not in held["events"]),
            "whatever_the_weather",
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
        (burying_for_ever, "what_is_deleted_can_be_made_again", "Readers find nothing"),
        (
            comparing(lambda change, held: held["number"] < change.sequence_number),
            "sequence_numbers_that_grow_a_digit",
            "Compared as text, 1000 is less than 999",
        ),
        (read_then_write, "two_functions_at_once", "Comparing and writing are two steps"),
        (failing_in_silence, "an_index_out_of_reach", "The index could not be reached"),
        (
            comparing(lambda change, held: int(held["number"]) < int(change.sequence_number)),
            "whatever_the_weather",
            "This is the shortest story of it",
        ),
    ],
)
def test_half_a_search_sync_meets_its_sentence(
    sync: Callable[[Change, SearchIndex], None], step: str, sentence: str
) -> None:
    failed_at, said = verdict(TWO, sync)
    assert failed_at == step
    assert sentence in said


# Exercise 3: half solved


class Sorted(solved_3.History):
    """Sorted by something else than versions."""

    def __init__(self, key: Callable[[Change], Any]) -> None:
        super().__init__()
        self.key = key

    def state(self, item: str) -> Image | None:
        return self._last(iter(self.items.get(item, {}).values()))

    def state_at(self, item: str, moment: datetime) -> Image | None:
        return self._last(c for c in self.items.get(item, {}).values() if c.time <= moment)

    def _last(self, changes: Iterator[Change]) -> Image | None:
        last = max(changes, key=self.key, default=None)
        return last.new_image if last else None


class LastImage(solved_3.History):
    """Takes the last image that there was for the state."""

    def state(self, item: str) -> Image | None:
        return replay(c for c in self.items.get(item, {}).values() if c.new_image)


class OneOrder(solved_3.History):
    """Does not look at whose change it is."""

    def state(self, item: str) -> Image | None:
        return replay(c for changes in self.items.values() for c in changes.values())


class OnlyNow(solved_3.History):
    """Has no past, as the starter."""

    def state_at(self, item: str, moment: datetime) -> Image | None:
        return self.state(item)


class BeforeTheMoment(solved_3.History):
    """Leaves out the second that was asked for."""

    def state_at(self, item: str, moment: datetime) -> Image | None:
        return replay(c for c in self.items.get(item, {}).values() if c.time < moment)


class LatestTime(solved_3.History):
    """Takes the change with the latest time for the last."""

    def state_at(self, item: str, moment: datetime) -> Image | None:
        changes = [c for c in self.items.get(item, {}).values() if c.time <= moment]
        last = max(changes, key=lambda change: change.time, default=None)
        return last.new_image if last else None


class NoCount(solved_3.History):
    """Counts nothing, as the starter."""

    def shipped_per_day(self) -> dict[str, int]:
        return {}


class Counting(solved_3.History):
    """Counts each change that a test lets through."""

    def __init__(self, counts: Callable[[Change], bool], *, twice: bool = False) -> None:
        super().__init__()
        self.counts = counts
        self.twice = twice
        self.all: list[Change] = []

    def add(self, change: Change) -> None:
        super().add(change)
        self.all.append(change)

    def shipped_per_day(self) -> dict[str, int]:
        once = [change for changes in self.items.values() for change in changes.values()]
        days = [
            f"{change.time:%Y-%m-%d}"
            for change in (self.all if self.twice else once)
            if self.counts(change)
        ]
        return {day: days.count(day) for day in days}


def is_shipped(image: Image | None) -> bool:
    return image is not None and image["status"] == "shipped"


class FirstTimes(solved_3.History):
    """Counts each order once in its life."""

    def shipped_per_day(self) -> dict[str, int]:
        days = []
        for changes in self.items.values():
            ordered = sorted(changes.values(), key=lambda change: change.version)
            days += [f"{c.time:%Y-%m-%d}" for c in ordered if is_shipped(c.new_image)][:1]
        return {day: days.count(day) for day in days}


class CountingStates(solved_3.History):
    """Counts the orders that are shipped now, by the day of their last change."""

    def shipped_per_day(self) -> dict[str, int]:
        last = [max(each.values(), key=lambda c: c.version) for each in self.items.values()]
        days = [f"{change.time:%Y-%m-%d}" for change in last if is_shipped(change.new_image)]
        return {day: days.count(day) for day in days}


@pytest.mark.parametrize(
    ("make", "step", "sentence"),
    [
        (OneOrder, "the_state_is_what_the_table_says", "The log knows nothing of order 1002"),
        (LastImage, "a_deleted_order_has_no_state", "Order 1001 was deleted"),
        (
            lambda: Sorted(lambda change: change.time),
            "changes_of_one_second",
            "Both have the same time",
        ),
        (
            lambda: Sorted(lambda change: change.sequence_number),
            "sequence_numbers_that_grow_a_digit",
            "compared as text 1000 is less than 999",
        ),
        (
            lambda: Sorted(lambda change: int(change.sequence_number)),
            "a_new_stream",
            "Numbers of two streams say nothing about each other",
        ),
        (OnlyNow, "the_state_at_a_moment", "in the second in which it was placed: it was placed"),
        (BeforeTheMoment, "the_state_at_a_moment", "in the second in which it was placed"),
        (LatestTime, "several_changes_up_to_a_moment", "the version says which was the last"),
        (NoCount, "orders_shipped_per_day", "The history counts {}, not {'2024-05-01': 2"),
        (
            lambda: Counting(lambda change: is_shipped(change.new_image)),
            "what_is_shipped_already",
            "To be shipped is a state; to become it is what counts here",
        ),
        (CountingStates, "what_is_shipped_already", "counts {'2024-05-02': 1}"),
        (
            lambda: Counting(
                lambda c: (
                    c.kind == "MODIFY" and is_shipped(c.new_image) and not is_shipped(c.old_image)
                )
            ),
            "what_became_of_it_later",
            "Order 1003 was shipped on 2 May, as soon as it was made",
        ),
        (
            lambda: Counting(
                lambda c: is_shipped(c.new_image) and not is_shipped(c.old_image), twice=True
            ),
            "changes_that_come_twice",
            "The history counts {'2024-05-01': 3}, not {'2024-05-01': 1}",
        ),
        (FirstTimes, "any_history_at_all", "orders were shipped so: {"),
    ],
)
def test_half_a_history_meets_its_sentence(
    make: Callable[[], object], step: str, sentence: str
) -> None:
    failed_at, said = verdict(THREE, make)
    assert failed_at == step
    assert sentence in said


# The command


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the check as `make` does, without any installed package."""
    return subprocess.run(
        [sys.executable, "-S", "-m", "exercises.checks", *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_check_that_fails_names_the_step_says_why_and_offers_a_hint() -> None:
    done = run("1")
    assert done.returncode == 1
    assert done.stderr == ""
    assert (
        "  right  every change leaves an entry\n  WRONG  changes within a second\n" in done.stdout
    )
    for part in ("\nWhat happened: ", "\nWhy: ", "\nRead on: docs/", "make exercise-1 HINT=1"):
        assert part in done.stdout


def test_hints_unfold_and_end_with_the_solution(capsys: pytest.CaptureFixture[str]) -> None:
    for wanted in (1, 2):
        assert checks.main(["2", "--hint", str(wanted)]) == 0
        assert capsys.readouterr().out.count("Hint ") == wanted
    assert checks.main(["2", "--hint", "9"]) == 0
    assert "A solution: exercises/solutions/exercise_2.py" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def audit(change, log)\n    pass\n", "Python cannot read line 1 of"),
        ("import nothing_of_that_name\n", "cannot be imported: ModuleNotFoundError"),
        ("def write(change, log): ...\n", "There is no audit in"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_a_sentence(
    text: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    package = tmp_path / f"learner_{abs(hash(text))}"
    package.mkdir()
    (package / "exercise_1.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert not checks.check(ONE, package.name)
    assert said in capsys.readouterr().out


def test_there_is_something_to_read_on() -> None:
    places = [value.split()[0] for name, value in vars(reading).items() if name.isupper()]
    assert len(places) > 5
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_every_step_is_met_by_somebody() -> None:
    source = Path(__file__).read_text()
    steps = [step.__name__ for exercise in checks.EXERCISES for step in exercise.check.STEPS]
    assert [name for name in steps if f'"{name}"' not in source] == []


def test_the_story_of_a_run_with_faults_is_short_enough_to_follow() -> None:
    *_, (_, wrong) = checks.steps(ONE, inserting(lambda change: change.sequence_number.zfill(40)))
    assert isinstance(wrong, Wrong)
    assert 3 < len(wrong.story.splitlines()) <= 30
