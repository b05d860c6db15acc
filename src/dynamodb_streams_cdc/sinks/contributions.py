"""Contributions of items to aggregates: their arithmetic, their form and their limits."""

import re
from collections.abc import Iterable, Mapping
from decimal import Context, Decimal
from typing import Any, TypeAlias

from dynamodb_streams_cdc.errors import PermanentError
from dynamodb_streams_cdc.names import AGGREGATES_KEYS

Amount: TypeAlias = int | Decimal
Contribution: TypeAlias = Mapping[str, Mapping[str, Amount]]
"""`{aggregate: {measure: amount}}`, such as `{"month#1997-01": {"revenue": Decimal("29.33")}}`."""

MAX_ACTIONS = 100
"""The most actions of one transaction
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html)."""

MAX_AGGREGATES = MAX_ACTIONS - 1
"""The most aggregates of one item: they and its ledger row change in one transaction."""

MAX_ADDITIONS = 300
"""Measures that one update of a sum adds to: an expression has 4 KB at most, and names each twice
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-expression-parameters)."""

MAX_MEASURES = MAX_ADDITIONS // 2
"""The most measures of one item in one aggregate: a rebuild adds to the sums of two generations."""

MAX_KEY_BYTES = 2048
"""The longest key of an aggregate, in UTF-8: it is a partition key
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-partition-sort-keys)."""

DIGITS = 38
"""The significant digits of a number in DynamoDB
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-data-types)."""

HEADROOM = 12
"""Digits that a sum may have more than its amounts: room for 10^12 items in one aggregate."""

DECIMALS = 6
"""How many decimal places an amount may have, unless the sink is told otherwise."""

RESERVED = frozenset({*AGGREGATES_KEYS, "revision"})
"""Attributes of an aggregate row that cannot name a measure."""

GENERATION = re.compile(r"g([1-9][0-9]*)_", re.ASCII)
"""The beginning of the attributes that hold another generation's measures; see `generations`."""

_EXACT = Context(prec=300)


def negated(contribution: Contribution) -> Contribution:
    """Return the contribution with every amount negated."""
    return {
        aggregate: {measure: _EXACT.minus(Decimal(amount)) for measure, amount in measures.items()}
        for aggregate, measures in contribution.items()
    }


def add(contributions: Iterable[Contribution]) -> Contribution:
    """Return the exact sum of contributions, without the amounts that are zero."""
    total: dict[str, dict[str, Decimal]] = {}
    for contribution in contributions:
        for aggregate, measures in contribution.items():
            sums = total.setdefault(aggregate, {})
            for measure, amount in measures.items():
                sums[measure] = _EXACT.add(sums.get(measure, Decimal(0)), Decimal(amount))
    return {
        aggregate: kept
        for aggregate, measures in total.items()
        if (kept := {measure: amount for measure, amount in measures.items() if amount})
    }


def checked(contribution: Any, decimals: int = DECIMALS) -> Contribution:
    """Return a contribution without its zeros, once its form is found right.

    Raises:
        TypeError: it is not a mapping of mappings, an amount is neither `int` nor a finite
            `Decimal`, or a name is not text.
        PermanentError: it has more than 99 aggregates, or 150 measures in one, a key that is too
            long, or an amount that is too large or has too many decimal places for its sum to stay
            exact; see `Aggregation.decimals`.
    """
    if not isinstance(contribution, Mapping):
        message = (
            "`contributions` must return {aggregate: {measure: amount}}, {} for none; got "
            f"{type(contribution).__name__}"
        )
        raise TypeError(message)
    for aggregate, measures in contribution.items():
        if not isinstance(aggregate, str) or not aggregate:
            message = f"an aggregate's key must be non-empty text, got {aggregate!r}"
            raise TypeError(message)
        if (size := len(aggregate.encode("utf-8", "surrogatepass"))) > MAX_KEY_BYTES:
            message = (
                f"{aggregate[:20]}...: an aggregate's key has at most {MAX_KEY_BYTES:,} bytes, got "
                f"{size:,}"
            )
            raise PermanentError(message, "KeyTooLong")
        if not isinstance(measures, Mapping):
            message = f"{aggregate}: expected {{measure: amount}}, got {type(measures).__name__}"
            raise TypeError(message)
        for measure, amount in measures.items():
            if not isinstance(measure, str) or not measure or is_reserved(measure):
                message = (
                    f"{aggregate}: a measure's name must be text other than "
                    f"{', '.join(sorted(RESERVED))}, and not begin like g1_, got {measure!r}"
                )
                raise TypeError(message)
            exact = isinstance(amount, int | Decimal) and not isinstance(amount, bool)
            if not exact or not Decimal(amount).is_finite():
                message = (
                    f"{aggregate}.{measure}: an amount must be an int or a finite Decimal, "
                    f"got {amount!r}"
                )
                raise TypeError(message)
            if not fits(amount, decimals):
                message = (
                    f"{aggregate}.{measure}: an amount must be less than 10^"
                    f"{DIGITS - HEADROOM - decimals} and have at most {decimals} decimal places"
                )
                raise PermanentError(message, "AmountOutOfRange")
    total = add([contribution])
    if error := too_large(total, MAX_MEASURES):
        raise error
    return total


def too_large(moved: Contribution, most: int = MAX_ADDITIONS) -> PermanentError | None:
    """Return why one transaction does not hold what an item moves; None if it does.

    `most` measures of an aggregate fit.
    """
    if len(moved) > MAX_AGGREGATES:
        message = (
            f"the item contributes to {len(moved)} aggregates; a transaction holds {MAX_AGGREGATES}"
        )
        return PermanentError(message, "TooManyAggregates")
    for aggregate, measures in moved.items():
        if len(measures) > most:
            message = (
                f"{aggregate}: the item contributes to {len(measures)} measures of this aggregate, "
                f"at most {most} fit: spread them over several aggregates"
            )
            return PermanentError(message, "TooManyMeasures")
    return None


def is_reserved(attribute: str) -> bool:
    """Return whether an attribute of an aggregate row cannot name a measure."""
    return attribute in RESERVED or GENERATION.match(attribute) is not None


def fits(amount: Amount, decimals: int) -> bool:
    """Return whether 10^12 such amounts have a sum of 38 digits at most."""
    bound = 10 ** (DIGITS - HEADROOM - decimals)
    if not -bound < amount < bound:
        return False
    if isinstance(amount, int):
        return True
    _, digits, exponent = amount.as_tuple()
    assert isinstance(exponent, int)
    if exponent >= -decimals:
        return True
    return not any(digits[exponent + decimals :])
