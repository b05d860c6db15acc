"""What people write on the way to a history, and the sentence that is meant for it."""

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any

import pytest

from dynamodb_streams_cdc import Change, Image
from dynamodb_streams_cdc.sinks.change_log import replay
from exercises.checks import event_sourcing
from exercises.solutions import exercise_3 as solved_3
from tests.exercises.verdicts import THREE, verdict


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


class TextAtTheMoment(solved_3.History):
    """Compares sequence numbers as text, for the past alone."""

    def state_at(self, item: str, moment: datetime) -> Image | None:
        changes = [c for c in self.items.get(item, {}).values() if c.time <= moment]
        last = max(changes, key=lambda c: (c.time, c.sequence_number), default=None)
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


class OfThoseLeft(solved_3.History):
    """Counts the orders that are shipped now, by the day on which they became so."""

    def shipped_per_day(self) -> dict[str, int]:
        left = [each for item, each in self.items.items() if is_shipped(self.state(item))]
        changes = [change for each in left for change in each.values()]
        shipped = [c for c in changes if is_shipped(c.new_image) and not is_shipped(c.old_image)]
        days = [f"{change.time:%Y-%m-%d}" for change in shipped]
        return {day: days.count(day) for day in days}


class EveryDay(solved_3.History):
    """Names the days on which no order became shipped."""

    def shipped_per_day(self) -> dict[str, int]:
        changes = [change for each in self.items.values() for change in each.values()]
        return {**{f"{c.time:%Y-%m-%d}": 0 for c in changes}, **super().shipped_per_day()}


class OncePerDay(solved_3.History):
    """Counts the orders of each day, not how often they became shipped."""

    def shipped_per_day(self) -> dict[str, int]:
        changes = [change for each in self.items.values() for change in each.values()]
        shipped = [c for c in changes if is_shipped(c.new_image) and not is_shipped(c.old_image)]
        days = [day for day, _ in {(f"{c.time:%Y-%m-%d}", c.item_id) for c in shipped}]
        return {day: days.count(day) for day in days}


class LocalDays(solved_3.History):
    """Counts by the days of the machine's time zone."""

    def shipped_per_day(self) -> dict[str, int]:
        changes = [change for each in self.items.values() for change in each.values()]
        shipped = [c for c in changes if is_shipped(c.new_image) and not is_shipped(c.old_image)]
        days = [f"{change.time.astimezone():%Y-%m-%d}" for change in shipped]
        return {day: days.count(day) for day in days}


class Cached(solved_3.History):
    """Answers a question again as it did first."""

    def __init__(self, question: str) -> None:
        super().__init__()
        setattr(self, question, lru_cache(getattr(self, question)))


class ByContent(solved_3.History):
    """Takes changes with the same content for one."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def add(self, change: Change) -> None:
        content = (change.item_id, change.time, change.old_image, change.new_image)
        if content not in self.seen:
            self.seen.append(content)
            super().add(change)


class ByObject(solved_3.History):
    """Takes equal objects for one change."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: set[Change] = set()

    def add(self, change: Change) -> None:
        super().add(change)
        self.changes.add(change)

    def shipped_per_day(self) -> dict[str, int]:
        shipped = [
            c for c in self.changes if is_shipped(c.new_image) and not is_shipped(c.old_image)
        ]
        days = [f"{change.time:%Y-%m-%d}" for change in shipped]
        return {day: days.count(day) for day in days}


