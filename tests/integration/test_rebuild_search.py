"""A rebuild of an index with a changed mapping on OpenSearch, while it is written and searched.

A function writes all the time. A reader asks the read alias all the time for documents that are
always there, and notes each error and each answer that misses one or has one twice. Only the
operator's wait and the function's pause between two looks at the aliases are shortened.
"""

import json
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from opensearchpy import OpenSearch, OpenSearchException, Urllib3HttpConnection

from dynamodb_streams_cdc import Deadline, Image, Processor, Search, serialize_item
from dynamodb_streams_cdc.aws.opensearch import OpenSearchIndex
from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.deadline import SystemClock
from dynamodb_streams_cdc.operations import rebuild_search
from dynamodb_streams_cdc.operations.rebuild_search import RebuildSearch
from dynamodb_streams_cdc.sinks import written_indexes
from dynamodb_streams_cdc.sinks.base import TablePage
from dynamodb_streams_cdc.sinks.comparison import Place, Segment
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters
from tests.factories import SOURCE, STREAM, FakeContext, record

STAYING, FLEETING = 300, 40
OLD: Mapping[str, Any] = {"kind": {"type": "keyword"}, "amount": {"type": "keyword"}}
NEW: Mapping[str, Any] = {"kind": {"type": "keyword"}, "amount": {"type": "long"}}


def document(image: Image) -> dict[str, Any]:
    return {"kind": image["kind"], "amount": image["amount"]}


@dataclass
class Table:
    """A `WholeTable` in this process; the lock makes a write and its number one step."""

    items: dict[str, Image] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    sequence: int = 0

    def write(self, name: str, after: Image | None) -> dict[str, Any] | None:
        """Write or delete an item; return the record of the change."""
        with self.lock:
            before = self.items.get(name)
            if before == after:
                return None
            if after is None:
                del self.items[name]
            else:
                self.items[name] = after
            self.sequence += 1
            return record(self.sequence, before, after, keys=("id",))

    def read(self, keys: Attributes) -> Image | None:
        return self.items.get(keys["id"]["S"])

    def read_many(
        self, keys: Sequence[Attributes], deadline: Deadline
    ) -> Sequence[Attributes | None]:
        found = [self.read(each) for each in keys]
        return [None if image is None else serialize_item(image) for image in found]

    def scan(
        self,
        segment: Segment,
        place: Place | None,
        most: int,
        deadline: Deadline,
        *,
        consistent: bool,
    ) -> TablePage:
        with self.lock:
            states = dict(self.items)
        left = sorted(name for name in states if place is None or name > place)
        if segment.number:
            return TablePage([], None)
        page = [serialize_item(states[name]) for name in left[:most]]
        return TablePage(page, left[most - 1] if len(left) > most else None)


@dataclass
class Pipeline:
    """A table, the function that follows it, and the index.

    Attributes:
        stop: ends the writer and the reader.
        wrong: what the reader noticed.
        answers: how many answers were right.
    """

    client: OpenSearch
    name: str
    table: Table = field(default_factory=Table)
    stop: threading.Event = field(default_factory=threading.Event)
    wrong: list[str] = field(default_factory=list)
    answers: int = 0
    changes: int = 0

    def __post_init__(self) -> None:
        self.deploy(OLD)
        for number in range(STAYING):
            self.change(f"staying-{number:04}", {"kind": "staying", "amount": 0})
        for number in range(FLEETING):
            self.change(f"fleeting-{number:04}", {"kind": "fleeting", "amount": 0})
            if number % 2:
                self.change(f"fleeting-{number:04}", None)

    def deploy(self, properties: Mapping[str, Any]) -> None:
        self.functions = [
            Processor(
                "search",
                SOURCE,
                Search(OpenSearchIndex(self.client, self.name, properties, {}), document),
                MemoryDeadLetters(),
                source_table=self.table,
            )
            for _ in range(3)
        ]

    def change(self, name: str, after: Image | None) -> None:
        """Change an item, and deliver that at least once."""
        item = None if after is None else {"id": name, **after}
        if (made := self.table.write(name, item)) is None:
            return
        self.changes += 1
        for _ in range(random.choice([1, 1, 2])):
            function = random.choice(self.functions[1:])
            answer = function({"Records": [made]}, FakeContext(SystemClock()))
            assert answer == {"batchItemFailures": []}

    def write(self) -> None:
        while not self.stop.is_set():
            amount = random.randrange(1000)
            if random.random() < 0.5:
                name = f"staying-{random.randrange(STAYING // 2):04}"
                self.change(name, {"kind": "staying", "amount": amount})
            else:
                there = random.random() < 0.5
                name = f"fleeting-{random.randrange(FLEETING):04}"
                self.change(name, {"kind": "fleeting", "amount": amount} if there else None)

    def search(self) -> None:
        wanted = sorted(f"orders/S=staying-{number:04}" for number in range(STAYING))
        query = {"query": {"term": {"kind": "staying"}}, "size": 1000, "_source": False}
        while not self.stop.is_set():
            try:
                hits = self.client.search(index=self.name, body=query)["hits"]["hits"]
            except OpenSearchException as error:
                self.wrong.append(str(error))
                continue
            found = sorted(hit["_id"] for hit in hits)
            if found == wanted:
                self.answers += 1
            else:
                twice = len(found) - len({*found})
                self.wrong.append(f"{len({*wanted} - {*found})} missing, {twice} twice")

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        sent = json.loads(json.dumps(event))
        return json.loads(json.dumps(self.functions[0](sent, FakeContext(SystemClock()))))

    def rebuild(self) -> RebuildSearch:
        work = RebuildSearch(self, "search", self.name, STREAM, {"id": "S"})
        work.segments, work.settle = 2, 2.0
        return work

    def shown(self, index: str) -> dict[str, Any]:
        """Return the documents of an index that are no tombstones."""
        self.client.indices.refresh(index=index)
        query = {"query": {"term": {"cdc.deleted": False}}, "size": 10_000}
        hits = self.client.search(index=index, body=query)["hits"]["hits"]
        return {hit["_id"]: (hit["_source"]["kind"], hit["_source"]["amount"]) for hit in hits}

    def expected(self) -> dict[str, Any]:
        return {
            f"orders/S={name}": (image["kind"], image["amount"])
            for name, image in self.table.items.items()
        }

    def rich(self) -> int:
        """Return the number of documents with an amount above 99, by a search of numbers."""
        query = {"query": {"range": {"amount": {"gt": 99}}}}
        self.client.indices.refresh(index=self.name)
        return int(self.client.count(index=self.name, body=query)["count"])


