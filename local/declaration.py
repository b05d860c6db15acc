"""The tables that lambdas/domain declares, and their stories; a wrong declaration is a sentence.

Commands import both from here: an error in the declaration ends them without a traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamodb_streams_cdc.entities import DeclarationError, tables_of
from dynamodb_streams_cdc.testing.stories import StoriesError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dynamodb_streams_cdc.testing.stories import Story

try:
    from lambdas.domain import TABLES as DECLARED

    TABLES = tables_of(DECLARED)
except DeclarationError as error:
    message = f"lambdas/domain: {error}."
    raise SystemExit(message) from None

_STORIES = "lambdas.domain.stories"


def stories(table: str, seed: int, data: Path | None) -> Iterator[Story]:
    """Return the stories of a table; see `dynamodb_streams_cdc.testing.stories`.

    Raises:
        StoriesError: there are none.
    """
    try:
        from lambdas.domain.stories import stories as declared
    except ModuleNotFoundError as error:
        if error.name != _STORIES:
            raise
        message = (
            "There is no lambdas/domain/stories.py, which has the items that are written: see "
            "docs/how-to/fork.md."
        )
        raise StoriesError(message) from None
    return declared(table, seed, data)
