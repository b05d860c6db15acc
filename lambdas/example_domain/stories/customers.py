"""Profiles of customers: one customer and one seed always give the same states."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from lambdas.example_domain.customer import PROFILE

if TYPE_CHECKING:
    from lambdas.example_domain.stories.purchases import Purchase

Profile = dict[str, Any]

# Shares of all customers.
BECAME_REGULAR = 0.3
BECAME_GOLD = 0.1
RENAMED = 0.05
LEFT = 0.03

# The data set has no names: these are made up.
FIRST = ("Ada", "Björn", "Chidi", "Dalia", "Emi", "Farid", "Grace", "Hana", "Iker", "Jo")
LAST = ("Abara", "Brandt", "Costa", "Dvořák", "Eze", "Fujita", "García", "Hughes", "Ito", "Jung")


def life_of(first: Purchase, seed: int) -> list[Profile | None]:
    """Return the states of the profile of the customer who made this first purchase."""
    random = Random(f"{seed}/{first.customer}/{PROFILE}")
    profile: Profile = {
        "customer_id": first.customer,
        "order_id": PROFILE,
        "name": f"{random.choice(FIRST)} {random.choice(LAST)}",
        "segment": "new",
        "since": f"{first.day:%Y-%m-%d}T00:00:00Z",
        "updated_by": "sign-up",
    }
    states: list[Profile | None] = [profile]
    for share, fields in (
        (RENAMED, {"name": f"{random.choice(FIRST)} {random.choice(LAST)}"}),
        (BECAME_REGULAR, {"segment": "regular"}),
        (BECAME_GOLD, {"segment": "gold"}),
    ):
        if random.random() < share:
            day = first.day + timedelta(days=30 * len(states))
            updated = {"updated_by": "loyalty", "updated_at": f"{day:%Y-%m-%d}T00:00:00Z"}
            profile = {**profile, **fields, **updated}
            states.append(profile)
    if random.random() < LEFT:
        states.append(None)
    return states
