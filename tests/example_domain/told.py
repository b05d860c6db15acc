"""Stories of the example domain, as the demo reads them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from lambdas.example_domain import TABLES
from lambdas.example_domain.stories import stories
from local.workload.stories import read_stories

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.workload.stories import ItemStory


def told(limit: int | None = None, seed: int = 1) -> Iterator[ItemStory]:
    return islice(read_stories(TABLES, stories, seed, None), limit)


def told_orders(limit: int | None = None) -> Iterator[ItemStory]:
    orders = (s for s in told() if s.entity is not None and s.entity.name == "order")
    return islice(orders, limit)
