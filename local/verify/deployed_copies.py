"""Reads the deployed table and its copies: tables with boto3, OpenSearch with plain HTTP."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from json import dumps
from typing import TYPE_CHECKING, Any, Protocol

import urllib3
from boto3.dynamodb.types import TypeDeserializer

from local.verify.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from botocore.credentials import Credentials
    from mypy_boto3_dynamodb import DynamoDBClient

    from local.verify.expected import Contribution

_PAGE = 1000
_NOT_FOUND = 404
_CANARY = "cdc-canary"
"""Key of the item that the app itself writes every few minutes; not an order, not compared."""
# A new index answers 503 until its shard is up.
_RETRIES = urllib3.Retry(
    total=14,
    connect=2,
    read=0,
    status_forcelist=(429, 502, 503, 504),
    allowed_methods=None,
    backoff_factor=0.1,
    backoff_max=2,
    raise_on_status=False,
)


class Http(Protocol):
    """Sends requests to OpenSearch: urllib3's pool, or one that signs them."""

    def request(
        self, method: str, url: str, *, json: Any | None = None
    ) -> urllib3.BaseHTTPResponse: ...


def plain_http() -> Http:
    """Return connections without signatures, which wait for an index that is starting."""
    return urllib3.PoolManager(retries=_RETRIES, timeout=30.0)


class SignedHttp:
    """Requests to a managed domain, signed with AWS credentials for one Region."""

    def __init__(self, credentials: Credentials, region: str) -> None:
        from opensearchpy import Urllib3AWSV4SignerAuth

        self._http = urllib3.PoolManager(retries=_RETRIES, timeout=30.0)
        self._sign = Urllib3AWSV4SignerAuth(credentials, region, "es")

    def request(
        self, method: str, url: str, *, json: Any | None = None
    ) -> urllib3.BaseHTTPResponse:
        body = None if json is None else dumps(json).encode()
        headers = {**self._sign(method, url, body), "Content-Type": "application/json"}
        return self._http.request(method, url, body=body, headers=headers)


class ReadError(Exception):
    """OpenSearch did not answer, or with an error; the message is a sentence."""


class DeployedCopies:
    """The deployed copies: tables by name, OpenSearch by URL and read alias.

    `image_store` returns an object with the images that are too large for an entry. `http` reaches
    OpenSearch; without one, requests are not signed.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        *,
        orders: str,
        change_log: str,
        aggregates: str,
        ledger: str,
        search_url: str,
        search_index: str,
        image_store: Callable[[str], bytes] | None = None,
        http: Http | None = None,
    ) -> None:
        self._client = client
        self._orders = orders
        self._change_log = change_log
        self._aggregates = aggregates
        self._ledger = ledger
        self._image_store = image_store
        self._search = f"{search_url.rstrip('/')}/{search_index}"
        self._scroll = f"{search_url.rstrip('/')}/_search/scroll"
        self._http = http or plain_http()
        self._decode = TypeDeserializer().deserialize

    def orders(self) -> Iterator[dict[str, Any]]:
        return (row for row in self._scan(self._orders) if row["customer_id"] != _CANARY)

    def aggregates(self) -> Iterator[dict[str, Any]]:
        return self._scan(self._aggregates)

    def ledger(self) -> Iterator[tuple[str, Contribution]]:
        for row in self._scan(self._ledger):
            kind, _, item = str(row["id"]).partition("/")
            if kind == "ledger" and not row.get("deleted") and not _is_canary(item):
                yield item, row["contribution"]

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield the entries, with the images of large ones from the image store."""
        for entry in self._scan(self._change_log):
            if _is_canary(str(entry["item"])):
                continue
            if "overflow" in entry and self._image_store is not None:
                yield {**entry, **self._images(self._image_store(str(entry["overflow"])))}
            else:
                yield entry

    def _images(self, stored: bytes) -> dict[str, Any]:
        images = json.loads(stored, object_hook=_with_bytes)
        return {
            name: {attribute: self._decode(value) for attribute, value in image.items()}
            for name, image in images.items()
            if image is not None
        }

    def documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield id and source of each document by the read alias, after a refresh."""
        self._post(f"{self._search}/_refresh")
        query = {"size": _PAGE, "query": {"match_all": {}}, "sort": ["_doc"]}
        page = self._post(f"{self._search}/_search?scroll=1m", query)
        while page is not None and page["hits"]["hits"]:
            for hit in page["hits"]["hits"]:
                yield hit["_id"], hit["_source"]
            following = {"scroll": "1m", "scroll_id": page["_scroll_id"]}
            page = self._post(self._scroll, following)
        if page is not None:
            self._request("DELETE", self._scroll, {"scroll_id": page["_scroll_id"]})

    def document_count(self) -> int:
        found = self._post(f"{self._search}/_count")
        return int(found["count"]) if found else 0

    def find(self, items: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the sources that a search for these ids finds now, without a refresh."""
        query = {"size": len(items), "query": {"ids": {"values": list(items)}}}
        page = self._post(f"{self._search}/_search", query)
        return {hit["_id"]: hit["_source"] for hit in page["hits"]["hits"]} if page else {}

    def history_length(self, item: str) -> int:
        """Return the number of an item's entries, read consistently."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._change_log,
            KeyConditionExpression="#item = :item",
            ExpressionAttributeNames={"#item": "item"},
            ExpressionAttributeValues={":item": {"S": item}},
            Select="COUNT",
            ConsistentRead=True,
        )
        return sum(page["Count"] for page in pages)

    def progress(self) -> Progress:
        """Return counts; DescribeTable's is exact in the emulator, and hours old on AWS."""
        status = (row for row in self.aggregates() if str(row["aggregate"]).startswith("status#"))
        entries = self._client.describe_table(TableName=self._change_log)["Table"]["ItemCount"]
        return Progress(
            aggregated=int(sum(row.get("orders", 0) for row in status)),
            documents=self.document_count(),
            entries=entries - self.history_length(f"orders/S={_CANARY}/S={_CANARY}"),
        )

    def _scan(self, table: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        for page in pages:
            for item in page["Items"]:
                yield {name: self._decode(value) for name, value in item.items()}

    def _post(self, url: str, body: dict[str, Any] | None = None) -> Any:
        return self._request("POST", url, body)

    def _request(self, method: str, url: str, body: dict[str, Any] | None) -> Any:
        """Return the JSON of the response; None where the index does not exist."""
        try:
            response = self._http.request(method, url, json=body)
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            msg = f"OpenSearch does not answer at {url}: {reason}."
            raise ReadError(msg) from error
        if response.status == _NOT_FOUND:
            return None
        if response.status >= 400:
            msg = (
                f"OpenSearch answered {response.status} to {method} {url}: {response.data[:300]!r}."
            )
            raise ReadError(msg)
        return json.loads(response.data, parse_float=Decimal)


def _is_canary(item: str) -> bool:
    return f"={_CANARY}/" in item


def _with_bytes(value: dict[str, Any]) -> dict[str, Any]:
    """Return a value of DynamoDB JSON with base64 text decoded to bytes, as boto3 has it."""
    match value:
        case {"B": str(text), **rest} if not rest:
            return {"B": base64.b64decode(text)}
        case {"BS": list(texts), **rest} if not rest:
            return {"BS": [base64.b64decode(text) for text in texts]}
    return value
