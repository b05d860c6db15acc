"""An HTTP proxy before a real engine that spoils what a test asks it to spoil."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3

Spoil = Callable[["Exchange"], None]


@dataclass
class Exchange:
    """One request on its way, for a spoiler to act on.

    Calling `forward` sends it to the engine; `reply`, `drop` and `cut` answer the client. Without a
    spoiler a request is forwarded and its answer returned.
    """

    handler: BaseHTTPRequestHandler
    body: bytes
    target: str
    pool: urllib3.PoolManager

    @property
    def operation(self) -> str:
        """The DynamoDB operation, or the method and path."""
        named = self.handler.headers.get("X-Amz-Target", "")
        path = self.handler.path.partition("?")[0]
        return named.rpartition(".")[2] or f"{self.handler.command} {path}"

    def forward(self) -> urllib3.BaseHTTPResponse:
        """Let the engine do what was asked; return its answer without sending it on."""
        dropped = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}
        headers = {k: v for k, v in self.handler.headers.items() if k.lower() not in dropped}
        return self.pool.request(
            self.handler.command, self.target + self.handler.path, body=self.body, headers=headers
        )

    def reply(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        """Answer the client."""
        self.handler.send_response(status)
        self.handler.send_header("Content-Type", content_type)
        self.handler.send_header("Content-Length", str(len(body)))
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def refuse(self, status: int, code: str, message: str = "injected", **details: Any) -> None:
        """Answer as DynamoDB does when it refuses."""
        body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, **details}
        self.reply(status, json.dumps(body).encode(), "application/x-amz-json-1.0")

    def drop(self) -> None:
        """Close the connection without a word."""
        self.handler.close_connection = True

    def cut(self, answer: urllib3.BaseHTTPResponse) -> None:
        """Send the first half of an answer, and close the connection."""
        half = answer.data[: len(answer.data) // 2]
        self.handler.send_response(answer.status)
        self.handler.send_header("Content-Type", answer.headers.get("Content-Type", ""))
        self.handler.send_header("Content-Length", str(len(answer.data)))
        self.handler.end_headers()
        self.handler.wfile.write(half)
        self.drop()


@dataclass
class FaultyProxy:
    """A running proxy.

    Attributes:
        url: where clients find it.
        spoil: what to do with a request; returns whether it was dealt with.
        operations: what was asked for, in order.
    """

    url: str
    spoil: Callable[[Exchange], bool] = lambda exchange: False
    operations: list[str] = field(default_factory=list)

    def once(self, operation: str, act: Spoil) -> None:
        """Let `act` deal with the next request of that operation, and with no other."""
        self.times(1, operation, act)

    def times(self, count: int, operation: str, act: Spoil) -> None:
        """Let `act` deal with the next `count` requests of that operation."""
        left = [count]
        lock = threading.Lock()

        def spoil(exchange: Exchange) -> bool:
            with lock:
                if exchange.operation != operation or not left[0]:
                    return False
                left[0] -= 1
            act(exchange)
            return True

        self.spoil = spoil


@contextmanager
def faulty_proxy(target: str) -> Iterator[FaultyProxy]:
    """Run a proxy before the engine at `target`."""
    pool = urllib3.PoolManager(maxsize=16, retries=False)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            exchange = Exchange(self, body, target, pool)
            proxy.operations.append(exchange.operation)
            if not proxy.spoil(exchange):
                answer = exchange.forward()
                exchange.reply(answer.status, answer.data, answer.headers.get("Content-Type", ""))

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = FaultyProxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        pool.clear()