@pytest.fixture
def pipeline(
    opensearch_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Pipeline]:
    monkeypatch.setenv("CDC_JOBS", str(tmp_path))
    monkeypatch.setattr(written_indexes, "LOOKUP_SECONDS", 1.0)
    monkeypatch.setattr(rebuild_search, "NOTICE_SECONDS", 4.0)
    client = OpenSearch(
        opensearch_url,
        connection_class=Urllib3HttpConnection,
        max_retries=0,
        timeout=30,
        pool_maxsize=8,
    )
    name = f"rebuild-{uuid4()}"
    yield Pipeline(client, name)
    client.indices.delete(index=[*client.indices.get_alias(index=f"{name}-v*")])
    client.close()


def test_readers_notice_nothing_and_a_rollback_loses_nothing(pipeline: Pipeline) -> None:
    pipeline.deploy(NEW)
    pipeline.client.indices.refresh(index=pipeline.name)
    work = [threading.Thread(target=each) for each in (pipeline.write, pipeline.search)]
    for thread in work:
        thread.start()
    try:
        first = pipeline.rebuild().run()
        assert first.done == "swapped", first.problems
        assert (first.live, first.second) == (2, 1)
        changes = pipeline.changes
        assert pipeline.rebuild().rollback().done == "rolled back"
        again = pipeline.rebuild().run()
        assert again.done == "swapped", again.problems
        assert pipeline.changes > changes > STAYING + FLEETING
    finally:
        pipeline.stop.set()
        for thread in work:
            thread.join()
    assert pipeline.wrong == []
    assert pipeline.answers > 20
    expected = pipeline.expected()
    assert pipeline.shown(pipeline.name) == expected
    assert pipeline.shown(f"{pipeline.name}-v1") == expected, "a rollback would lose this"
    assert pipeline.rich() == sum(amount > 99 for _, amount in expected.values())
    assert pipeline.rebuild().finish().done == "finished"
    assert [*pipeline.client.indices.get_alias(index=f"{pipeline.name}-v*")] == [
        f"{pipeline.name}-v2"
    ]


def test_a_refused_document_keeps_the_old_index_live(
    pipeline: Pipeline,
) -> None:
    pipeline.change("staying-0007", {"kind": "staying", "amount": "seven"})
    pipeline.deploy(NEW)
    report = pipeline.rebuild().run()
    assert report.done == ""
    assert (report.live, report.second) == (1, 2)
    assert [each["item"] for each in report.refusals] == ["orders/S=staying-0007"]
    assert [each["kind"] for each in report.differences] == ["missing"]
    assert "--accept 1" in report.problems[0]
    pipeline.change("staying-0007", {"kind": "staying", "amount": 7})
    assert pipeline.rebuild().run().done == "swapped"
    assert pipeline.shown(pipeline.name) == pipeline.expected()
