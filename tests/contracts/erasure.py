"""What every store of an erasure must do; run against those in memory and those of AWS."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from dynamodb_streams_cdc.control.erasure import ErasureRecords
from dynamodb_streams_cdc.control.erasure_copies import ErasableLedger, ErasableLog, ErasableMarkers
from dynamodb_streams_cdc.control.erasure_objects import ObjectVersions, StoredVersion
from dynamodb_streams_cdc.sinks.change_log import LogStore
from dynamodb_streams_cdc.sinks.ledger import RowUpdate
from dynamodb_streams_cdc.sinks.log_entries import entry_of
from tests.contracts.ledger import row
from tests.factories import change, deadline, order

ITEM, OTHER = "orders/S=00004/S=00004-0001", "orders/S=00005/S=00005-0001"


class AnyLog(ErasableLog, LogStore, Protocol):
    """A log that is written and erased."""


class ErasureRecordsContract:
    """For a class with a fixture `records`."""

    def test_a_record_keeps_its_receipt_and_the_newest_trace(self, records: ErasureRecords) -> None:
        assert records.read([ITEM], deadline()) == {}
        records.note(ITEM, 7.0, deadline())
        first = records.read([ITEM, OTHER], deadline())[ITEM]
        assert (first.since, first.began_at) == (7.0, deadline().now())
        for since, newest in ((9.5, 9.5), (8.0, 9.5)):
            records.note(ITEM, since, deadline())
            assert records.read([ITEM], deadline())[ITEM].since == newest
        last = records.read([ITEM], deadline())[ITEM]
        assert last.receipt == first.receipt
        assert last.began_at == first.began_at
        assert last.revision > first.revision
        assert "00004" not in last.receipt

    def test_a_complete_erasure_has_no_record(self, records: ErasureRecords) -> None:
        records.note(ITEM, 7.0, deadline())
        records.note(OTHER, 7.0, deadline())
        record = records.read([ITEM], deadline())[ITEM]
        assert records.complete(ITEM, record, deadline())
        assert list(records.read([ITEM, OTHER], deadline())) == [OTHER]
        assert not records.complete(ITEM, record, deadline())

    def test_receipts_that_are_written_are_found(self, records: ErasureRecords) -> None:
        for item in (ITEM, OTHER):
            records.note(item, 7.0, deadline())
        made, waiting = (records.read([item], deadline())[item] for item in (ITEM, OTHER))
        assert records.complete(ITEM, made, deadline())
        found = records.find_receipts([made.receipt, waiting.receipt], deadline())
        assert list(found) == [made.receipt]

    def test_a_record_that_moved_is_not_completed(self, records: ErasureRecords) -> None:
        records.note(ITEM, 7.0, deadline())
        record = records.read([ITEM], deadline())[ITEM]
        records.note(ITEM, 7.0, deadline())
        assert not records.complete(ITEM, record, deadline())
        assert not records.complete(ITEM, replace(record, receipt="other", revision=2), deadline())
        assert ITEM in records.read([ITEM], deadline())


class ErasableLogContract:
    """For a class with a fixture `log`."""

    def test_the_named_entries_go_and_no_others(self, log: AnyLog) -> None:
        made = [change(n, None, order()) for n in range(1, 31)]
        other = change(1, None, order("00005-0001"))
        log.insert([entry_of(each) for each in (*made, other)], deadline())
        log.delete(ITEM, [each.version for each in made[:-1]], deadline())
        assert [entry["version"]["S"] for entry in log.read(ITEM)] == [made[-1].version]
        log.delete(ITEM, [each.version for each in made], deadline())
        assert list(log.read(ITEM)) == []
        assert len(list(log.read(OTHER))) == 1


class ErasableLedgerContract:
    """For a class with a fixture `ledger`."""

    def test_a_row_goes_as_it_was_read(self, ledger: ErasableLedger) -> None:
        first = row(ITEM)
        second = row(ITEM, first.version, first.revision + 1)
        ledger.commit([RowUpdate(None, first)], {})
        ledger.commit([RowUpdate(first, second)], {})
        assert not ledger.forget(first)
        assert not ledger.forget(row(ITEM, "v2", second.revision))
        assert ledger.forget(second)
        assert not ledger.forget(second)
        assert ledger.read([ITEM], deadline()) == {}


class ErasableMarkersContract:
    """For a class with fixtures `markers`, and `mark`, which writes one."""

    def test_markers_are_found_and_go(
        self, markers: ErasableMarkers, mark: Callable[[str], object]
    ) -> None:
        keys = [f"once/mail/{item}/0001/x/1" for item in (ITEM, OTHER)]
        for key in keys:
            mark(key)
        found, following = markers.walk(None, deadline())
        assert sorted(marker.key for marker in found) == keys
        assert all(time.time() - 60 < marker.written_at <= time.time() for marker in found)
        assert following is None
        markers.delete(keys[:1], deadline())
        markers.delete(keys[:1], deadline())
        assert [marker.key for marker in markers.walk(None, deadline())[0]] == keys[1:]


class ObjectVersionsContract:
    """For a class with fixtures `objects`, and `put`, which writes an object."""

    def listed(self, objects: ObjectVersions, prefix: str = "") -> list[StoredVersion]:
        found: list[StoredVersion] = []
        start = None
        while True:
            page, start = objects.page(prefix, start, 2, deadline())
            found += page
            if start is None:
                return found

    def test_objects_are_listed_in_pages(
        self, objects: ObjectVersions, put: Callable[[str, bytes], object]
    ) -> None:
        for key in ("b/1", "a/1", "a/3", "a/2", "c"):
            put(key, b"{}")
        assert [each.key for each in self.listed(objects)] == ["a/1", "a/2", "a/3", "b/1", "c"]
        below = self.listed(objects, "a/")
        assert [each.key for each in below] == ["a/1", "a/2", "a/3"]
        assert all(each.is_latest and not each.is_marker for each in below)
        rest, _ = objects.page("a/", objects.after(below[0]), 5, deadline())
        assert rest == below[1:]

    def test_what_was_read_is_replaced(
        self, objects: ObjectVersions, put: Callable[[str, bytes], object]
    ) -> None:
        put("a", b"first")
        (stored,) = self.listed(objects)
        read = objects.read(stored, deadline())
        assert read is not None
        content, token = read
        assert content == b"first"
        assert objects.replace(stored, token, b"second", deadline())
        assert not objects.replace(stored, token, b"third", deadline())
        (stored,) = self.listed(objects)
        again = objects.read(stored, deadline())
        assert again is not None
        assert again[0] == b"second"

    def test_what_is_deleted_is_gone(
        self, objects: ObjectVersions, put: Callable[[str, bytes], object]
    ) -> None:
        for key in ("a", "b", "c"):
            put(key, b"{}")
        stored = self.listed(objects)
        objects.delete(stored[:2], deadline())
        objects.delete(stored[:1], deadline())
        assert self.listed(objects) == stored[2:]
        assert objects.read(stored[0], deadline()) is None
        assert not objects.replace(stored[0], "token", b"{}", deadline())
