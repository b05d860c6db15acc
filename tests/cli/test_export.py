"""An export as a reader of its files finds it, and what is wrong with one."""

import gzip
import io
import json
from dataclasses import dataclass
from typing import Any, cast

import pytest

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
