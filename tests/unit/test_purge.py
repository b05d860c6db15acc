"""`cdc purge`: tombstones that are old enough, and never during a fill."""

from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, NoReturn
from unittest.mock import patch

import pytest

from dynamodb_streams_cdc import ChangeLog
from dynamodb_streams_cdc.control.notes import FILL, OPEN_SECONDS, RENEW_SECONDS, fills_of
from dynamodb_streams_cdc.deserializer import serialize_item
from dynamodb_streams_cdc.errors import MalformedRecord
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.purge import Purge, PurgeReport
from dynamodb_streams_cdc.operations.rebuild_aggregation import RebuildAggregation
from dynamodb_streams_cdc.processor import Processor
from dynamodb_streams_cdc.sinks.base import LATE_SECONDS, TOMBSTONE_SECONDS
from dynamodb_streams_cdc.sinks.documents import CDC
from tests.unit.operated import Operated

ITEMS, OLD, YOUNG = 30, 7, 5


@pytest.fixture
def aged() -> Operated:
    """Copies with tombstones of two ages; no fill is open."""
    made = Operated(ITEMS)
    made.backfill().run()
    delete(made, range(OLD))
    made.clock.sleep(TOMBSTONE_SECONDS + 1)
    delete(made, range(OLD, OLD + YOUNG))
    return made


def delete(o: Operated, numbers: range) -> None:
    for number in numbers:
        o.table.delete({"id": f"item-{number}"}, o.clock.now())
    repaired = {
        "operation": "repair",
        "streamArn": o.arn,
        "Records": [{"Keys": {"id": {"S": f"item-{n}"}}} for n in numbers],
    }
    for processor in ("aggregation", "search"):
        assert not o.invoke(processor, repaired)["failures"]


def purge(o: Operated, **options: Any) -> PurgeReport:
    with closing(Job("purge", {}, temporary=True)) as job:
        work = Purge(o, ["aggregation", "search"], job, clock=o.clock, workers=1, **options)
        return work.run()


def tombstones(o: Operated) -> tuple[int, int]:
    documents = o.copies.index.documents.values()
    rows = o.copies.ledger.rows.values()
    return sum(row.deleted for row in rows), sum(doc[CDC]["deleted"] for doc in documents)


def test_old_tombstones_are_deleted_and_young_ones_stay(aged: Operated) -> None:
    report = purge(aged)
    assert report.complete
    assert report.purged == {"aggregation": OLD, "search": OLD}
    assert report.tombstones == {"aggregation": OLD + YOUNG, "search": OLD + YOUNG}
    assert tombstones(aged) == (YOUNG, YOUNG)
    assert purge(aged).purged == {"aggregation": 0, "search": 0}
    assert [*aged.copies.wrong_sums(aged.table), *aged.copies.wrong_documents(aged.table)] == []


def test_a_dry_run_counts_and_deletes_nothing(aged: Operated) -> None:
    report = purge(aged, dry_run=True)
    assert report.purged == {"aggregation": OLD, "search": OLD}
    assert tombstones(aged) == (OLD + YOUNG, OLD + YOUNG)


def test_the_number_of_tombstones_left_is_noted(aged: Operated) -> None:
    purge(aged)
    note = aged.copies.notes.notes["purge/search"]
    assert (note["tombstones"], note["purged"]) == (YOUNG, OLD)
    assert note["at"] == aged.clock.now()


@pytest.mark.parametrize("age", [0, TOMBSTONE_SECONDS - 1, "7d", None, True])
def test_an_age_that_tombstones_are_relied_on_is_refused(aged: Operated, age: Any) -> None:
    with pytest.raises(MalformedRecord, match="olderThan"):
        aged.invoke("search", {"operation": "purge", "olderThan": age, "Records": []})
    assert tombstones(aged) == (OLD + YOUNG, OLD + YOUNG)


def test_a_request_purges_no_more_than_its_limit(aged: Operated) -> None:
    place: Any = None
    answers: list[Any] = []
    while not answers or not answers[-1]["done"]:
        asked = {"operation": "purge", "limit": 3, "place": place, "Records": []}
        answers.append(aged.invoke("search", asked))
        place = answers[-1]["place"]
    assert [answer["purged"] for answer in answers] == [3, 3, 1]


def purge_during(o: Operated, fill: str) -> list[PurgeReport]:
    """Purge in the middle of each request of a fill; return the reports."""
    reports: list[PurgeReport] = []

    def purging(processor: str, event: Mapping[str, Any], answer: Any) -> Any:
        if event.get("fill"):
            reports.append(purge(o))
            assert not reports[-1].complete
            assert {f"the {fill}: " in why for why in reports[-1].kept.values()} == {True}
        return answer

    o.after = purging
    return reports


def test_nothing_is_purged_during_a_backfill(aged: Operated) -> None:
    reports = purge_during(aged, "backfill of job another is open")
    aged.backfill("another").run()
    assert reports
    assert tombstones(aged) == (OLD + YOUNG, OLD + YOUNG)
    assert purge(aged).complete


def test_nothing_is_purged_during_a_rebuild_of_sums(aged: Operated) -> None:
    reports = purge_during(aged, "rebuild-sums of job rebuild-sums-1 is open")
    RebuildAggregation(
        aged, "aggregation", aged.arn, {"id": "S"}, segments=2, workers=1, clock=aged.clock
    ).run(lambda generation: Job(f"rebuild-{generation}", {}))
    assert reports
    assert tombstones(aged) == (OLD + YOUNG, OLD + YOUNG)
    assert purge(aged).complete


