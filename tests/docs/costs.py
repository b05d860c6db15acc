"""Two sums of docs/reference/cost.md in US dollars: guarded effects, and polling a stream.

The prices are those of docs/prices.json; `tools.costs` has the whole bill.
"""

from collections.abc import Mapping
from math import ceil

from tools.costs import MILLION, price

WRITE_UNIT = price("write request unit")
READ_UNIT = price("read request unit")
STREAM_READ = price("stream read by others than Lambda")
FREE_STREAM_READS = 2_500_000


def write_units(kilobytes: float, *, transactional: bool = False) -> int:
    """Return the units of a write: one per KB begun, two in a transaction."""
    return ceil(kilobytes) * (2 if transactional else 1)


def store() -> Mapping[str, float]:
    """Return the price of a million guarded effects on one row, by the kind of guard."""
    lock = 3 * write_units(0.5) * WRITE_UNIT
    together = 2 * write_units(0.5, transactional=True) * WRITE_UNIT
    # A full transaction has 96 ledger rows and the 4 sums that they change.
    ledger = 100 * write_units(0.5, transactional=True) * WRITE_UNIT / 96 + READ_UNIT
    return {
        "lock, effect, unlock": MILLION * lock,
        "marker in the effect's transaction": MILLION * together,
        "ledger, in transactions of 96 items": MILLION * ledger,
    }


def own_poller(shards: int) -> float:
    """Return the monthly price of four reads a second by a reader that is not Lambda."""
    reads = 4 * 86_400 * 30 * shards
    return max(0, reads - FREE_STREAM_READS) * STREAM_READ


def guards() -> None:
    for name, amount in store().items():
        print(f"{name:<38}{_dollars(amount)}")


def polling() -> None:
    print(f"{'':<10}{'Lambda':>8}{'another reader':>18}")
    for shards in (1, 4):
        name = f"{shards} shard{'s' * (shards > 1)}"
        print(f"{name:<10}{_dollars(0):>8}{_dollars(own_poller(shards)):>18}")


def _dollars(price: float) -> str:
    return f"${price:.2f}"
