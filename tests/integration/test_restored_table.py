"""A table that is restored to an earlier moment, under another name, with its copies kept.

The steps of docs/how-to/restore-after-a-disaster.md on DynamoDB Local and OpenSearch. The restore
is a copy of the table at that moment; the functions run in this process.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.delivery import deliver
from benchmarks.harness.operated import KEYS, Operated
from benchmarks.harness.records import batches, orders, record
from dynamodb_streams_cdc.deserializer import serialize_item
from dynamodb_streams_cdc.operations.backfill import Backfill
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.repair_differences import REDRIVE, RepairDifferences
from lambdas.example_domain.stories.purchases import SAMPLE
from tests.integration.clients import differences

SINKS = {name: name for name in ("aggregation", "audit", "search")}
KEPT, CHANGED, DELETED, CREATED = 60, 20, 10, 10
RESTORED = "2026-12-01T00:00:00.000"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_JOBS", str(tmp_path))


@pytest.fixture
def before(dynamodb_local_url: str, opensearch_url: str) -> Iterator[Operated]:
    """A table whose copies are all right."""
    made = Operated("restore", dynamodb_local_url, opensearch_url)
    made.fill(SAMPLE, 0)
    yield made
    made.empty("index")


def differences_of(stores: Operated, name: str) -> list[dict[str, Any]]:
    stores.invoke("search", {"operation": "verify", "of": "copies", "limit": 1, "Records": []})
    return differences(stores, name, KEYS)


def kinds(found: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    return Counter((each["sink"], each["kind"]) for each in found)


def live(stores: Operated, records: list[Any]) -> None:
    """Let every function have these changes, as from the stream."""
    for function in stores.functions.values():
        deliver(function, batches(records))


def test_copies_follow_a_restored_table(
    before: Operated, dynamodb_local_url: str, opensearch_url: str
) -> None:
    placed = orders(SAMPLE, KEPT + CHANGED + DELETED + CREATED)
    new = placed[-CREATED:]
    old = placed[:-CREATED]
    restored_items = [serialize_item(each) for each in old]
    live(before, [record(None, each) for each in old])
    # After the moment that the table is restored to:
    shipped = [{**each, "status": "shipped"} for each in old[:CHANGED]]
    gone = old[CHANGED : CHANGED + DELETED]
    lost = [
        *(record(each, after) for each, after in zip(old, shipped, strict=False)),
        *(record(each, None) for each in gone),
        *(record(None, each) for each in new),
    ]
    live(before, lost)

    after = Operated(
        "restore", dynamodb_local_url, opensearch_url, "restored", epoch="0002", since=RESTORED
    )
    after.create(restored_items)
    found = kinds(differences_of(after, "restored"))
    assert found == {
        **{(sink, "wrong"): CHANGED for sink in SINKS},
        **{(sink, "missing"): DELETED for sink in SINKS},
        **{(sink, "extra"): CREATED for sink in SINKS},
    }

    fill = Backfill(after, after.stream, KEYS, [*SINKS], Job("fill", {})).run()
    assert fill.complete
    extra = differences_of(after, "filled")
    assert kinds(extra) == {(sink, "extra"): CREATED for sink in SINKS}

    report = RepairDifferences(after, after.stream, KEYS, SINKS).run(extra)
    assert report.repaired == {"aggregation": CREATED, "search": CREATED}
    assert {(each.sink, each.why) for each in report.unrepaired} == {("audit", REDRIVE)}
    left = differences_of(after, "repaired")
    assert kinds(left) == {("audit", "extra"): CREATED}

    # Dead letters of the table before, redriven late: the log has them once more, in their place.
    live(after, lost)
    assert kinds(differences_of(after, "redriven")) == kinds(left)
