"""The eight mistakes and their twins under the schedules of docs/mistakes, side by side."""

import re
from collections.abc import Iterator
from pathlib import Path

from dynamodb_streams_cdc.examples.mistakes import MISTAKES, Mistake
from dynamodb_streams_cdc.testing.simulation import Simulation, generate

STORIES = Path(__file__).parents[2] / "docs" / "mistakes"


def results() -> Iterator[tuple[Mistake, int, list[str], list[str]]]:
    """Yield each mistake, its schedule, and what is wrong in the end with it and with its twin."""
    for mistake in MISTAKES:
        told = re.search(r"^Schedule (\d+)", (STORIES / f"{mistake.name}.txt").read_text(), re.M)
        assert told
        schedule = generate(int(told[1]))
        wrong, right = (
            list(Simulation(schedule, twin).run().problems)
            for twin in (mistake.wrong, mistake.right)
        )
        yield mistake, int(told[1]), wrong, right


def side_by_side() -> None:
    print(f"{'mistake':<28}{'schedule':>8}   wrong copies   of its twin")
    for mistake, seed, wrong, right in results():
        print(f"{mistake.name:<28}{seed:>8}   {len(wrong):>12}   {len(right):>11}")
