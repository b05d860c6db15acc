"""Exercise 2, solved.

Each document remembers the version that it shows, and a change is written only if its version is
greater. A delete is written too, as a tombstone with its version, or an older change would find
nothing to be older than. Comparing and writing is one step inside of the index, so that no one
comes between.
"""

from typing import Any

from dynamodb_streams_cdc import Change, Image
from exercises.stores import Document, SearchIndex


def document(image: Image) -> dict[str, Any]:
    """Return what readers find of an order: all that it has, as text."""
    return {name: str(value) for name, value in image.items()}


def sync(change: Change, index: SearchIndex) -> None:
    """Bring one change to the index. Called once for each record of a batch, in order."""

    def newest(held: Document | None) -> Document | None:
        if held is not None and held["version"] >= change.version:
            return None
        if change.new_image is None:
            return {"version": change.version, "deleted": True}
        return {**document(change.new_image), "version": change.version, "deleted": False}

    index.update(change.item_id, newest)
