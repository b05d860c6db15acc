"""Decoding a stream record: the keys, the new and the old image, each read in full.

    python -m benchmarks.parse [--json] [--rounds N]

Ours against boto3's `TypeDeserializer`, Powertools' `DynamoDBRecord` and, as a mark that no decoder
of parsed JSON has to reach, `json.loads` of the text of the same images. Single-core speed of a
machine changes within a run, so the variants take turns: each round times every variant three times
over the same distinct records and keeps its fastest; the ratios are taken within a round, and the
table gives their median with the 5th and 95th percentile.

What was tried for ours, as multiples of the time of the nested order: one function per value,
behind a table 1.3, behind a `match` on the type 1.25; comprehensions over `value.items()` 1.35; a
`match` on patterns 4.9; one loop for both maps and lists 1.04; numbers checked by a regular
expression 1.6. A cache of numbers takes 0.85 where the same ones recur, but it is state between
records, and the goals are met without.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from boto3.dynamodb.types import TypeDeserializer

from dynamodb_streams_cdc.deserializer import deserialize_item

IMAGES = ("Keys", "NewImage", "OldImage")
RECORDS = 100
REPEATS = 3

# Peer's time divided by ours, at least.
GOALS = {
    "nested": {"boto3": 2.5, "powertools": 4.0, "json.loads": 1 / 1.3},
    "flat": {"boto3": 2.0, "powertools": 3.0, "json.loads": 1 / 1.3},
}

Record = dict[str, Any]
Variant = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One peer beside ours on one kind of record; times in microseconds per record."""

    record: str
    peer: str
    ours_us: float
    peer_us: float
    ratio: float
    ratio_low: float
    ratio_high: float
    goal: float


def main() -> None:
    """Print the comparison as a table, or as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parse", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--rounds", type=int, default=60, help="turns of each variant")
    arguments = parser.parse_args()
    rows = list(compare(arguments.rounds))
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print_table(rows)


def compare(rounds: int) -> Iterator[Row]:
    """Measure every variant on both kinds of record."""
    for kind, make_item in (("nested", nested_order), ("flat", flat_purchase)):
        records = make_records(make_item)
        times = take_turns(variants(records), rounds)
        ours = times.pop("ours")
        for peer, seconds in times.items():
            ratios = [theirs / mine for theirs, mine in zip(seconds, ours, strict=True)]
            low, *_, high = statistics.quantiles(ratios, n=20)
            yield Row(
                record=kind,
                peer=peer,
                ours_us=statistics.median(ours) * 1e6,
                peer_us=statistics.median(seconds) * 1e6,
                ratio=statistics.median(ratios),
                ratio_low=low,
                ratio_high=high,
                goal=GOALS[kind][peer],
            )


def variants(records: list[Record]) -> dict[str, Variant]:
    """Return what is timed: each reads all images of all `records`."""
    images = [[record["dynamodb"][image] for image in IMAGES] for record in records]
    texts = [json.dumps(dict(zip(IMAGES, of_record, strict=True))) for of_record in images]
    deserializer = TypeDeserializer()

    def ours() -> None:
        for of_record in images:
            for image in of_record:
                deserialize_item(image)

    def boto3() -> None:
        for of_record in images:
            for image in of_record:
                {name: deserializer.deserialize(value) for name, value in image.items()}

    def powertools() -> None:
        for record in records:
            stream_record = DynamoDBRecord(record).dynamodb
            assert stream_record is not None
            _ = stream_record.keys, stream_record.new_image, stream_record.old_image

    def json_loads() -> None:
        for text in texts:
            json.loads(text)

    return {"ours": ours, "boto3": boto3, "powertools": powertools, "json.loads": json_loads}


def take_turns(contestants: dict[str, Variant], rounds: int) -> dict[str, list[float]]:
    """Return the seconds per record of each variant, one figure per round."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            times[name].append(min(timed(run) for _ in range(REPEATS)) / RECORDS)
    return times


def timed(run: Variant) -> float:
    """Return how many seconds of processor time one call takes."""
    start = time.thread_time()
    run()
    return time.thread_time() - start


def make_records(make_item: Callable[[random.Random], Record]) -> list[Record]:
    """Return changes of distinct items as Lambda delivers them: parsed from JSON."""
    source = random.Random(1997)
    records = []
    for _ in range(RECORDS):
        old = make_item(source)
        keys = {name: old[name] for name in ("customer_id", "order_id")}
        new = old | {"status": {"S": "shipped"}}
        images = dict(zip(IMAGES, (keys, new, old), strict=True))
        records.append({"eventID": "0", "eventName": "MODIFY", "dynamodb": images})
    parsed: list[Record] = json.loads(json.dumps(records))
    return parsed


def nested_order(source: random.Random) -> Record:
    """Return an order of twelve attributes, one of them a list of five lines."""
    amounts = [source.randrange(500, 3000) for _ in range(5)]
    lines = [
        {
            "M": {
                "title": {"S": f"Compact disc {source.randrange(10_000)}"},
                "quantity": {"N": str(source.randrange(1, 5))},
                "amount": {"N": f"{cents / 100:.2f}"},
            }
        }
        for cents in amounts
    ]
    return {
        **order_key(source),
        "status": {"S": "placed"},
        "placed_at": {"S": f"1997-01-{source.randrange(1, 32):02}T00:00:00Z"},
        "total": {"N": f"{sum(amounts) / 100:.2f}"},
        "currency": {"S": "USD"},
        "lines": {"L": lines},
        "gift": {"BOOL": source.random() < 0.5},
        "note": {"NULL": True},
        "updated_by": {"S": "checkout"},
        "updated_at": {"S": "2026-01-01T00:00:00Z"},
        "expires_at": {"N": str(source.randrange(1_800_000_000, 1_900_000_000))},
    }


def flat_purchase(source: random.Random) -> Record:
    """Return a purchase as the CDNOW data set has it: who, when, how many discs, how much."""
    return {
        **order_key(source),
        "date": {"S": f"1997-01-{source.randrange(1, 32):02}"},
        "status": {"S": "placed"},
        "quantity": {"N": str(source.randrange(1, 10))},
        "value": {"N": f"{source.randrange(500, 10_000) / 100:.2f}"},
    }


def order_key(source: random.Random) -> Record:
    """Return the two key attributes of an order."""
    customer = f"{source.randrange(23_570):05}"
    return {
        "customer_id": {"S": customer},
        "order_id": {"S": f"{customer}-{source.randrange(10_000):04}"},
    }


def print_table(rows: list[Row]) -> None:
    """Print one line per peer; the ratio is the peer's time divided by ours."""
    print(
        f"{'record':8}{'peer':12}{'ours us':>9}{'peer us':>9}{'ratio':>8}{'5-95 %':>15}{'goal':>7}"
    )
    for row in rows:
        spread = f"{row.ratio_low:.2f}-{row.ratio_high:.2f}"
        print(
            f"{row.record:8}{row.peer:12}{row.ours_us:9.2f}{row.peer_us:9.2f}"
            f"{row.ratio:8.2f}{spread:>15}{row.goal:7.2f}"
        )


if __name__ == "__main__":
    main()
