"""Constants that have to stand in a relation, to each other or to a limit of AWS.

Each of them can be changed alone, and nothing else notices: what goes wrong then shows in an outage
or weeks later. The relations to what the stacks set are in `tests/infrastructure/test_limits.py`.
"""

from decimal import Decimal
from typing import Any

import pytest

from dynamodb_streams_cdc import Deadline
from dynamodb_streams_cdc.aws.dynamodb.ledger import DynamoDbLedger
from dynamodb_streams_cdc.aws.dynamodb.log import BATCH_STATEMENTS, PARALLEL
from dynamodb_streams_cdc.aws.dynamodb.reads import BATCH_GET_KEYS
from dynamodb_streams_cdc.aws.opensearch_documents import BULK_BYTES, REQUEST_SECONDS
from dynamodb_streams_cdc.deadline import LONGEST_PAUSE_SECONDS, RESERVE_SECONDS
from dynamodb_streams_cdc.names import FUNCTION_SECONDS
from dynamodb_streams_cdc.operations.aws import functions
from dynamodb_streams_cdc.operations.aws import notifications as notifications
from dynamodb_streams_cdc.operations.redrive import MOST_BYTES, MOST_RECORDS
from dynamodb_streams_cdc.processor import YOUNG_SECONDS
from dynamodb_streams_cdc.sinks.aggregation import Aggregation
from dynamodb_streams_cdc.sinks.base import LATE_SECONDS, TOMBSTONE_SECONDS
from dynamodb_streams_cdc.sinks.contributions import MAX_ACTIONS, MAX_AGGREGATES, MAX_MEASURES
from dynamodb_streams_cdc.sinks.generations import spread
from dynamodb_streams_cdc.sinks.log_entries import ENTRY_CHARACTERS, ENTRY_LEVELS
from dynamodb_streams_cdc.sinks.search import Search
from dynamodb_streams_cdc.testing.memory import MemoryIndex, MemoryLedger
from lambdas.example_domain.order import contributions, document
from tests.factories import NOON, ManualClock, order, record
from tests.fake_pipeline import Table
from tests.unit.bench import Bench

HOUR, DAY = 3600, 24 * 3600
KIB, MIB = 1024, 1024 * 1024
STREAM_SECONDS = DAY
"""What a stream keeps (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html)."""

CLOCKS_DIFFER_BY = HOUR - 1


def deliver(sink: Any, table: Table, now: float, *records: Any) -> None:
    assert Bench(sink, now, options={"source_table": table}).run(*records) == []


@pytest.mark.parametrize("behind", [0, CLOCKS_DIFFER_BY])
@pytest.mark.parametrize("copy", ["documents", "sums"])
def test_change_that_outlives_the_tombstone_is_repaired(copy: str, behind: float) -> None:
    """The worst case: an item is deleted in the second in which it was changed, and at once in the
    copy. The tombstone is purged as soon as it may be. The change is delivered then, by a function
    whose clock is behind.
    """
    index, ledger = MemoryIndex(), MemoryLedger()
    sinks = {
        "documents": Search(index, document),
        "sums": Aggregation(ledger, contributions),
    }
    sink: Any = sinks[copy]
    placed = record(1, None, order(), timestamp=NOON)
    removed = record(2, order(), None, timestamp=NOON)
    deliver(sink, Table(), NOON, removed)
    purged_at = NOON + TOMBSTONE_SECONDS + 0.001
    assert sink.purge(TOMBSTONE_SECONDS, Deadline(ManualClock(purged_at))) == 1
    deliver(sink, Table(), purged_at - behind, placed)
    assert index.search() == {}
    assert ledger.total("status#placed") == {}


def test_tombstone_that_is_a_moment_younger_refuses_the_change() -> None:
    """Until then nothing is purged, and the tombstone does what the repair does afterwards."""
    sink = Search(index := MemoryIndex(), document)
    removed = record(2, order(), None, timestamp=NOON)
    deliver(sink, Table(), NOON, removed)
    assert sink.purge(TOMBSTONE_SECONDS, Deadline(ManualClock(NOON + TOMBSTONE_SECONDS))) == 0
    deliver(sink, Table(), NOON + TOMBSTONE_SECONDS, record(1, None, order(), timestamp=NOON))
    assert index.search() == {}


