"""A fault occurs in the request, with any way to make it."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

from dynamodb_streams_cdc import Deadline
from dynamodb_streams_cdc.testing import Lab, LabFactory, ProcessKilled, UnusedFault
from dynamodb_streams_cdc.testing.memory import MemoryIndex
from tests.unit.labs import deliver, keys, succeed

pytest_plugins = ["dynamodb_streams_cdc.testing.fixtures"]


def rows(table: Any) -> list[str]:
    return sorted(item["id"] for item in table.scan()["Items"])


def by_batch_writer(table: Any, ids: list[str]) -> None:
    with table.batch_writer() as batch:
        for name in ids:
            batch.put_item(Item={"id": name})


def by_client(table: Any, ids: list[str]) -> None:
    for name in ids:
        table.meta.client.put_item(TableName="copies", Item={"id": name})


def by_table(table: Any, ids: list[str]) -> None:
    for name in ids:
        table.put_item(Item={"id": name})


def by_pool(table: Any, ids: list[str]) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: table.put_item(Item={"id": name}), ids))


WAYS = [
    (by_batch_writer, "batch_write_item"),
    (by_client, "put_item"),
    (by_table, "put_item"),
    (by_pool, "put_item"),
]


@pytest.mark.parametrize(("way", "method"), WAYS, ids=lambda way: getattr(way, "__name__", ""))
def test_a_crash_occurs_in_every_kind_of_request(
    stream_lab: LabFactory, copies: Any, way: Callable[[Any, list[str]], None], method: str
) -> None:
    lab = stream_lab()
    assert lab.faulty(copies) is copies
    lab.function(lambda event, context: way(copies, keys(event)))
    lab.crash_before(method)
    deliver(lab, "1")
    assert [type(delivery.error) for delivery in lab.deliveries] == [ProcessKilled, type(None)]
    assert rows(copies) == ["1"]
    lab.crash_after(method)
    deliver(lab, "2")
    assert [type(delivery.error) for delivery in lab.deliveries[2:]] == [ProcessKilled, type(None)]
    assert rows(copies) == ["1", "2"]
    assert f"    {method}(" in str(lab.timeline)


def test_after_a_crash_no_request_is_made(stream_lab: LabFactory, copies: Any) -> None:
    lab = stream_lab(MaximumRetryAttempts=0)
    table = lab.faulty(copies)

    @lab.function
    def handler(event: Any, context: Any) -> None:
        try:
            table.put_item(Item={"id": "before"})
        finally:
            table.put_item(Item={"id": "finally"})

    lab.crash_after("put_item")
    deliver(lab, "1")
    assert rows(copies) == ["before"]


def test_an_outage_raises_what_botocore_raises(stream_lab: LabFactory, copies: Any) -> None:
    lab = stream_lab()
    table = lab.faulty(copies)
    lab.function(lambda event, context: by_table(table, keys(event)))
    lab.fail_sink(seconds=2)
    deliver(lab, "1")
    assert isinstance(lab.deliveries[0].error, ConnectTimeoutError)
    assert lab.deliveries[-1].error is None
    lab.lose_answer("put_item")
    deliver(lab, "2")
    assert any(isinstance(delivery.error, ReadTimeoutError) for delivery in lab.deliveries)
    assert rows(copies) == ["1", "2"]


def test_a_paginator_and_a_refused_write_are_requests_too(
    stream_lab: LabFactory, copies: Any
) -> None:
    lab = stream_lab(MaximumRetryAttempts=0)
    client = lab.faulty(copies.meta.client)

    @lab.function
    def handler(event: Any, context: Any) -> None:
        for _ in client.get_paginator("scan").paginate(TableName="copies"):
            pass
        with contextlib.suppress(client.exceptions.ConditionalCheckFailedException):
            client.put_item(
                TableName="copies",
                Item={"id": "1"},
                ConditionExpression="attribute_exists(id)",
            )

    deliver(lab, "1")
    assert "    scan(TableName=copies)" in str(lab.timeline)
    assert "raises ConditionalCheckFailedException" in str(lab.timeline)
    lab.crash_before("scan")
    deliver(lab, "2")
    assert isinstance(lab.deliveries[-1].error, ProcessKilled)


def test_what_a_test_asks_by_itself_is_left_alone(stream_lab: LabFactory, copies: Any) -> None:
    lab = stream_lab(succeed)
    table = lab.faulty(copies)
    lab.crash_before("scan")
    assert rows(table) == []
    lab.put({"id": "1"})
    with pytest.raises(UnusedFault):
        lab.run()


def test_a_call_takes_the_labs_time(stream_lab: LabFactory, copies: Any) -> None:
    lab = stream_lab(timeout=3.0, MaximumRetryAttempts=0)
    lab.function(lambda event, context: by_table(copies, keys(event)))
    lab.faulty(copies)
    lab.slow_sink(seconds=60, per_call=4)
    deliver(lab, "1")
    assert isinstance(lab.deliveries[0].error, ProcessKilled)
    assert rows(copies) == []


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (lambda table: table.meta.client.get_paginator("scan"), "give faulty the client or the"),
        (lambda table: table.batch_writer(), "give faulty the client or the resource"),
        (lambda table: boto3.Session(), "give faulty the client or the resource"),
        (lambda table: {"rows": []}, "a dict makes no requests: give faulty the object whose"),
        (lambda table: [table], "a list makes no requests"),
        (lambda table: iter([1]), "makes no requests"),
        (lambda table: None, "a NoneType makes no requests"),
        (lambda table: Lab, "Lab is a class: give faulty an object of it"),
    ],
)
def test_faulty_refuses_objects_that_make_no_requests(
    stream_lab: LabFactory, copies: Any, made: Callable[[Any], Any], sentence: str
) -> None:
    with pytest.raises(TypeError, match=sentence):
        stream_lab().faulty(made(copies))


class Port:
    """A port of every form."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __call__(self, what: str) -> None:
        self.done.append(f"call {what}")

    def __getitem__(self, what: str) -> str:
        self.done.append(f"get {what}")
        return what

    def __setitem__(self, what: str, value: str) -> None:
        self.done.append(f"set {what}")

    def __len__(self) -> int:
        self.done.append("len")
        return 0

    def __iter__(self) -> Iterator[str]:
        for page in ("1", "2"):
            self.done.append(f"page {page}")
            yield page

    def __enter__(self) -> "Port":
        return self

    def __exit__(self, *error: object) -> None:
        self.done.append("exit")

    def pages(self) -> Iterator[str]:
        yield from iter(self)

    def listed(self) -> Iterator[str]:
        return iter(self)

    async def fetch(self, what: str) -> str:
        self.done.append(f"fetch {what}")
        return what

    async def stream(self) -> AsyncIterator[str]:
        for page in ("1", "2"):
            self.done.append(f"page {page}")
            yield page

    @contextlib.contextmanager
    def batch(self) -> Iterator["Port"]:
        yield self

    def write(self) -> None:
        self.done.append("write")


