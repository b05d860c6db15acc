"""Sample stories of the shop: orders made from real purchases, and profiles of the customers.

The demo and the rehearsals write them. They are never packaged for Lambda.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from dynamodb_streams_cdc.testing.stories import Story
from lambdas.example_domain.stories.customers import life_of
from lambdas.example_domain.stories.defects import DEFECTS, poison_of
from lambdas.example_domain.stories.orders import life_cycle
from lambdas.example_domain.stories.purchases import SAMPLE, read_purchases

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def stories(table: str, seed: int, data: Path | None) -> Iterator[Story]:
    """Yield a customer's profile, then an order for each purchase.

    `data` is a file of purchases in the CDNOW format, plain or gzipped.

    Raises:
        PurchasesError: the file cannot be read as purchases.
    """
    customers = set()
    turns = count()
    for purchase in read_purchases(data or SAMPLE):
        if purchase.customer not in customers:
            customers.add(purchase.customer)
            yield Story(life_of(purchase, seed))
        states = life_cycle(purchase, seed)
        assert states[0] is not None
        defect = DEFECTS[next(turns) % len(DEFECTS)]
        yield Story(states, poison=poison_of(states[0], defect))
