"""The check of exercise 3."""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NoReturn, Protocol, TypeAlias

from dynamodb_streams_cdc import Change, Image
from dynamodb_streams_cdc.sinks.log_entries import change_from_entry, entry_of
from dynamodb_streams_cdc.testing.simulation import SimulatedTable
from dynamodb_streams_cdc.testing.simulation.stream import FIRST_SEQUENCE_NUMBER, STEP
from exercises.checks import reading
from exercises.checks.bench import a_digit_more, change_of, item, order, short, wrong

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
HISTORIES = 100
ORDER_IDS = ("1001", "1002", "1003")
STATUSES = ("placed", "shipped", "refunded")


class History(Protocol):
    """What is checked."""

    def add(self, change: Change) -> None: ...
    def state(self, item: str) -> Image | None: ...
    def state_at(self, item: str, moment: datetime) -> Image | None: ...
    def shipped_per_day(self) -> dict[str, int]: ...


Make: TypeAlias = Callable[[], History]
Written: TypeAlias = tuple[timedelta, str, str | None]
"""When after noon, which order, and its status; None if it was deleted."""

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
LIFE: Sequence[Written] = (
    (0 * HOUR, "1001", "placed"),
    (1 * HOUR, "1001", "shipped"),
    (2 * HOUR, "1001", "refunded"),
)


def log_of(
    *written: Written,
    by: str = "",
    new_stream_before: int | None = None,
    short: int | None = None,
) -> list[Change]:
    """Return the log of what was written, as it is read back.

    Each change is by a clerk of its own, or all are `by` one. Sequence numbers get one digit more
    after the first `short` changes.
    """
    table = SimulatedTable("orders-1A2B", ("order_id",))
    first = FIRST_SEQUENCE_NUMBER if short is None else 10**21 - STEP * (short + 1) - 1
    table.enable_stream(NOON.timestamp(), first_sequence_number=first)
    for number, (after, order_id, status) in enumerate(written):
        now = (NOON + after).timestamp()
        if number == new_stream_before:
            table.enable_stream(now)
        if status is None:
            table.delete({"order_id": order_id}, now)
        else:
            table.put(order(order_id, status, by=by or f"clerk {number}"), now)
    shards = [shard for stream in table.streams for shard in stream.shards.values()]
    records = [record for shard in shards for record in shard.records]
    return [_read_back(change_of(record)) for record in records]


def _read_back(change: Change) -> Change:
    return change_from_entry(entry_of(change))


def told(make: Make, changes: Sequence[Change]) -> History:
    """Return a history that was told of these changes."""
    history = make()
    for change in changes:
        history.add(change)
    return history


def the_state_is_what_the_table_says(make: Make) -> None:
    """The log of an order, from its first change to the last."""
    history = told(make, log_of(*LIFE))
    if _status(history.state(item())) != "refunded":
        wrong(
            "Order 1001 was placed, shipped and refunded, and the history says that it is "
            f"{_status(history.state(item()))}.",
            "The state of an item is the new image of its last change. Event ids are in no order.",
            reading.LOG,
        )
    _whole(history.state(item()), log_of(*LIFE)[-1].new_image, "is")
    if history.state(item("1002")) is not None:
        wrong(
            "The log knows nothing of order 1002, and the history says that it is "
            f"{_status(history.state(item('1002')))}.",
            "A change belongs to the item that it names: change.item_id.",
            reading.LOG,
        )


def the_log_is_read_in_any_order(make: Make) -> None:
    """The same log, its last part first."""
    history = told(make, log_of(*LIFE)[::-1])
    if _status(history.state(item())) != "refunded":
        wrong(
            "The log was read from its end: refunded, shipped, placed. The history says that order "
            f"1001 is {_status(history.state(item()))}.",
            "What was read last is not what happened last: entries of a log come from a scan, from "
            "its stream, from a redrive. Each change says itself where it belongs.",
            reading.VERSIONS,
        )