async def read(port: Any) -> list[str]:
    return [page async for page in port.stream()]


def with_statement(port: Any) -> None:
    with port as inner:
        inner.write()


def in_batch(port: Any) -> None:
    with port.batch() as batch:
        batch.write()


def set_item(port: Any) -> None:
    port["a"] = "b"


@pytest.mark.parametrize(
    ("use", "method", "done"),
    [
        (lambda port: port("a"), "Port", ["call a"]),
        (lambda port: port["a"], "__getitem__", ["get a"]),
        (set_item, "__setitem__", ["set a"]),
        (len, "__len__", ["len"]),
        (lambda port: [page for page in port], "__iter__", ["page 1"]),
        (lambda port: list(port.pages()), "pages", ["page 1"]),
        (lambda port: asyncio.run(port.fetch("a")), "fetch", ["fetch a"]),
        (lambda port: asyncio.run(read(port)), "stream", ["page 1"]),
        (with_statement, "write", ["write"]),
        (in_batch, "write", ["write"]),
    ],
)
def test_a_port_of_any_form_is_struck_where_it_does_its_work(
    stream_lab: LabFactory, use: Callable[[Any], Any], method: str, done: list[str]
) -> None:
    lab, port = stream_lab(MaximumRetryAttempts=0), Port()
    wrapped = lab.faulty(port)
    lab.function(lambda event, context: use(wrapped))
    lab.crash_before(method)
    deliver(lab, "1")
    assert port.done == []
    lab.crash_after(method)
    deliver(lab, "2")
    assert port.done == done
    assert [type(delivery.error) for delivery in lab.deliveries] == [ProcessKilled, ProcessKilled]


def test_functions_and_what_iterators_yield_are_requests(stream_lab: LabFactory) -> None:
    lab, sent, port = stream_lab(MaximumRetryAttempts=0), list[str](), Port()
    send, listing = lab.faulty(sent.append), lab.faulty(port)

    @lab.function
    def handler(event: Any, context: Any) -> None:
        for page in listing.listed():
            send(page)

    lab.crash_after("append")
    deliver(lab, "1")
    assert sent == ["1"]
    assert port.done == ["page 1"]
    assert callable(send)
    assert not callable(lab.faulty(Rows()))


class Pages:
    """An iterator with a method of its own, as the results of databases are."""

    def __init__(self) -> None:
        self.rows = iter(["1", "2"])

    def __iter__(self) -> "Pages":
        return self

    def __next__(self) -> str:
        return next(self.rows)

    def first(self) -> str:
        return next(self)


def look_up() -> Pages:
    return Pages()


def test_a_cursor_is_a_port_as_its_connection_is(stream_lab: LabFactory) -> None:
    lab, database = stream_lab(), sqlite3.connect(":memory:")
    database.execute("CREATE TABLE copies (id TEXT)")
    connection, query = lab.faulty(database), lab.faulty(look_up)

    @lab.function
    def handler(event: Any, context: Any) -> None:
        with connection:
            cursor = connection.cursor()
            cursor.executemany("INSERT INTO copies VALUES (?)", [[name] for name in keys(event)])
            assert next(cursor.execute("SELECT count(*) FROM copies")) == (1,)
            assert list(cursor.execute("SELECT id FROM copies")) == [("1",)]
        assert query().first() == "1"

    lab.lose_answer("executemany")
    deliver(lab, "1")
    assert [bool(delivery.error) for delivery in lab.deliveries] == [True, False]
    assert "    executemany(..T INTO copies" in str(lab.timeline)


def test_the_timeline_names_a_deadline_without_its_parts(stream_lab: LabFactory) -> None:
    lab = stream_lab()
    index = lab.faulty(MemoryIndex())
    lab.function(lambda event, context: index.pair(Deadline(lab.clock)))
    deliver(lab, "1")
    assert "    pair(deadline)" in str(lab.timeline)


class Rows:
    def write(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("use", [setattr, lambda port, name, value: delattr(port, name)])
def test_an_assignment_through_a_port_is_refused(
    stream_lab: LabFactory, use: Callable[..., None]
) -> None:
    lab, rows = stream_lab(MaximumRetryAttempts=0), Port()
    port = lab.faulty(rows)
    lab.function(lambda event, context: use(port, "done", ["1"]))
    deliver(lab, "1")
    assert "assigns done of a Port through a faulty port" in str(lab.deliveries[0].error)
    assert rows.done == []
