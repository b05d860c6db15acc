"""Stories of stations and their readings."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random

from dynamodb_streams_cdc.testing.stories import Poison, Story


def stories(table: str, seed: int, data: Path | None) -> Iterator[Story]:
    """Yield a station, then its readings; the same seed gives the same stories."""
    random = Random(seed)
    for number in range(1, 1001):
        station = {
            "id": f"STATION#{number}",
            "hour": 0,
            "country": random.choice(["CH", "NO", "PE"]),
            "height": random.randrange(3000),
            "operator": "survey",
        }
        moved = {**station, "height": random.randrange(3000), "operator": "office"}
        broken = {**station, "height": "high"}
        poison = Poison("a height that is text", broken, station)
        yield Story([station, moved, *([None] if number % 5 == 0 else [])], poison)
        for hour in range(random.randrange(1, 4)):
            celsius = Decimal(random.randrange(-300, 400)) / 10
            reading = {"id": f"READING#{number}", "hour": hour, "celsius": celsius}
            corrected = {**reading, "celsius": celsius + 1}
            yield Story([reading, corrected, *([None] if hour == 2 else [])])
