"""Mutants of the pipeline: a rule is taken out, and some schedule has to end wrong."""

from collections.abc import Callable, Iterable
from typing import Any

from dynamodb_streams_cdc.testing.simulation import (
    Consumer,
    PipelineUnderTest,
    Schedule,
    Simulation,
    VirtualClock,
)


def assert_wrong(
    generate: Callable[[int], Schedule], seeds: Iterable[int], **stores: Callable[[], Any]
) -> None:
    """Check that a copy is wrong after the schedule of one of the seeds, which run in their order.

    `stores` are classes in place of those of the pipeline.
    """

    def consumers(virtual_clock: VirtualClock) -> list[Consumer]:
        made = {name: store() for name, store in stores.items()}
        return PipelineUnderTest(virtual_clock, **made).consumers()

    ends = (Simulation(generate(seed), consumers).run() for seed in seeds)
    assert any(end.problems for end in ends), "a rule that no schedule needs, or schedules too tame"


def seeds(*known: int) -> Iterable[int]:
    """Return the seeds of the 2,000, those first that were seen to fail when this was written."""
    return [*known, *range(2_000)]