def a_deleted_order_has_no_state(make: Make) -> None:
    """An order is placed and deleted; the log is read in both orders."""
    changes = log_of(*LIFE[:2], (2 * HOUR, "1001", None))
    for way in (changes, changes[::-1]):
        state = told(make, way).state(item())
        if state is not None:
            wrong(
                f"Order 1001 was deleted, and the history says that it is {_status(state)}.",
                "A REMOVE is the last change like any other: after it there is no image, so there "
                "is no state.",
                reading.LOG,
            )


def changes_of_one_second(make: Make) -> None:
    """An order is placed and shipped at once; the log is read in both orders."""
    changes = log_of((0 * HOUR, "1001", "placed"), (0 * HOUR, "1001", "shipped"))
    for way in (changes, changes[::-1]):
        if (status := _status(told(make, way).state(item()))) != "shipped":
            wrong(
                "Order 1001 was placed and shipped within one second, and the history says that it "
                f"is {status}.",
                "Both have the same time, which is rounded down to the second. Versions tell them "
                "apart.",
                reading.TIMES,
            )


def sequence_numbers_that_grow_a_digit(make: Make) -> None:
    """The sequence numbers of a stream get longer: 999... is followed by 1000..."""
    changes = list(map(_read_back, a_digit_more()))
    state = told(make, changes[::-1]).state(item())
    wanted, found = ((each or {}).get("updated_by") for each in (changes[-1].new_image, state))
    if found != wanted:
        wrong(
            f"The last of four changes was by {wanted!r}, and the history says by {found!r}.",
            "Their sequence numbers get one digit more on the way, and compared as text 1000 is "
            "less than 999. change.version pads them.",
            reading.NUMBERS,
        )


def a_new_stream(make: Make) -> None:
    """The stream is turned off and on again between two changes: its numbers start again."""
    changes = log_of(*LIFE, new_stream_before=2)
    for way in (changes, changes[::-1]):
        if (status := _status(told(make, way).state(item()))) != "refunded":
            numbers = ", ".join(f"..{change.sequence_number[-6:]}" for change in changes)
            wrong(
                "Order 1001 was placed and shipped; then the table got a new stream, and the order "
                f"was refunded. Sequence numbers: {numbers}. The history says that it is "
                f"{status}.",
                "Numbers of two streams say nothing about each other. change.version begins with "
                "the label of the stream, which is the time at which it was turned on.",
                reading.VERSIONS,
            )


def the_state_at_a_moment(make: Make) -> None:
    """An order is placed, shipped, refunded, deleted, an hour between each."""
    changes = log_of(*LIFE, (3 * HOUR, "1001", None))
    history = told(make, changes[2:] + changes[:2])
    images = {
        status: change.new_image for (_, _, status), change in zip(LIFE, log_of(*LIFE), strict=True)
    }
    for after, want, when in (
        (-SECOND, None, "a second before it was placed"),
        (0 * HOUR, "placed", "in the second in which it was placed"),
        (HOUR - SECOND, "placed", "a second before it was shipped"),
        (HOUR, "shipped", "in the second in which it was shipped"),
        (2.5 * HOUR, "refunded", "half an hour after it was refunded"),
        (3 * HOUR, None, "in the second in which it was deleted"),
        (9 * HOUR, None, "hours after it was deleted"),
    ):
        state = history.state_at(item(), NOON + after)
        if _status(state) != (want or "not there"):
            wrong(
                f"Order 1001 as it was {when}: it was {want or 'not there'}, and the history says "
                f"{_status(state)}.",
                "What counts is the last change up to that moment, its own second included. "
                "Later changes had not happened yet.",
                reading.LOG,
            )
        _whole(state, images.get(want), f"{when} was")


def several_changes_up_to_a_moment(make: Make) -> None:
    """An order is placed, shipped and refunded in one second; the log is read in both orders."""
    second = [(0 * HOUR, "1001", status) for status in STATUSES]
    changes = log_of(*second, (HOUR, "1001", "placed"), short=2)
    for way in (changes, changes[::-1]):
        if (status := _status(told(make, way).state_at(item(), NOON))) != "refunded":
            wrong(
                "Order 1001 was placed, shipped and refunded in one second. At the end of it the "
                f"history says {status}.",
                "The time says which changes had happened by then; among them, the version says "
                "which was the last.",
                reading.TIMES,
            )


