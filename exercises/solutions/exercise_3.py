"""Exercise 3, solved.

Changes are kept by item and version: one that comes twice is one, and the versions say what came
after what. A state is the new image of the last change up to a moment. The new projection looks at
each change by itself: the images before and after say whether it is the one that shipped.
"""

from collections import Counter
from datetime import datetime

from dynamodb_streams_cdc import Change, Image
from dynamodb_streams_cdc.sinks.change_log import replay


class History:
    """What the log tells."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Change]] = {}

    def add(self, change: Change) -> None:
        """Take one change of the log."""
        self.items.setdefault(change.item_id, {})[change.version] = change

    def state(self, item: str) -> Image | None:
        """Return an order as it is now; None if there is none."""
        return replay(self.items.get(item, {}).values())

    def state_at(self, item: str, moment: datetime) -> Image | None:
        """Return an order as it was at the end of the second of `moment`; None if there was none.

        `moment` is in UTC and has no fraction of a second.
        """
        changes = self.items.get(item, {}).values()
        return replay(change for change in changes if change.time <= moment)

    def shipped_per_day(self) -> dict[str, int]:
        """Return how often orders became shipped on each day, such as {"2024-05-01": 2}.

        Each time that the status of an order becomes `shipped` counts, even if it changes
        afterwards; an order that is shipped, deleted and shipped again counts twice. Days are in
        UTC; those without any are left out.
        """
        return dict(
            Counter(
                f"{change.time:%Y-%m-%d}"
                for changes in self.items.values()
                for change in changes.values()
                if _is_shipped(change.new_image) and not _is_shipped(change.old_image)
            )
        )


def _is_shipped(order: Image | None) -> bool:
    return order is not None and order["status"] == "shipped"
