"""Example 1: the records of a stream, their contents and their order.

    python -m dynamodb_streams_cdc.examples.example_1

One order is placed, shipped and cancelled. The example shows these three writes in the four view
types and a function that follows them; with more orders, it shows the order that a stream keeps.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

from dynamodb_streams_cdc import (
    Change,
    ChangeHandlers,
    ChangeKind,
    Image,
    MissingImage,
    Processor,
    Source,
    ViewType,
)
from dynamodb_streams_cdc.change import RECORDED
from dynamodb_streams_cdc.examples import story
from dynamodb_streams_cdc.testing import Lab
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters

Record: TypeAlias = Mapping[str, Any]

ORDERS = Source("orders")


def order(order_id: str, status: str = "placed", total: str = "29.33") -> Image:
    """Return an order, as the application writes it."""
    return {"order_id": order_id, "status": status, "total": Decimal(total)}


def life(view_type: ViewType) -> list[Record]:
    """Return the records of one order's life, as a stream of this view type delivers them."""
    lab = Lab(lambda event, context: None, keys=["order_id"], view_type=view_type)
    lab.put(order("1001"))
    lab.put(order("1001", "shipped"))
    lab.delete({"order_id": "1001"})
    lab.run()
    return [record for delivery in lab.deliveries for record in delivery.records]


# Questions that a view type can answer, or cannot

QUESTIONS: Mapping[str, tuple[ChangeKind, Callable[[Change], object]]] = {
    "which order, and what happened?": (ChangeKind.MODIFY, lambda c: (c.item_id, c.kind)),
    "what is the order now?": (ChangeKind.MODIFY, lambda change: change.new_image),
    "what was it before?": (ChangeKind.MODIFY, lambda change: change.old_image),
    "what exactly has changed?": (ChangeKind.MODIFY, lambda change: change.diff()),
    "what was it that is gone now?": (ChangeKind.REMOVE, lambda change: change.old_image),
}
"""Each is asked of one change of the order's life."""


def answers(question: str, view_type: ViewType) -> object:
    """Return the answer to a question, or the `MissingImage` that says why there is none."""
    kind, ask = QUESTIONS[question]
    changes = [Change.from_record(record, ORDERS) for record in life(view_type)]
    [change] = [change for change in changes if change.kind is kind]
    try:
        return ask(change)
    except MissingImage as missing:
        return missing


# A function that follows the orders


def bulletins(post: Callable[[str], object]) -> ChangeHandlers:
    """Return handlers that post a line for each change of an order."""
    handlers = ChangeHandlers()

    @handlers.on_insert
    def placed(change: Change) -> None:
        post(f"order {change.keys['order_id']} is new: {change.new_image}")

    @handlers.on_modify
    def modified(change: Change) -> None:
        differences = "; ".join(map(str, change.diff()))
        post(f"order {change.keys['order_id']} has changed: {differences}")

    @handlers.on_remove
    def removed(change: Change) -> None:
        how = "has expired" if change.expired else "was deleted"
        post(f"order {change.keys['order_id']} {how}: {change.old_image}")

    return handlers


def follow() -> list[str]:
    """Return the function's posts on two orders; one is written twice, one expires."""
    posted: list[str] = []
    lab = Lab(keys=["order_id"], FunctionResponseTypes=["ReportBatchItemFailures"])
    handlers = bulletins(posted.append)
    lab.function(Processor("bulletins", ORDERS, handlers, MemoryDeadLetters(), clock=lab.clock))
    lab.put(order("1001"), order("1002", total="5"))
    lab.put(order("1001", "shipped"))
    lab.put(order("1001", "shipped"))
    lab.delete({"order_id": "1001"})
    lab.expire({"order_id": "1002"})
    lab.run()
    return posted


# The order of changes


def written_and_delivered() -> tuple[list[Record], list[list[Record]]]:
    """Return the records of three orders as they were written, and as they were delivered."""
    lab = Lab(lambda event, context: None, keys=["order_id"], partitions=3)
    for status in ("placed", "shipped", "refunded"):
        lab.put(*(order(order_id, status) for order_id in ("1001", "1002", "1003")))
    lab.run()
    delivered = [list(delivery.records) for delivery in lab.deliveries]
    written = sorted((r for records in delivered for r in records), key=sequence_number)
    return written, delivered


def sequence_number(record: Record) -> int:
    """Return a record's sequence number: 21 to 40 digits, which Python's integers can take."""
    return int(record["dynamodb"]["SequenceNumber"])