def orders_shipped_per_day(make: Make) -> None:
    """Two orders are shipped on the first day, one on the second."""
    changes = log_of(
        *LIFE[:2],
        (2 * HOUR, "1002", "placed"),
        (3 * HOUR, "1002", "shipped"),
        (DAY, "1003", "placed"),
        (DAY + HOUR, "1003", "shipped"),
    )
    _count(
        told(make, changes),
        {"2024-05-01": 2, "2024-05-02": 1},
        "Two orders were shipped on 1 May, one on 2 May",
        'Count the changes that made an order "shipped", by day: f"{change.time:%Y-%m-%d}".',
        reading.LOG,
    )


def what_is_shipped_already(make: Make) -> None:
    """A shipped order is corrected, the next day."""
    table = log_of(*LIFE[:2], (DAY, "1001", "shipped"))
    _count(
        told(make, table),
        {"2024-05-01": 1},
        "Order 1001 was shipped on 1 May; on 2 May a clerk corrected it, and it was still shipped",
        "To be shipped is a state; to become it is what counts here. The old image says whether it "
        "was shipped before.",
        reading.EXAMPLE_1,
    )


def refunded_or_deleted_later(make: Make) -> None:
    """One shipped order is refunded, another deleted."""
    changes = log_of(
        *LIFE,
        (0 * HOUR, "1002", "placed"),
        (HOUR, "1002", "shipped"),
        (DAY, "1002", None),
    )
    _count(
        told(make, changes),
        {"2024-05-01": 2},
        "Orders 1001 and 1002 were shipped on 1 May; one was refunded later, the other deleted",
        "The table has forgotten what was. The log has not: ask the changes, not the states that "
        "are left.",
        reading.LOG,
    )


def shipped_as_soon_as_it_is_made(make: Make) -> None:
    """An order is made shipped, another is placed before."""
    changes = log_of(*LIFE[:2], (HOUR, "1002", "shipped"))
    _count(
        told(make, changes),
        {"2024-05-01": 2},
        "Order 1001 was placed and shipped on 1 May. Order 1002 was shipped as soon as it was made",
        "An INSERT can make an order shipped, too: it has no old image.",
        reading.EXAMPLE_1,
    )


def shipped_again_on_one_day(make: Make) -> None:
    """An order is shipped, deleted, and shipped again under its number, on one day."""
    changes = log_of(*LIFE[:2], (2 * HOUR, "1001", None), (3 * HOUR, "1001", "shipped"))
    _count(
        told(make, changes),
        {"2024-05-01": 2},
        "Order 1001 was shipped, deleted, and shipped again on 1 May",
        "Each time that an order becomes shipped counts, however often that is.",
        reading.LOG,
    )


def days_are_in_utc(make: Make) -> None:
    """Orders are shipped before and after midnight; the machine is five hours west of it."""
    changes = log_of((11.5 * HOUR, "1001", "shipped"), (12.5 * HOUR, "1002", "shipped"))
    with _five_hours_west():
        _count(
            told(make, changes),
            {"2024-05-01": 1, "2024-05-02": 1},
            "One order was shipped at 23:30 on 1 May and one at 00:30 on 2 May, both in UTC, and "
            "the machine's time is five hours behind UTC",
            "change.time is in UTC, and so are the days. Functions on AWS run in UTC, your machine "
            "may not: what depends on its time zone differs between the two.",
            reading.LOG,
        )


def a_change_after_a_question(make: Make) -> None:
    """The history is asked, then told of one more change, then asked again."""
    *first, last = log_of((0 * HOUR, "1001", "placed"), (HOUR, "1001", "shipped"))
    history = told(make, first)

    def answers() -> list[object]:
        states = [history.state(item()), history.state_at(item(), NOON + HOUR)]
        return [*map(_status, states), history.shipped_per_day()]

    answers()
    history.add(last)
    for found, wanted in zip(answers(), ["shipped", "shipped", {"2024-05-01": 1}], strict=True):
        if found != wanted:
            wrong(
                "The history was asked about order 1001, which was placed; then it was told that "
                f"the order was shipped, and asked again. It answers {found}, not {wanted}.",
                "New changes come at any time. What is computed for one question is out of date "
                "after the next change.",
                reading.LOG,
            )


