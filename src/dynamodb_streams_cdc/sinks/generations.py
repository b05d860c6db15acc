"""The generations of sums: a rebuild makes the sums again, next to those that are read.

Rows of sums have a set of measures for each generation: `revenue` in generation 0, `g2_revenue` in
generation 2. So a transaction that adds to both has no further action. A ledger row carries its
generation, which says where its contribution counts:

    base    every row counts in it
    built   the rows that carry its number count in it as well

`Generations` is one item of the idempotency table. Every invocation looks it up, or knows it from a
look-up of the last `CACHE_SECONDS`. A change keeps the generation of its item's row; a new row gets
the one being built. Once all rows are in it, readers may be switched to it, and back.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import CdcError
from dynamodb_streams_cdc.names import FUNCTION_SECONDS
from dynamodb_streams_cdc.sinks.contributions import GENERATION, Contribution, add

CACHE_SECONDS = 10.0
"""How long a function may use what it looked up."""

MARGIN_SECONDS = 10.0
"""For a request that is on its way when its function ends, and for clocks that differ."""

WAIT_SECONDS = CACHE_SECONDS + FUNCTION_SECONDS + MARGIN_SECONDS
"""From then on no invocation is left that looked up the state before."""


class WrongGeneration(CdcError):
    """The step does not fit the generations that there are; the message says what does."""


@dataclass(frozen=True, slots=True)
class Generations:
    """The generations of the sums.

    Attributes:
        base: every row of the ledger counts in it.
        built: rows that carry its number count in it as well; None if there is none.
        live: the one that readers read, `base` or `built`.
        last: the greatest number that was given so far.
        dropped: the one whose measures are being removed; None if there is none.
        revision: incremented by every write.
        since: when `base` or `built` changed, in seconds since 1970.
    """

    base: int = 0
    built: int | None = None
    live: int = 0
    last: int = 0
    dropped: int | None = None
    revision: int = 0
    since: float = 0.0

    @property
    def new(self) -> int:
        """The generation of a new row."""
        return self.base if self.built is None else self.built

    def counting(self, generation: int) -> tuple[int, ...]:
        """Return where a row of a generation counts.

        A number that is greater than `last` was given after this was looked up.
        """
        counts = generation != self.base and (generation == self.built or generation > self.last)
        return (self.base, generation) if counts else (self.base,)

    def wait(self, now: float) -> float:
        """Return the seconds until every invocation knows of `base` and `built`."""
        return max(0.0, self.since + WAIT_SECONDS - now)

    def begun(self, now: float) -> "Generations":
        """Return the state in which a new generation is built; this one if one is already.

        Raises:
            WrongGeneration: the one before is not finished.
        """
        if self.dropped is not None:
            message = "the measures of the last rebuild are not all removed: finish it first"
            raise WrongGeneration(message)
        if self.built is None:
            return replace(self, built=self.last + 1, last=self.last + 1, since=now)
        if self.live == self.built:
            message = "readers are switched to the last rebuild: finish it, or roll it back, first"
            raise WrongGeneration(message)
        return self

    def switched(self, generation: int) -> "Generations":
        """Return the state in which readers read a generation.

        Raises:
            WrongGeneration: it is neither `base` nor `built`.
        """
        if generation not in (self.base, self.built):
            message = f"generation {generation} is not kept: another operator has ended it"
            raise WrongGeneration(message)
        return replace(self, live=generation)

    def finished(self, now: float) -> "Generations":
        """Return the state in which nothing counts but what readers read."""
        if self.built is None:
            return self
        other = self.base if self.live == self.built else self.built
        return replace(self, base=self.live, built=None, dropped=other, since=now)

    def cleaned(self) -> "Generations":
        """Return the state in which the measures of the dropped generation are gone."""
        return replace(self, dropped=None)


def measure_of(generation: int, measure: str) -> str:
    """Return the attribute that holds a measure of a generation."""
    return f"g{generation}_{measure}" if generation else measure


def generation_of(attribute: str) -> int:
    """Return the generation whose measure an attribute of a row of sums holds."""
    found = GENERATION.match(attribute)
    return int(found[1]) if found else 0


def spread(contribution: Contribution, generations: Iterable[int]) -> Contribution:
    """Return what a contribution adds to the measures of some generations."""
    numbers = tuple(generations)
    if numbers == (0,):
        return contribution
    return {
        aggregate: {
            measure_of(number, measure): amount
            for number in numbers
            for measure, amount in measures.items()
        }
        for aggregate, measures in contribution.items()
    }


def of_generation(sums: Contribution, generation: int) -> Contribution:
    """Return the measures of one generation, under their own names, without those of zero."""
    prefix = len(measure_of(generation, ""))
    return add(
        {
            aggregate: {
                name[prefix:]: amount
                for name, amount in measures.items()
                if generation_of(name) == generation
            }
        }
        for aggregate, measures in sums.items()
    )


def as_document(generations: Generations) -> Mapping[str, int | float | None]:
    """Return the state for JSON."""
    return {
        "base": generations.base,
        "built": generations.built,
        "live": generations.live,
        "last": generations.last,
        "dropped": generations.dropped,
        "revision": generations.revision,
        "since": generations.since,
    }


@dataclass
class GenerationsCache:
    """What one environment of a function knows of the generations."""

    _held: Generations | None = field(default=None, init=False)
    _looked_up_at: float = field(default=0.0, init=False)

    def get(self, look_up: Callable[[Deadline], Generations], deadline: Deadline) -> Generations:
        """Return what was looked up in the last `CACHE_SECONDS`, by the deadline's clock."""
        now = deadline.now()
        if self._held is None or not 0 <= now - self._looked_up_at < CACHE_SECONDS:
            self._held = look_up(deadline)
            self._looked_up_at = now
        return self._held
