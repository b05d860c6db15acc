"""Lambda functions as people write them, with the standard library alone: one right, eight wrong.

`STORE` stands for the client of a database that a function has in its module.
"""

from collections import Counter
from typing import Any

Event = dict[str, Any]


class Store:
    """A database with one table of rows, one of counters, and a partner that takes orders."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[Any, Any]] = {}
        self.sums: Counter[str] = Counter()
        self.marks: set[str] = set()
        self.mails: dict[str, set[str]] = {}
        self.orders: Counter[tuple[str, int]] = Counter()

    def put_if_newer(self, name: str, version: Any, value: Any) -> None:
        if name not in self.rows or self.rows[name][0] < version:
            self.rows[name] = (version, value)

    def delete(self, name: str) -> None:
        self.rows.pop(name, None)

    def add(self, name: str, amount: int) -> None:
        self.sums[name] += amount

    def mark(self, name: str) -> None:
        self.marks.add(name)

    def is_marked(self, name: str) -> bool:
        return name in self.marks

    def mail(self, name: str, event_id: str) -> None:
        self.mails.setdefault(name, set()).add(event_id)

    def order(self, name: str, amount: int) -> None:
        if amount > 90:
            message = f"{amount} are too many"
            raise ValueError(message)
        self.orders[name, amount] += 1


STORE = Store()


def name_of(record: Event) -> str:
    return str(record["dynamodb"]["Keys"]["id"]["S"])


def image_of(record: Event, which: str = "NewImage") -> dict[str, Any] | None:
    image = record["dynamodb"].get(which)
    return image and {name: int(image[name]["N"]) for name in ("group", "amount")}


def version_of(record: Event) -> str:
    label = record["eventSourceARN"].rpartition("/")[2]
    return f"{label}/{record['dynamodb']['SequenceNumber']:0>40}"


def right(event: Event, context: object) -> None:
    for record in event["Records"]:
        STORE.put_if_newer(name_of(record), version_of(record), image_of(record))


def swallowed_exception(event: Event, context: object) -> None:
    for record in event["Records"]:
        try:
            STORE.put_if_newer(name_of(record), version_of(record), image_of(record))
        except Exception as error:
            print(f"could not write {name_of(record)}: {error}")


def timestamp_as_version(event: Event, context: object) -> None:
    for record in event["Records"]:
        time = record["dynamodb"]["ApproximateCreationDateTime"]
        STORE.put_if_newer(name_of(record), time, image_of(record))


def unpadded_sequence_numbers(event: Event, context: object) -> None:
    for record in event["Records"]:
        label = record["eventSourceARN"].rpartition("/")[2]
        version = f"{label}/{record['dynamodb']['SequenceNumber']}"
        STORE.put_if_newer(name_of(record), version, image_of(record))


def delete_without_tombstone(event: Event, context: object) -> None:
    for record in event["Records"]:
        if record["eventName"] == "REMOVE":
            STORE.delete(name_of(record))
        else:
            STORE.put_if_newer(name_of(record), version_of(record), image_of(record))


def new_minus_old(event: Event, context: object) -> None:
    for record in event["Records"]:
        for which, sign in (("NewImage", 1), ("OldImage", -1)):
            image = image_of(record, which)
            if image:
                STORE.add(f"group {image['group']}", sign * image["amount"])


def marker_before_effect(event: Event, context: object) -> None:
    for record in event["Records"]:
        if not STORE.is_marked(record["eventID"]):
            STORE.mark(record["eventID"])
            STORE.mail(name_of(record), record["eventID"])


def event_id_as_identifier(event: Event, context: object) -> Event:
    for record in event["Records"]:
        image = image_of(record)
        try:
            STORE.order(name_of(record), image["amount"] if image else 0)
        except ValueError:
            return {"batchItemFailures": [{"itemIdentifier": record["eventID"]}]}
    return {"batchItemFailures": []}


def continuing_past_a_failure(event: Event, context: object) -> Event:
    failures = []
    for record in event["Records"]:
        image = image_of(record)
        try:
            STORE.order(name_of(record), image["amount"] if image else 0)
        except ValueError:
            failures.append({"itemIdentifier": record["dynamodb"]["SequenceNumber"]})
    return {"batchItemFailures": failures}


def stopping_at_a_failure(event: Event, context: object) -> Event:
    for record in event["Records"]:
        image = image_of(record)
        try:
            STORE.order(name_of(record), image["amount"] if image else 0)
        except ValueError:
            number = record["dynamodb"]["SequenceNumber"]
            return {"batchItemFailures": [{"itemIdentifier": number}]}
    return {"batchItemFailures": []}
