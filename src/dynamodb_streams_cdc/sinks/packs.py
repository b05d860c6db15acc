"""The packing of ledger rows, and the sums that they move, into transactions."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from dynamodb_streams_cdc.sinks.contributions import MAX_ACTIONS, Contribution


class Step(Protocol):
    """The write of one ledger row."""

    @property
    def delta(self) -> Contribution:
        """What it adds to the sums."""


AnyStep = TypeVar("AnyStep", bound=Step)


@dataclass
class _Pack(Generic[AnyStep]):
    steps: list[AnyStep] = field(default_factory=list)
    aggregates: set[str] = field(default_factory=set)


def packs(steps: Iterable[AnyStep]) -> Iterator[list[AnyStep]]:
    """Fill transactions: a ledger row for each item, a row for each distinct aggregate."""
    pack: _Pack[AnyStep] = _Pack()
    for step in steps:
        if len(pack.steps) + 1 + len(pack.aggregates | step.delta.keys()) > MAX_ACTIONS:
            yield pack.steps
            pack = _Pack()
        pack.steps.append(step)
        pack.aggregates |= step.delta.keys()
    if pack.steps:
        yield pack.steps
