"""Poison: items that the table takes but that some sink cannot apply; and their correction.

    python -m local.workload.poison correct --source-table NAME --table NAME --endpoint-url URL

corrects the poison of lambdas/domain/stories.py in the table and leaves every other item alone. It
may be stopped and run again at any moment.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import BotoCoreError, ClientError

from dynamodb_streams_cdc import deserialize_item
from dynamodb_streams_cdc.operations.endpoint import problem_of
from dynamodb_streams_cdc.testing.stories import StoriesError
from local.deployed.deployment import session
from local.items import item_of, keys_of
from local.verify import CHECKS
from local.workload.stories import WHERE, ItemPoison, read_stories
from local.workload.traffic import update_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from dynamodb_streams_cdc.entities import Table
    from local.items import Image
    from local.workload.stories import ItemStory


class Poison:
    """The poison of one run: `items` maps each poisoned item to its story."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.items: dict[str, ItemStory] = {}

    def hidden(
        self, stories: Iterator[ItemStory], count: int, poisonous: int
    ) -> Iterator[ItemStory]:
        """Yield the next `count` stories, of which `poisonous`, spread evenly, become poison.

        Of the stories in question, those of the defects that the run has least are preferred.

        Raises:
            StoriesError: too few of them have poison.
        """
        random = Random(f"{self._seed}/poison/{len(self.items)}")
        taken = list(islice(stories, count))
        able = [place for place, story in enumerate(taken) if story.poison is not None]
        if len(able) < poisonous:
            raise StoriesError(too_few(len(able), len(taken), poisonous))
        for number in range(poisonous):
            share = able[len(able) * number // poisonous : len(able) * (number + 1) // poisonous]
            used = Counter(poison.defect for _, poison in self._poison())
            defects = [(used[p.defect], place) for place in share if (p := taken[place].poison)]
            least = min(times for times, _ in defects)
            place = random.choice([place for times, place in defects if times == least])
            taken[place] = self._spoil(taken[place])
        yield from taken

    def _spoil(self, story: ItemStory) -> ItemStory:
        """Return the story with poison as its only state."""
        assert story.poison is not None
        self.items[story.item] = replace(story, states=(story.poison.state,), poisoned=True)
        return self.items[story.item]

    def _poison(self) -> Iterator[tuple[str, ItemPoison]]:
        for item, story in self.items.items():
            assert story.poison is not None
            yield item, story.poison

    def refused_by(self, sink: str) -> set[str]:
        """Return the poisoned items that a sink cannot apply."""
        return {item for item, poison in self._poison() if sink in poison.refused_by}

    @property
    def refusing(self) -> list[str]:
        """The sinks that cannot apply the poison, by name."""
        return sorted({sink for _, poison in self._poison() for sink in poison.refused_by})

    @property
    def compared(self) -> list[str]:
        """Those of them whose copies the demo reads: a further sink may have no check."""
        return [sink for sink in self.refusing if sink in CHECKS]


def too_few(able: int, stories: int, poisonous: int) -> str:
    """Return the sentence for stories of which too few have poison."""
    return (
        f"{poisonous:,} stories must be poison, and {able:,} of {stories:,} have any: give more of "
        f"them `poison` in {WHERE}."
    )


@dataclass(slots=True)
class Correction:
    """Counts of a correction: items read, defects corrected by name, items changed meanwhile."""

    read: int = 0
    changed_meanwhile: int = 0
    corrected: Counter[str] = field(default_factory=Counter)


def correct(
    client: DynamoDBClient, name: str, table: Table, stories: Iterable[ItemStory]
) -> Correction:
    """Correct every item that holds the poison of its story, unless it is changed meanwhile.

    Args:
        client: of DynamoDB.
        name: physical name of the table.
        table: its declaration.
        stories: have the poison and its correction.
    """
    poison = {story.item: story.poison for story in stories if story.poison is not None}
    done = Correction()
    pages = client.get_paginator("scan").paginate(TableName=name, ConsistentRead=True)
    for page in pages:
        for row in page["Items"]:
            done.read += 1
            item: Image = deserialize_item(row)
            found = poison.get(item_of(table, item))
            if found is None or found.state != item:
                continue
            if _write(client, name, keys_of(table, item), found):
                done.corrected[found.defect] += 1
            else:
                done.changed_meanwhile += 1
    return done


def _write(client: DynamoDBClient, table: str, keys: Image, poison: ItemPoison) -> bool:
    """Write the attributes that the correction changes, if they are still those of the poison."""
    encode = TypeSerializer().serialize
    update = update_of(poison.state, poison.correction, keys)
    conditions, values = [], update.pop("ExpressionAttributeValues", {})
    for short, name in update["ExpressionAttributeNames"].items():
        if name in poison.state:
            conditions.append(f"{short} = :seen{short[1:]}")
            values[f":seen{short[1:]}"] = encode(poison.state[name])
        else:
            conditions.append(f"attribute_not_exists({short})")
    arguments: dict[str, Any] = {
        **update,
        "ConditionExpression": " AND ".join(conditions),
        **({"ExpressionAttributeValues": values} if values else {}),
    }
    try:
        client.update_item(
            TableName=table, Key={n: encode(v) for n, v in keys.items()}, **arguments
        )
    except client.exceptions.ConditionalCheckFailedException:
        return False
    return True


def _endpoint(url: str) -> str:
    if problem := problem_of(url):
        raise argparse.ArgumentTypeError(problem)
    return url


def main(arguments: Sequence[str] | None = None) -> int:
    from local.declaration import TABLES, stories

    names = [table.name for table in TABLES]
    parser = argparse.ArgumentParser(
        prog="python -m local.workload.poison", description="Correct the poison of a table."
    )
    parser.add_argument("command", choices=["correct"])
    parser.add_argument("--source-table", required=True, choices=names, help="its logical name")
    parser.add_argument("--table", required=True, help="its physical name")
    parser.add_argument("--endpoint-url", required=True, type=_endpoint, help="URL of the emulator")
    parser.add_argument("--seed", type=int, default=1, help="of the stories")
    parser.add_argument("--data", type=Path, help="file that the stories were made from")
    parser.add_argument("--limit", type=int, help="stories to read; they may have no end")
    options = parser.parse_args(arguments)
    [table] = [table for table in TABLES if table.name == options.source_table]
    try:
        with closing(session(options.endpoint_url).client("dynamodb")) as client:
            told = read_stories([table], stories, options.seed, options.data)
            done = correct(client, options.table, table, islice(told, options.limit))
    except (BotoCoreError, ClientError, StoriesError) as error:
        print(f"Cannot correct {options.table}: {error}", file=sys.stderr)
        return 1
    print(f"{done.read:,} items read, {done.corrected.total():,} defects corrected")
    for name, count in sorted(done.corrected.items()):
        print(f"  {count:>4,}  {name}")
    if done.changed_meanwhile:
        changed = f"{done.changed_meanwhile:,} items"
        print(f"{changed} were changed meanwhile: run it again.", file=sys.stderr)
    return 1 if done.changed_meanwhile else 0


if __name__ == "__main__":
    sys.exit(main())
