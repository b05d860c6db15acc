"""Bisection: try all, then each half, down to the item at fault."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def halves(items: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """Return the first and the second half; the first one is longer if the number is odd."""
    middle = (len(items) + 1) // 2
    return items[:middle], items[middle:]


def in_halves(
    run: Callable[[Sequence[T]], R],
    items: Sequence[T],
    failed: Callable[[Sequence[T], Exception], R | None],
    catches: type[Exception] = Exception,
) -> list[R]:
    """Return the results of `run` on all items, or on ever smaller halves where it fails.

    Args:
        run: handles items, all of them or none.
        items: one or more.
        failed: returns the result of items that `run` failed on, or None to try their halves. It
            may raise, which ends the bisection. A single item has no halves: its error is raised.
        catches: the errors that `failed` is asked about; others are raised.
    """
    try:
        return [run(items)]
    except catches as error:
        result = failed(items, error)
        if result is not None:
            return [result]
        if len(items) == 1:
            raise
    return [each for half in halves(items) for each in in_halves(run, half, failed, catches)]