def changes_that_come_twice(make: Make) -> None:
    """The log is read by a scan and from its stream, and the two overlap."""
    changes = log_of(*LIFE)
    again = list(map(_read_back, changes[1:]))
    history = told(make, [*changes[1:], *changes, *again])
    _count(
        history,
        {"2024-05-01": 1},
        "Order 1001 was shipped once; its log was read twice, in parts that overlap",
        "A change that comes twice is one change: it has the same item and the same version. "
        "Compare these: each Change object equals itself alone.",
        reading.EXAMPLE_2,
    )


def changes_that_look_alike(make: Make) -> None:
    """An order goes back and forth within a second, by the same clerk."""
    back_and_forth = ("placed", "shipped", "placed", "shipped")
    changes = log_of(*((0 * HOUR, "1001", status) for status in back_and_forth), by="clerk 1")
    _count(
        told(make, changes),
        {"2024-05-01": 2},
        "Order 1001 was placed, shipped, placed and shipped within one second, by the same clerk",
        "Two changes may have the same time, kind and images. Each has its own version, and that "
        "alone says whether a change came before.",
        reading.TIMES,
    )


def two_orders_with_one_number(make: Make) -> None:
    """Two orders of two shards are shipped, and both changes have the same sequence number."""
    first, second = (log_of((0 * HOUR, number, "shipped"))[0] for number in ORDER_IDS[:2])
    _count(
        told(make, [first, replace(second, event_id=first.event_id[::-1])]),
        {"2024-05-01": 2},
        f"Orders 1001 and 1002 were shipped, both with sequence number {first.sequence_number}",
        "A sequence number, and so a version, orders the changes of one item. AWS does not say "
        "that two shards never use the same one: a change is known by its item and its version "
        "together.",
        reading.VERSIONS,
    )


def any_history_at_all(make: Make) -> None:
    """Histories drawn at random, read in any order, some of it twice."""
    for seed in range(HISTORIES):
        rng = random.Random(seed)
        written = _drawn(rng)
        changes = log_of(*written, short=rng.randint(1, len(written) - 1))
        read = [*changes, *rng.choices(changes, k=3)]
        rng.shuffle(read)
        history = told(make, read)
        for after in {timedelta(0), *(after for after, _, _ in written)}:
            for order_id in ORDER_IDS:
                want = _status_then(written, order_id, after)
                found = _status(history.state_at(item(order_id), NOON + after))
                if want != found:
                    _random(
                        written,
                        f"order {order_id} was {want} {after} after noon, and the history says "
                        f"{found}",
                    )
        for order_id in ORDER_IDS:
            want = _status_then(written, order_id, written[-1][0])
            found = _status(history.state(item(order_id)))
            if want != found:
                _random(written, f"order {order_id} is {want}, and the history says {found}")
        if (counted := history.shipped_per_day()) != (shipped := _shipped(written)):
            _random(written, f"orders were shipped so: {shipped}, and the history says {counted}")


STEPS = {
    the_state_is_what_the_table_says: 1,
    the_log_is_read_in_any_order: 1,
    a_deleted_order_has_no_state: 1,
    changes_of_one_second: 1,
    sequence_numbers_that_grow_a_digit: 1,
    a_new_stream: 1,
    the_state_at_a_moment: 2,
    several_changes_up_to_a_moment: 2,
    orders_shipped_per_day: 3,
    what_is_shipped_already: 3,
    refunded_or_deleted_later: 3,
    shipped_as_soon_as_it_is_made: 3,
    shipped_again_on_one_day: 3,
    days_are_in_utc: 3,
    a_change_after_a_question: 4,
    changes_that_come_twice: 4,
    changes_that_look_alike: 4,
    two_orders_with_one_number: 4,
    any_history_at_all: 4,
}
"""The steps, and the number of the hint that helps with each."""