class ByVersionAlone(solved_3.History):
    """Takes changes of two orders with the same version for one."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def add(self, change: Change) -> None:
        if change.version not in self.seen:
            self.seen.add(change.version)
            super().add(change)


class ByEventId(ByVersionAlone):
    """Is right: an event id is that of one record."""

    def add(self, change: Change) -> None:
        if change.event_id not in self.seen:
            self.seen.add(change.event_id)
            solved_3.History.add(self, change)


class CountingStates(solved_3.History):
    """Counts the orders that are shipped now, by the day of their last change."""

    def shipped_per_day(self) -> dict[str, int]:
        last = [max(each.values(), key=lambda c: c.version) for each in self.items.values()]
        days = [f"{change.time:%Y-%m-%d}" for change in last if is_shipped(change.new_image)]
        return {day: days.count(day) for day in days}


class TextInTheCount(solved_3.History):
    """Compares sequence numbers as text where it counts."""

    def shipped_per_day(self) -> dict[str, int]:
        days = []
        for changes in self.items.values():
            before = None
            for change in sorted(changes.values(), key=lambda c: (c.time, c.sequence_number)):
                if is_shipped(change.new_image) and not is_shipped(before):
                    days.append(f"{change.time:%Y-%m-%d}")
                before = change.new_image
        return {day: days.count(day) for day in days}


@pytest.mark.parametrize(
    ("make", "step", "sentence"),
    [
        (OneOrder, "the_state_is_what_the_table_says", "The log knows nothing of order 1002"),
        (
            lambda: Sorted(lambda change: change.event_id),
            "the_state_is_what_the_table_says",
            "Event ids are in no order",
        ),
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
            lambda: Sorted(lambda change: (change.time, change.sequence_number)),
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
        (TextAtTheMoment, "several_changes_up_to_a_moment", "the version says which was the last"),
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
            "shipped_as_soon_as_it_is_made",
            "An INSERT can make an order shipped, too: it has no old image.",
        ),
        (OfThoseLeft, "refunded_or_deleted_later", "ask the changes, not the states that are left"),
        (EveryDay, "what_is_shipped_already", "A day without any is left out."),
        (
            lambda: Counting(
                lambda c: is_shipped(c.new_image) and not is_shipped(c.old_image), twice=True
            ),
            "changes_that_come_twice",
            "The history counts {'2024-05-01': 3}, not {'2024-05-01': 1}",
        ),
        (ByObject, "changes_that_come_twice", "each Change object equals itself alone"),
        (LocalDays, "days_are_in_utc", "change.time is in UTC, and so are the days"),
        (lambda: Cached("state"), "a_change_after_a_question", "It answers placed, not shipped"),
        (lambda: Cached("state_at"), "a_change_after_a_question", "It answers placed, not shipped"),
        (lambda: Cached("shipped_per_day"), "a_change_after_a_question", "It answers {}, not {'"),
        (ByContent, "changes_that_look_alike", "the same time, kind and images"),
        (ByVersionAlone, "two_orders_with_one_number", "by its item and its version together"),
        (ByEventId, "", ""),
        (TextInTheCount, "any_history_at_all", "its sequence numbers got a digit more"),
        (FirstTimes, "shipped_again_on_one_day", "Each time that an order becomes shipped counts"),
        (OncePerDay, "shipped_again_on_one_day", "Each time that an order becomes shipped counts"),
    ],
)
def test_half_a_history_meets_its_sentence(
    make: Callable[[], object], step: str, sentence: str
) -> None:
    failed_at, said = verdict(THREE, make)
    assert failed_at == step
    assert sentence in said


class OfChanges(solved_3.History):
    """Returns a change where an order is wanted."""

    def state(self, item: str) -> Any:
        return next(iter(self.items[item].values()))


def test_a_state_that_is_a_change_is_told_so() -> None:
    failed_at, said = verdict(THREE, OfChanges)
    assert failed_at == "the_state_is_what_the_table_says"
    assert "The history returned a Change, which is not an order" in said


class Altering(solved_3.History):
    """Alters what it answers to a question, if it is an order."""

    def __init__(self, question: str, alter: Callable[[Any], Any]) -> None:
        super().__init__()
        asked = getattr(self, question)

        def altered(*arguments: Any) -> Any:
            state = asked(*arguments)
            return state and alter(state)

        setattr(self, question, altered)


def status_alone(state: Any) -> Any:
    return {"status": state["status"]}


def spoilt(state: Any) -> Any:
    """Return the image of the change itself, without an attribute."""
    state.pop("total", None)
    return state


@pytest.mark.parametrize(
    ("question", "step", "sentence"),
    [
        ("state", "the_state_is_what_the_table_says", "Order 1001 is {... 'order_id': '1001' ...}"),
        ("state_at", "the_state_at_a_moment", "placed was {... 'order_id': '1001' ...}, and"),
    ],
)
def test_a_state_without_the_rest_of_the_order_is_told_so(
    question: str, step: str, sentence: str
) -> None:
    failed_at, said = verdict(THREE, lambda: Altering(question, status_alone))
    assert failed_at == step
    assert sentence in said
    assert "the history says {... no 'order_id' ...}" in said


@pytest.mark.parametrize("question", ["state", "state_at"])
def test_an_order_that_is_spoilt_is_told_so(question: str) -> None:
    """The change that the check made has lost the attribute as well."""
    _, said = verdict(THREE, lambda: Altering(question, spoilt))
    assert "the history says {... no 'total' ...}" in said


class EmptyWhereNone(solved_3.History):
    """Returns an empty order where there is none."""

    def state(self, item: str) -> Any:
        return super().state(item) or {}


def test_an_empty_state_is_told_so() -> None:
    failed_at, said = verdict(THREE, EmptyWhereNone)
    assert failed_at == "the_state_is_what_the_table_says"
    assert "The history returned {}, which is not an order" in said


def test_sequence_numbers_of_a_random_history_get_a_digit_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lengths: list[set[int]] = []
    log_of = event_sourcing.log_of

    def drawn(*written: Any, **options: Any) -> list[Change]:
        changes = log_of(*written, **options)
        lengths.append({len(change.sequence_number) for change in changes})
        return changes

    monkeypatch.setattr(event_sourcing, "log_of", drawn)
    event_sourcing.any_history_at_all(solved_3.History)
    assert len(lengths) == event_sourcing.HISTORIES
    assert all(len(each) == 2 for each in lengths)
