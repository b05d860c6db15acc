"""Tell for each of the eight mistakes the shortest story in which it fails.

    python -m tools.mistakes    find the seeds of the shortest stories again

A story is a schedule among the 200 that the tests run, without what the failure does not need.
"""

import logging
import sys

from dynamodb_streams_cdc.examples.mistakes import MISTAKES, Mistake
from dynamodb_streams_cdc.testing.simulation import Schedule, Simulation, generate
from dynamodb_streams_cdc.testing.simulation.shrink import shrink

SEEDS = {
    "event_id_as_identifier": 90,
    "marker_before_effect": 100,
    "continuing_past_a_failure": 174,
    "new_minus_old": 175,
    "unpadded_sequence_numbers": 91,
    "delete_without_tombstone": 126,
    "swallowed_exception": 183,
    "timestamp_as_version": 143,
}
"""The schedule with the shortest story of each mistake."""

SCHEDULES = 200
CANDIDATES = 10
"""How many of the failing schedules are shrunk; the shortest result is told."""

HEAD, TAIL = 20, 6
"""Lines of a long timeline that are shown."""


def main() -> int:
    logging.disable(logging.CRITICAL)
    for mistake in MISTAKES:
        print(f'"{mistake.name}": {seed_of(mistake)},')
    return 0


def seed_of(mistake: Mistake) -> int:
    """Return the seed whose story is the shortest."""

    def length(seed: int) -> int:
        return len(timeline(mistake, generate(seed)))

    def length_told(seed: int) -> int:
        return len(timeline(mistake, shortened(mistake, seed)))

    failing = [seed for seed in range(SCHEDULES) if fails(mistake, generate(seed))]
    return min(sorted(failing, key=length)[:CANDIDATES], key=length_told)


def story(mistake: Mistake) -> list[str]:
    """Return the lines of the story."""
    seed = SEEDS[mistake.name]
    schedule = shortened(mistake, seed)
    counted = f"{len(schedule.operations)} of its writes, {len(schedule.faults)} of its faults"
    return [f"Schedule {seed}, cut down to {counted}:", "", *cut(timeline(mistake, schedule))]


def cut(lines: list[str]) -> list[str]:
    """Return the start and the end of a long timeline."""
    left_out = len(lines) - HEAD - TAIL
    told = [f"   ... {left_out} lines like these ..."]
    return lines if left_out <= 0 else [*lines[:HEAD], *told, *lines[-TAIL:]]


def shortened(mistake: Mistake, seed: int) -> Schedule:
    """Return the schedule of a seed without what the failure does not need."""
    return shrink(generate(seed), lambda schedule: fails(mistake, schedule))


def timeline(mistake: Mistake, schedule: Schedule) -> list[str]:
    """Return what happens, and what is wrong in the end."""
    return str(Simulation(schedule, mistake.wrong, timeline=True).run()).splitlines()[1:]


def fails(mistake: Mistake, schedule: Schedule) -> bool:
    """Whether the function with the mistake ends wrong."""
    return bool(Simulation(schedule, mistake.wrong).run().problems)


if __name__ == "__main__":
    sys.exit(main())