def test_a_fill_whose_operator_was_killed_is_named(aged: Operated) -> None:
    """It holds a purge back for a quarter of an hour, and is named from then on."""

    def kill(processor: str, event: Mapping[str, Any], answer: Any) -> NoReturn:
        raise KeyboardInterrupt

    work = aged.backfill("killed")
    with patch.object(aged, "after", kill), pytest.raises(KeyboardInterrupt):
        work.run()
    work.job.close()
    assert not purge(aged).complete
    aged.clock.sleep(OPEN_SECONDS)
    report = purge(aged)
    assert report.complete
    assert [(fill.job, fill.is_open) for fill in report.interrupted_fills] == [("killed", False)]
    aged.backfill("killed").run()
    assert purge(aged).interrupted_fills == []


def test_an_export_is_refused_when_its_operator_slept(aged: Operated) -> None:
    """The note of the fill is stale, and the tombstones of what was deleted since are gone."""
    items = [{"Item": serialize_item(aged.item(n))} for n in range(OLD + YOUNG, ITEMS)]
    asked: dict[str, Any] = {"operation": "backfill", "keys": {"id": "S"}, "fill": "mine"}
    asked["exportTime"] = datetime.fromtimestamp(aged.clock.now(), UTC).isoformat()
    asked |= {"streamArn": aged.arn, "Records": items}
    delete(aged, range(OLD + YOUNG, ITEMS - 1))
    aged.clock.sleep(LATE_SECONDS - 60)
    assert aged.invoke("search", asked)["held"] == len(items)
    aged.clock.sleep(TOMBSTONE_SECONDS - LATE_SECONDS + 61)
    assert purge(aged).complete
    for processor in ("search", "aggregation"):
        with pytest.raises(MalformedRecord, match="167 hours old"):
            aged.invoke(processor, asked)
    assert [*aged.copies.wrong_sums(aged.table), *aged.copies.wrong_documents(aged.table)] == []


def test_an_exported_item_is_as_old_as_its_export(aged: Operated) -> None:
    """A sink that follows the change log late repairs the item, as of any late change."""
    exported = aged.clock.now() - LATE_SECONDS + 60
    asked: dict[str, Any] = {"operation": "backfill", "streamArn": aged.arn, "keys": {"id": "S"}}
    asked["exportTime"] = datetime.fromtimestamp(exported, UTC).isoformat()
    lost = aged.id(ITEMS - 1)
    aged.copies.log.entries.clear()
    asked["Records"] = [{"Item": serialize_item(aged.item(ITEMS - 1))}]
    assert aged.invoke("audit", asked)["applied"] == 1
    [entry] = ChangeLog(aged.copies.log).history(lost)
    assert entry.timestamp == int(exported)


@pytest.mark.parametrize("time", [None, "yesterday", "9999-12-31T23:59:59-14:00"])
def test_items_of_an_unknown_time_are_refused(aged: Operated, time: Any) -> None:
    asked = {"operation": "backfill", "streamArn": aged.arn, "exportTime": time, "keys": {}}
    with pytest.raises(MalformedRecord, match="exportTime"):
        aged.invoke("search", {**asked, "Records": [{"Item": {"id": {"S": "item-0"}}}]})


def test_a_fill_is_noted_once_a_minute(aged: Operated) -> None:
    asked: dict[str, Any] = {"operation": "backfill", "keys": {"id": "S"}, "fill": "mine"}
    asked |= {"streamArn": aged.arn, "Records": []}
    begun = aged.clock.now()
    for _ in range(3):
        aged.invoke("search", asked)
        aged.clock.sleep(RENEW_SECONDS / 2)
    [fill] = fills_of(aged.copies.notes.notes, aged.clock.now())
    assert fill.since == pytest.approx(begun, abs=1)
    assert fill.at - fill.since == pytest.approx(RENEW_SECONDS, abs=3)
    assert fill.is_open


@pytest.mark.parametrize(
    ("missing", "reason"), [("source_table", "no source table"), ("notes", "no notes")]
)
def test_a_function_that_lacks_what_a_purge_relies_on_refuses(
    aged: Operated, missing: str, reason: str
) -> None:
    handler = aged.handlers["search"]
    assert isinstance(handler, Processor)
    object.__setattr__(handler, missing, None)
    answer = aged.invoke("search", {"operation": "purge", "Records": []})
    assert reason in answer["refusal"]
    assert tombstones(aged) == (OLD + YOUNG, OLD + YOUNG)


def test_a_sink_without_tombstones_has_nothing_to_purge(aged: Operated) -> None:
    answer = aged.invoke("audit", {"operation": "purge", "Records": []})
    assert (answer["purgeable"], answer["done"]) == (False, True)


def test_notes_of_other_operators_stay(aged: Operated) -> None:
    write = {"operation": "notes", "Records": []}
    aged.invoke("search", {**write, "write": {f"{FILL}one": {"operation": "backfill", "since": 1}}})
    answer = aged.invoke("audit", {**write, "write": {"verify/search": {"differences": 2}}})
    assert {f"{FILL}one", "verify/search"} <= answer["notes"].keys()
    answer = aged.invoke("audit", {**write, "erase": [f"{FILL}one", "unknown"]})
    assert f"{FILL}one" not in answer["notes"]
    assert answer["notes"]["verify/search"]["differences"] == 2
