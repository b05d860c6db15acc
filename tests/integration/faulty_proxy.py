"""An HTTP proxy before a real service, which injects the faults that a test chooses."""

import json
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any

import urllib3

Spoil = Callable[["Exchange"], None]

TOLD_EVERY_SECONDS = 0.3
"""How often a client hears that the engine is still at work."""

NOT_FORWARDED = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "expect"}
)
"""Headers that speak of the connection to the proxy."""


@dataclass
class Exchange:
    """One request on its way, for a spoiler to act on.

    Calling `forward` sends it to the engine; the others answer the client, or leave it without an
    answer. Without a spoiler a request is forwarded and its answer returned.
    """

    handler: BaseHTTPRequestHandler
    body: bytes
    target: str
    pool: urllib3.PoolManager
    closing: threading.Event
    waiting: "Waiting"

    @property
    def operation(self) -> str:
        """The DynamoDB operation, or the method and path."""
        named = self.handler.headers.get("X-Amz-Target", "")
        path = self.handler.path.partition("?")[0]
        return named.rpartition(".")[2] or f"{self.handler.command} {path}"

    def forward(self, body: bytes | None = None) -> urllib3.BaseHTTPResponse:
        """Forward the request, or `body` instead; return the response, which is not sent on.

        The client does not time out meanwhile.
        """
        headers = {k: v for k, v in self.handler.headers.items() if k.lower() not in NOT_FORWARDED}
        with self.waiting.client_of(self.handler):
            return self.pool.request(
                self.handler.command,
                self.target + self.handler.path,
                body=self.body if body is None else body,
                headers=headers,
            )

    def pass_on(self, answer: urllib3.BaseHTTPResponse) -> None:
        """Answer the client as the engine did."""
        etag = {name: answer.headers[name] for name in ("ETag",) if name in answer.headers}
        self.reply(answer.status, answer.data, answer.headers.get("Content-Type", ""), etag)

    def reply(
        self,
        status: int,
        body: bytes,
        content_type: str = "application/json",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Answer the client."""
        self.handler.send_response(status)
        self.handler.send_header("Content-Type", content_type)
        for name, value in headers.items():
            self.handler.send_header(name, value)
        self.handler.send_header("Content-Length", str(len(body)))
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def refuse(self, status: int, code: str, message: str = "injected", **details: Any) -> None:
        """Answer as DynamoDB does when it refuses."""
        body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, **details}
        self.reply(status, json.dumps(body).encode(), "application/x-amz-json-1.0")

    def cancel(self, codes: Mapping[int, str]) -> None:
        """Answer as DynamoDB does when it cancels a transaction: codes by action."""
        actions = json.loads(self.body)["TransactItems"]
        reasons: list[dict[str, str]] = [{"Code": "None"} for _ in actions]
        for position, code in codes.items():
            reasons[position] = {"Code": code, "Message": "injected"}
        listed = ", ".join(reason["Code"] for reason in reasons)
        self.refuse(
            400,
            "TransactionCanceledException",
            "Transaction cancelled, please refer cancellation reasons for specific reasons "
            f"[{listed}]",
            CancellationReasons=reasons,
        )

    def drop(self) -> None:
        """Close the connection without a word."""
        self.handler.close_connection = True

    def hang(self) -> None:
        """Say nothing, and keep the connection open until the proxy ends."""
        self.closing.wait()
        self.drop()

    def cut(self, answer: urllib3.BaseHTTPResponse) -> None:
        """Send the first half of an answer, and close the connection."""
        self._begin(answer)
        self.drop()

    def reset(self, answer: urllib3.BaseHTTPResponse) -> None:
        """Send the first half of an answer, and break the connection off."""
        self._begin(answer)
        broken = self.handler.connection
        broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(broken.detach())
        self.drop()

    def _begin(self, answer: urllib3.BaseHTTPResponse) -> None:
        half = answer.data[: len(answer.data) // 2]
        self.handler.send_response(answer.status)
        self.handler.send_header("Content-Type", answer.headers.get("Content-Type", ""))
        self.handler.send_header("Content-Length", str(len(answer.data)))
        self.handler.end_headers()
        self.handler.wfile.write(half)


@dataclass
class Waiting:
    """The clients for which the engine is at work.

    A client times out without a response, so it gets an interim response now and then, which it
    skips. Only `Exchange.hang` is to time out.
    """

    _handlers: set[BaseHTTPRequestHandler] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def client_of(self, handler: BaseHTTPRequestHandler) -> Iterator[None]:
        with self._lock:
            self._handlers.add(handler)
        try:
            yield
        finally:
            with self._lock:
                self._handlers.remove(handler)

    def tell(self, closing: threading.Event) -> None:
        while not closing.wait(TOLD_EVERY_SECONDS):
            with self._lock:
                for handler in self._handlers:
                    with suppress(OSError):  # a client may have gone
                        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")


@dataclass
class Answer:
    """A spoiler that gives this answer in the place of the engine's."""

    status: int
    body: object
    content_type: str = "application/json"

    def __call__(self, exchange: Exchange) -> None:
        body = self.body if isinstance(self.body, str) else json.dumps(self.body)
        exchange.reply(self.status, body.encode(), self.content_type)


def reset(exchange: Exchange) -> None:
    """Let the engine do it, and break the connection off in the middle of its answer."""
    exchange.reset(exchange.forward())


PAGE = Answer(503, "<html><body><h1>503 Service Unavailable</h1></body></html>", "text/html")
"""Page of a load balancer."""


@dataclass
class FaultyProxy:
    """A running proxy.

    Attributes:
        url: where clients find it.
        spoil: what to do with a request; returns whether it was dealt with.
        operations: names of the requests, in order.
    """

    url: str
    spoil: Callable[[Exchange], bool] = lambda exchange: False
    operations: list[str] = field(default_factory=list)

    def once(self, operation: str, act: Spoil, *, carrying: str = "") -> None:
        """Let `act` deal with the next request of that operation, and with no other."""
        self.times(1, operation, act, carrying=carrying)

    def times(
        self, count: float, operation: str, act: Spoil, *, after: int = 0, carrying: str = ""
    ) -> None:
        """Let `act` deal with `count` requests of that operation, once `after` have passed.

        Only those whose body carries a text, if one is given: requests that are under way together
        arrive in any order.
        """
        numbers = iter(range(sys.maxsize))
        lock = threading.Lock()

        def spoil(exchange: Exchange) -> bool:
            if exchange.operation != operation or carrying.encode() not in exchange.body:
                return False
            with lock:
                struck = after <= next(numbers) < after + count
            if struck:
                act(exchange)
            return struck

        self.spoil = spoil

    def heal(self) -> None:
        """Spoil nothing from now on."""
        self.spoil = lambda exchange: False


@contextmanager
def faulty_proxy(target: str) -> Iterator[FaultyProxy]:
    """Run a proxy before the engine at `target`."""
    pool = urllib3.PoolManager(maxsize=16, retries=False)
    closing, waiting = threading.Event(), Waiting()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            exchange = Exchange(self, body, target, pool, closing, waiting)
            proxy.operations.append(exchange.operation)
            if not proxy.spoil(exchange):
                exchange.pass_on(exchange.forward())

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = FaultyProxy(f"http://127.0.0.1:{server.server_address[1]}")
    threads = [
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True),
        threading.Thread(target=waiting.tell, args=(closing,), daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield proxy
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        for thread in threads:
            thread.join()
        pool.clear()
