"""An export as a reader of its files finds it, and what is wrong with one."""

import gzip
import io
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from dynamodb_streams_cdc.operations.errors import OperationError, UsageError
from dynamodb_streams_cdc.operations.export import MOST_BYTES, DataFile, Export


@dataclass(frozen=True)
class OneFile:
    """S3, with one file of an export."""

    text: str

    class exceptions:
        NoSuchKey = KeyError

    def get_object(self, **asked: str) -> dict[str, Any]:
        return {"Body": io.BytesIO(gzip.compress(self.text.encode()))}


@pytest.mark.parametrize(
    "attribute",
    [{"S": "漢" * 10_000}, {"S": "a" * 30_000}, {"S": "\u2028" * 10_000}, {"B": "AQID" * 7_500}],
    ids=["three bytes each", "ASCII", "line separators", "binary"],
)
@pytest.mark.parametrize("is_ascii", [True, False])
def test_a_request_of_an_export_is_as_small_as_asked(attribute: Any, is_ascii: bool) -> None:
    lines = [
        json.dumps({"Item": {"id": {"S": f"{n}"}, "text": attribute}}, ensure_ascii=is_ascii)
        for n in range(300)
    ]
    reader = Export(OneFile("\n".join(lines)), "exports", {}).reader(DataFile("a.json.gz", 300))
    read, place = 0, cast("int | None", 0)
    while place is not None:
        records, place = reader.records(place, 2000)
        event = json.dumps({"Records": records}, ensure_ascii=False, separators=(",", ":"))
        assert len(event.encode()) <= MOST_BYTES + 1_000
        read += len(records)
        assert place in (None, read)
    assert read == 300


def test_an_item_of_an_export_above_the_size_is_sent_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dynamodb_streams_cdc.operations.export.MOST_BYTES", 10)
    client = OneFile('{"Item": {"id": {"S": "1"}}}\n{"Item": {"id": {"S": "2"}}}\n')
    reader = Export(client, "exports", {}).reader(DataFile("a.json.gz", 2))
    first = ([{"Item": {"id": {"S": "1"}}}], 1)
    assert reader.records(0, 2000) == first
    assert reader.records(0, 2000) == first
    assert reader.records(1, 2000) == ([{"Item": {"id": {"S": "2"}}}], None)


def test_what_was_read_is_sent_in_smaller_requests() -> None:
    lines = [json.dumps({"Item": {"id": {"S": f"{n}"}}}) for n in range(9)]
    reader = Export(OneFile("\n".join(lines)), "exports", {}).reader(DataFile("a.json.gz", 9))
    items = [json.loads(line) for line in lines]
    assert reader.records(0, 6) == (items[:6], 6)
    assert reader.records(0, 4) == (items[:4], 4)
    assert reader.records(4, 4) == (items[4:6], 6)
    assert reader.records(6, 4) == (items[6:], None)


SUMMARY = {
    "exportType": "FULL_EXPORT",
    "outputFormat": "DYNAMODB_JSON",
    "itemCount": 2,
    "exportTime": "2026-01-01T00:00:00Z",
    "tableArn": "arn:aws:dynamodb:us-east-1:123456789012:table/orders",
}
FILE = {"itemCount": 2, "dataFileS3Key": "p/AWSDynamoDB/1/data/a\u2028b.json.gz"}
LISTED = json.dumps(FILE, ensure_ascii=False)
URL = "s3://exports/p/AWSDynamoDB/1"


@dataclass(frozen=True)
class Manifests:
    """S3, with the two manifests of an export."""

    summary: bytes
    files: bytes

    class exceptions:
        NoSuchKey = KeyError

    def get_object(self, **asked: str) -> dict[str, Any]:
        is_summary = asked["Key"].endswith("manifest-summary.json")
        return {"Body": io.BytesIO(self.summary if is_summary else self.files)}


def summary(**others: object) -> bytes:
    return json.dumps({k: v for k, v in {**SUMMARY, **others}.items() if v != ""}).encode()


def test_the_manifests_of_an_export_are_read() -> None:
    found = Export.find(Manifests(summary(), f"{LISTED}\r\n\n".encode()), URL)
    assert found.files == (DataFile(str(FILE["dataFileS3Key"]), 2),)
    assert (found.items, found.time) == (2, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"version"', "it is not JSON, or was cut"),
        (b"", "it is not JSON, or was cut"),
        (b"\xff", "cannot be read"),
        (b"[" * 100_000, "it is not JSON, or was cut"),
        (b"[]", "expected an object, got a list"),
        (b"null", "expected an object, got nothing"),
        (summary(itemCount=""), "itemCount: expected a number of items, got nothing"),
        (summary(itemCount="many"), "itemCount: expected a number of items, got text"),
        (summary(itemCount=True), "itemCount: expected a number of items"),
        (summary(itemCount=-1), "itemCount: expected a number of items"),
        (summary(itemCount=float("nan")), "itemCount: expected a number of items"),
        (summary(exportTime=""), "exportTime: expected text, got nothing"),
        (summary(exportTime="yesterday"), "exportTime is not a time with its zone"),
        (summary(exportTime="2026-01-01T00:00:00"), "exportTime is not a time with its zone"),
        (summary(tableArn=""), "tableArn: expected text, got nothing"),
    ],
)
def test_a_damaged_summary_is_told_in_a_sentence(body: bytes, said: str) -> None:
    with pytest.raises(OperationError, match=re.escape(said)) as raised:
        Export.find(Manifests(body, LISTED.encode()), URL)
    assert str(raised.value).startswith("s3://exports/p/AWSDynamoDB/1/manifest-summary.json ")
    assert str(raised.value).endswith("export again.")


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ("garbage", "it is not JSON, or was cut"),
        (LISTED[:-9], "it is not JSON, or was cut"),
        ("[]", "expected an object, got a list"),
        ('{"itemCount": 2}', "dataFileS3Key: expected text, got nothing"),
        ('{"dataFileS3Key": "k"}', "itemCount: expected a number of items, got nothing"),
    ],
)
def test_a_damaged_list_of_files_is_told_in_a_sentence(second: str, said: str) -> None:
    client = Manifests(summary(), f"{LISTED}\n{second}\n".encode())
    with pytest.raises(OperationError, match=re.escape(said)) as raised:
        Export.find(client, URL)
    assert "1/manifest-files.json, line 2, is not of a whole export" in str(raised.value)


def test_an_address_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(UsageError, match=r"got s3://\[x/y"):
        Export.find(None, "s3://[x/y")


@pytest.mark.parametrize("line", ["5", '{"Item": 5}', '{"Item"', "[" * 100_000])
def test_a_line_without_an_item_is_told_in_a_sentence(line: str) -> None:
    reader = Export(OneFile(line), "exports", {}).reader(DataFile("a.json.gz", 1))
    with pytest.raises(OperationError, match=r"a.json.gz has a line without an item"):
        reader.records(0, 2000)
