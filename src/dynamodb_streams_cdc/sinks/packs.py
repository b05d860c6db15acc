"""The packing of ledger rows, and the sums that they move, into transactions."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from dynamodb_streams_cdc.sinks.contributions import MAX_ACTIONS, MAX_ADDITIONS, Contribution


class Step(Protocol):
    """The write of one ledger row."""

    @property
    def delta(self) -> Contribution:
        """What it adds to the sums."""


AnyStep = TypeVar("AnyStep", bound=Step)


def packs(steps: Iterable[AnyStep]) -> Iterator[list[AnyStep]]:
    """Fill transactions: a ledger row for each item, a row for each distinct aggregate.

    One update of an aggregate's row holds `MAX_ADDITIONS` measures.
    """
    pack: list[AnyStep] = []
    sums: defaultdict[str, set[str]] = defaultdict(set)
    for step in steps:
        delta = step.delta
        if pack and (
            len(pack) + 1 + len(sums.keys() | delta.keys()) > MAX_ACTIONS
            or any(
                len(sums[name]) + len(measures) > MAX_ADDITIONS  # a union takes longer
                and len(sums[name] | measures.keys()) > MAX_ADDITIONS
                for name, measures in delta.items()
                if name in sums
            )
        ):
            yield pack
            pack, sums = [], defaultdict(set)
        pack.append(step)
        for aggregate, measures in delta.items():
            sums[aggregate].update(measures)
    if pack:
        yield pack