HINTS = (
    "The order in which changes come means nothing. Each has a version, and versions of an item "
    "compare as its changes happened: the state is the new image of the change with the greatest.",
    "For the state at a moment leave out what had not happened by then (change.time > moment). "
    "Which of the rest is the last? Not the one with the latest time: several may share it.",
    "An order became shipped with a change whose new image is shipped and whose old image is not, "
    "or is not there at all. Such a change can be told without the others; count each of them.",
    "Keep the changes in a dictionary, by (change.item_id, change.version): then one that comes "
    "twice is there once. All three answers are a few lines over its values.",
)

LEARNT = (
    "State is what is left of history. From the log you can have the state of today, that of any "
    "moment, and answers to questions that no one asked in time; and since changes carry versions, "
    "a new projection can read the past and follow the present at once, in any order. "
    "ChangeLog.history and ChangeLog.state_at read the log that this project keeps."
)


def _count(history: History, wanted: dict[str, int], happened: str, why: str, read: str) -> None:
    counted: object = history.shipped_per_day()
    if counted != wanted:
        if isinstance(counted, Mapping) and {d: n for d, n in counted.items() if n} == wanted:
            why = "A day without any is left out."
        wrong(f"{happened}. The history counts {counted}, not {wanted}.", why, read)


@contextmanager
def _five_hours_west() -> Iterator[None]:
    """Set the process's time zone, where that can be done."""
    if not hasattr(time, "tzset"):
        yield
        return
    before = os.environ.get("TZ")
    os.environ["TZ"] = "EST5"
    time.tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


def _status(state: object) -> object:
    if state is not None and not isinstance(state, Mapping):
        wrong(
            f"The history returned a {type(state).__name__}, which is not an order.",
            "A state is an image, such as change.new_image; None if there is none.",
            reading.LOG,
        )
    if state is not None and "status" not in state:
        wrong(
            f"The history returned {state!r}, which is not an order.",
            "A state is an image, such as change.new_image; None if there is none.",
            reading.LOG,
        )
    return "not there" if state is None else state["status"]


def _whole(state: Image | None, image: Image | None, was: str) -> None:
    if state != image:
        wrong(
            f"Order 1001 {was} {short(image, state)}, and the history says {short(state, image)}.",
            "A state is the whole order, as the new image of one change has it.",
            reading.LOG,
        )


def _drawn(rng: random.Random) -> list[Written]:
    """Draw writes that change something: an order is deleted only if it is there."""
    written: list[Written] = []
    there: set[str] = set()
    after = timedelta(0)
    for _ in range(rng.randint(3, 20)):
        after += rng.choice([0 * SECOND, SECOND, HOUR, DAY])
        order_id = rng.choice(ORDER_IDS)
        status = rng.choice([*STATUSES, None] if order_id in there else STATUSES)
        there = there | {order_id} if status else there - {order_id}
        written.append((after, order_id, status))
    return written


def _status_then(written: Sequence[Written], order_id: str, after: timedelta) -> object:
    statuses = [status for at, owner, status in written if owner == order_id and at <= after]
    return (statuses[-1] if statuses else None) or "not there"


def _shipped(written: Sequence[Written]) -> dict[str, int]:
    days: Counter[str] = Counter()
    latest: dict[str, str | None] = {}
    for after, order_id, status in written:
        if status == "shipped" and latest.get(order_id) != "shipped":
            days[f"{NOON + after:%Y-%m-%d}"] += 1
        latest[order_id] = status
    return dict(days)


def _random(written: Sequence[Written], problem: str) -> NoReturn:
    lines = [
        f"{NOON + at:%m-%d %H:%M:%S}  {owner} {status or 'deleted'}"
        for at, owner, status in written
    ]
    wrong(
        f"In one of {HISTORIES} histories drawn at random, {problem}.",
        "It was read in no order, some of it twice, and its sequence numbers got a digit more on "
        "the way. What was written:",
        reading.VERSIONS,
        "\n".join(lines),
    )