def label(record: Record) -> str:
    """Return the order and status of a record, such as `1001 shipped`."""
    image = Change.from_record(record, ORDERS).new_image or {}
    return f"{image['order_id']} {image['status']}"


# The story


def main() -> None:
    """Print the example."""
    story.begin("Example 1: what a stream tells, and what it leaves out")
    _tell_a_record()
    _tell_view_types()
    _tell_handlers()
    _tell_order()
    story.say(
        "Next: Lambda delivers every record at least once, and now and then twice. What that does "
        "to a program that counts: make example-2"
    )


def _tell_a_record() -> None:
    modified = life(ViewType.NEW_AND_OLD_IMAGES)[1]
    change = Change.from_record(modified, ORDERS)
    story.section("1. A record")
    story.say(
        "Order 1001 is placed, shipped, deleted: three writes, three records in the table's "
        "stream, kept for 24 hours. Lambda polls the stream and calls your function with batches "
        "of them. This is the second, as it arrives:"
    )
    story.data(modified)
    story.say(
        "The library reads it once, as change = Change.from_record(record, Source('orders')):"
    )
    story.facts(_facts(change))
    story.say(
        f"All three records carry the same time, {change.timestamp:.0f}: it is rounded down to the "
        "second, so it cannot put the changes of an item in order. Nor can the sequence number "
        "alone: it is text of 21 to 40 digits, and numbers of two streams of a table do not "
        "compare. The version can: it is the label of the stream and the padded number. The event "
        "id is the same each time a record is delivered."
    )


def _facts(change: Change) -> Iterator[tuple[str, object]]:
    yield "change.kind", change.kind
    yield "change.item_id", change.item_id
    yield "change.old_image", change.old_image
    yield "change.new_image", change.new_image
    yield "change.diff()", "; ".join(map(str, change.diff()))
    yield "change.version", change.version


def _tell_view_types() -> None:
    story.section("2. Four view types, the same three writes")
    story.say("What the records hold:")
    story.table(
        ("view type", *RECORDED, "bytes"),
        ((view_type, *map(held, life(view_type)), weight(view_type)) for view_type in ViewType),
    )
    story.say("What they can answer:")
    story.table(
        ("question", *ViewType),
        (
            (question, *("-" if is_missing(question, view) else "yes" for view in ViewType))
            for question in QUESTIONS
        ),
    )
    story.say("Where a record has no answer, the library says so rather than making one up:")
    story.quote(f"MissingImage: {answers('what exactly has changed?', ViewType.NEW_IMAGE)}")
    story.say(
        "A view type cannot be changed, only replaced together with its stream. With KEYS_ONLY a "
        "function would have to read the item, and find what it is by then, or nothing. Take "
        "NEW_AND_OLD_IMAGES unless you know that you will never need the rest."
    )


def held(record: Record) -> str:
    """Return the images that a record holds, such as `keys, new, old`."""
    names = {"Keys": "keys", "NewImage": "new", "OldImage": "old"}
    return ", ".join(short for name, short in names.items() if name in record["dynamodb"])


def weight(view_type: ViewType) -> int:
    """Return the size of the three records together, in bytes, as DynamoDB counts it."""
    return sum(int(record["dynamodb"]["SizeBytes"]) for record in life(view_type))


def is_missing(question: str, view_type: ViewType) -> bool:
    """Return whether records of this view type cannot answer a question."""
    return isinstance(answers(question, view_type), MissingImage)


def _tell_handlers() -> None:
    story.section("3. A function that follows the orders")
    story.code(bulletins)
    story.say(
        "Processor('bulletins', Source('orders'), bulletins(print), dead_letters) is the function "
        "that "
        "Lambda calls. Order 1001 is placed, shipped, written as it is once more, and deleted; "
        "order 1002 is placed, and expires. The function posts:"
    )
    story.show("\n".join(follow()))
    story.say(
        "A write that changes nothing makes no record. An expiry by Time to Live is a REMOVE too; "
        "its userIdentity tells it from a delete."
    )


def _tell_order() -> None:
    written, delivered = written_and_delivered()
    story.section("4. Which order is kept")
    story.say("Three orders, each placed, shipped, refunded. Their records were written so:")
    story.show("\n".join(", ".join(map(label, written[i : i + 3])) for i in range(0, 9, 3)))
    story.say("The table has three partitions, its stream three shards. Delivered, call by call:")
    story.show("\n".join(", ".join(map(label, records)) for records in delivered))
    story.say(
        "The changes of one item stay in the order in which they were written, because they are in "
        "one shard. Between items there is no order: do not build on one."
    )


if __name__ == "__main__":
    story.tell(main)