def test_change_that_no_purge_can_have_met_is_not_looked_up() -> None:
    """A change waits in the table's stream for a day and, behind a change log, for another in that
    of the log. Were it late by then, an outage would end in a read of the table for each change.
    """
    items, sink = Table(), Search(MemoryIndex(), document)
    record_ = record(1, None, order(), timestamp=NOON)
    deliver(sink, items, NOON + 2 * STREAM_SECONDS + CLOCKS_DIFFER_BY, record_)
    assert items.reads == 0


def test_late_is_an_hour_before_a_tombstone_may_go() -> None:
    assert LATE_SECONDS <= TOMBSTONE_SECONDS - HOUR
    assert LATE_SECONDS >= 2 * STREAM_SECONDS + HOUR


def test_request_that_hangs_ends_before_the_invocation() -> None:
    """`lambdas.runtime.CLIENT` is in tests/unit/adapters/test_requests.py."""
    assert REQUEST_SECONDS < RESERVE_SECONDS - 2, "a report takes time as well"
    assert LONGEST_PAUSE_SECONDS < RESERVE_SECONDS
    assert RESERVE_SECONDS < FUNCTION_SECONDS / 2, "or most of an invocation is reserve"


def test_operator_waits_longer_than_a_function_runs() -> None:
    waits: Any = functions.CLIENT
    assert FUNCTION_SECONDS + 10 <= waits.read_timeout <= 15 * 60


def test_a_blocked_shard_can_still_catch_up() -> None:
    """It holds the shard for so long, and may do so more than once a day."""
    assert YOUNG_SECONDS > 5 * FUNCTION_SECONDS, "the mapping has tried again by then, and again"
    assert YOUNG_SECONDS < HOUR, "LATE_AFTER of stacks/observability.py, which alarms"


def test_messages_stay_hidden_for_longer_than_an_invocation() -> None:
    assert notifications.HIDDEN_SECONDS > FUNCTION_SECONDS
    assert notifications.HIDDEN_SECONDS <= 12 * HOUR


def test_requests_to_dynamodb_are_as_large_as_it_takes() -> None:
    """API_BatchGetItem, API_TransactWriteItems and API_BatchExecuteStatement of DynamoDB."""
    assert BATCH_GET_KEYS == 100
    assert MAX_ACTIONS == 100
    assert MAX_AGGREGATES + 1 == MAX_ACTIONS, "an item's ledger row goes with its aggregates"
    assert BATCH_STATEMENTS == 25


def test_measures_of_an_item_fit_into_one_update() -> None:
    """4 KB: Constraints.html#limits-expression-parameters; DynamoDB Local keeps to it."""
    measures = {f"m{number}": Decimal(1) for number in range(MAX_MEASURES)}
    delta = spread({"day": measures}, [7, 8])
    client: Any = None
    update = DynamoDbLedger(client, "idempotency", "aggregates")._update("day", "0", delta["day"])
    assert 3500 < len(update["UpdateExpression"]) <= 4096


def test_entries_of_the_log_fit_into_items_and_requests() -> None:
    """https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html

    In addition to its images an entry has the keys of the item (3 KB), the names of what changed
    and some hundred bytes. A request has 16 MB at most, as BatchWriteItem's page says.
    """
    names = ENTRY_CHARACTERS
    assert ENTRY_CHARACTERS + names + 4 * KIB < 400 * KIB
    assert BATCH_STATEMENTS * (ENTRY_CHARACTERS + names + 4 * KIB) < 16 * MIB
    assert ENTRY_LEVELS + 2 == 32, "the entry's own map and a value are levels, too"


def test_bulk_requests_fit_into_the_smallest_node() -> None:
    """10 MiB on small instances
    (https://docs.aws.amazon.com/opensearch-service/latest/developerguide/limits.html).

    A request is sent before the document that would exceed `BULK_BYTES`, and no document alone
    exceeds it: an item of 400 KB, each byte of it six characters of JSON at worst.
    """
    assert BULK_BYTES + 64 * KIB <= 10 * MIB
    assert 6 * 400 * KIB <= BULK_BYTES


def test_replay_fits_into_an_invocation() -> None:
    """6 MB (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."""
    event = len('{"operation":"replay","Records":[]}') + MOST_RECORDS * len(",")
    assert MOST_BYTES + event <= 6 * MIB
    assert MOST_RECORDS <= PARALLEL * BATCH_STATEMENTS, "a log takes them in one go"
    assert MOST_RECORDS <= BATCH_GET_KEYS
