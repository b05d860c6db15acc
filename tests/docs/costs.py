"""What a million changes cost: the arithmetic of docs/explanation/questions.md, in US dollars.

The prices are those of docs/prices.json; docs/reference/cost.md has the whole bill.
"""

from collections.abc import Mapping
from math import ceil

from tools.costs import price

MILLION = 1_000_000

WRITE_UNIT = price("write request unit")
READ_UNIT = price("read request unit")
INVOCATION = price("Lambda request")
GB_SECOND = price("Lambda GB-second, Arm")
LOG_GB = price("logs ingested, GB")
STREAM_READ = price("stream read by others than Lambda")
FREE_STREAM_READS = 2_500_000

ITEM_KB = 0.9
"""An order with five lines."""

ENVELOPE_KB = 0.4
"""What an entry of the log holds besides the images."""

FUNCTION_GB = 0.5
FUNCTIONS = 3
LOG_KB_PER_INVOCATION = 1


def write_units(kilobytes: float, *, transactional: bool = False) -> int:
    """Return the units of a write: one per KB begun, two in a transaction."""
    return ceil(kilobytes) * (2 if transactional else 1)


def log_entry() -> float:
    """Return the price of one entry of the change log, with both images."""
    return write_units(2 * ITEM_KB + ENVELOPE_KB) * WRITE_UNIT


def sums(items: int, rows: int) -> float:
    """Return the price per item of a transaction of ledger rows and rows of sums.

    A ledger row is read consistently before, which takes one read unit.
    """
    units = (items + rows) * write_units(0.5, transactional=True)
    return units * WRITE_UNIT / items + READ_UNIT


def invocation(seconds: float) -> float:
    """Return the price of one invocation."""
    return INVOCATION + seconds * FUNCTION_GB * GB_SECOND


def million(records_per_batch: int) -> Mapping[str, float]:
    """Return the price of a million changes, in batches of 1 or 100, by what it is paid for."""
    single = records_per_batch == 1
    invocations = FUNCTIONS * MILLION / records_per_batch
    return {
        "change log": MILLION * log_entry(),
        # One by one a refund moves three sums; a full pack holds 96 orders and their 4 sums.
        "ledger and sums": MILLION * (sums(1, 3) if single else sums(96, 4)),
        "Lambda": invocations * invocation(0.05 if single else 0.5),
        "logs": invocations * LOG_KB_PER_INVOCATION / MILLION * LOG_GB,
    }


def store() -> Mapping[str, float]:
    """Return the price of a million guarded effects on one row, by the kind of guard."""
    lock = write_units(0.5) * 3
    together = 2 * write_units(0.5, transactional=True)
    return {
        "lock, effect, unlock": MILLION * lock * WRITE_UNIT,
        "marker in the effect's transaction": MILLION * together * WRITE_UNIT,
        "ledger, in packs of 96": MILLION * sums(96, 4),
    }


def own_poller(shards: int) -> float:
    """Return what reading like Lambda, four times a second, costs whoever is not Lambda a month."""
    reads = 4 * 86_400 * 30 * shards
    return max(0, reads - FREE_STREAM_READS) * STREAM_READ


def a_million_changes() -> None:
    full, single = million(100), million(1)
    print(f"{'a million changes':<20}{'batches of 100':>16}{'one by one':>14}")
    for name in full:
        print(_row(name, full[name], single[name]))
    print(_row("together", sum(full.values()), sum(single.values())))


def _row(name: str, full: float, single: float) -> str:
    return f"{name:<20}{_dollars(full):>16}{_dollars(single):>14}"


def _dollars(price: float) -> str:
    return f"${price:.2f}"


def guards() -> None:
    for name, amount in store().items():
        print(f"{name:<38}{_dollars(amount)}")


def polling() -> None:
    print(f"{'':<10}{'Lambda':>8}{'another reader':>18}")
    for shards in (1, 4):
        name = f"{shards} shard{'s' * (shards > 1)}"
        print(f"{name:<10}{_dollars(0):>8}{_dollars(own_poller(shards)):>18}")
