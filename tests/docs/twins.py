"""The eight mistakes and their twins under the schedules of their stories, side by side."""

from collections.abc import Iterator

from dynamodb_streams_cdc.examples.mistakes import MISTAKES, Mistake
from dynamodb_streams_cdc.testing.simulation import Simulation, generate
from tools.mistakes import SEEDS


def results() -> Iterator[tuple[Mistake, int, list[str], list[str]]]:
    """Yield each mistake, its schedule, and what is wrong in the end with it and with its twin."""
    for mistake in MISTAKES:
        seed = SEEDS[mistake.name]
        wrong, right = (
            list(Simulation(generate(seed), twin).run().problems)
            for twin in (mistake.wrong, mistake.right)
        )
        yield mistake, seed, wrong, right


def side_by_side() -> None:
    print(f"{'mistake':<28}{'schedule':>8}   wrong copies   of its twin")
    for mistake, seed, wrong, right in results():
        print(f"{mistake.name:<28}{seed:>8}   {len(wrong):>12}   {len(right):>11}")
