"""Reads the deployed table and its copies: tables with boto3, OpenSearch with plain HTTP."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from json import dumps
from typing import TYPE_CHECKING, Any, Protocol, cast

import urllib3
from boto3.dynamodb.types import Binary, TypeDeserializer

from dynamodb_streams_cdc.canary import canary_item
from dynamodb_streams_cdc.names import GENERATIONS
from dynamodb_streams_cdc.sinks.generations import generation_of
from local.items import item_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from botocore.credentials import Credentials
    from mypy_boto3_dynamodb import DynamoDBClient

    from dynamodb_streams_cdc.entities import Table
    from local.deployed.resources import Resources
    from local.items import Image

_NO_MEASURES = ("aggregate", "shard", "revision")
_PAGE = 1000
_NOT_FOUND = 404
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
    """A deployed table and its copies: tables by name, OpenSearch by URL and alias.

    `image_store` returns an object with the images that are too large for an entry. `http` reaches
    OpenSearch; without one, requests are not signed.

    Attributes:
        table: declaration of the table.
        resources: names of what is deployed for it.
        client: of DynamoDB.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: Table,
        resources: Resources,
        *,
        image_store: Callable[[str], bytes] | None = None,
        http: Http | None = None,
    ) -> None:
        self.client = client
        self.table = table
        self.resources = resources
        self._image_store = image_store
        self._search = (resources.search_endpoint or "").rstrip("/")
        self._http = http or plain_http()
        self._decode = TypeDeserializer().deserialize
        canary = {name: self._decode(v) for name, v in canary_item(table.keys, 0).items()}
        self._canary = item_of(table, plain(canary))

    def items(self) -> Iterator[tuple[str, Image]]:
        """Yield identity and image of each item in the table."""
        for row in self._scan(self.resources.source):
            item = item_of(self.table, row)
            if item != self._canary:
                yield item, row

    def aggregates(self) -> Iterator[Image]:
        """Yield the rows of the aggregates table, one for each shard, as readers read them.

        Of the generations of sums, that is the live one; see docs/how-to/rebuild-the-sums.md.
        """
        rows = list(self._scan(self.resources.aggregates))
        live = self._live_generation()
        prefix = f"g{live}_" if live else ""
        for row in rows:
            yield {
                name.removeprefix(prefix): value
                for name, value in row.items()
                if name in _NO_MEASURES or generation_of(name) == live
            }

    def _live_generation(self) -> int:
        key = {"id": {"S": GENERATIONS}}
        found = self.client.get_item(
            TableName=self.resources.ledger, Key=key, ConsistentRead=True
        ).get("Item")
        return 0 if found is None else int(found["live"]["N"])

    def ledger(self) -> Iterator[tuple[str, Image]]:
        """Yield item and row of the ledger, those of deleted items included."""
        for row in self._scan(self.resources.ledger):
            kind, _, item = str(row["id"]).partition("/")
            if kind == "ledger" and item != self._canary:
                yield item, row

    def ledger_count(self) -> int:
        """Return the number of items in the ledger, without deleted ones."""
        pages = self.client.get_paginator("scan").paginate(
            TableName=self.resources.ledger,
            ConsistentRead=True,
            Select="COUNT",
            FilterExpression=(
                "begins_with(id, :ledger) AND id <> :canary AND"
                " (attribute_not_exists(deleted) OR deleted = :false)"
            ),
            ExpressionAttributeValues={
                ":ledger": {"S": "ledger/"},
                ":canary": {"S": f"ledger/{self._canary}"},
                ":false": {"BOOL": False},
            },
        )
        return sum(page["Count"] for page in pages)

    def ledger_rows(self, items: Sequence[str]) -> dict[str, Image]:
        """Return the ledger rows of at most 100 items, by item, read consistently."""
        keys = [{"id": {"S": f"ledger/{item}"}} for item in items]
        name = self.resources.ledger
        response = self.client.batch_get_item(
            RequestItems={name: {"Keys": keys, "ConsistentRead": True}}
        )
        rows = map(self._plainly, response["Responses"].get(name, []))
        return {str(row["id"]).partition("/")[2]: row for row in rows}

    def entries(self) -> Iterator[Image]:
        """Yield the entries, with the images of large ones from the image store."""
        for entry in self._scan(self.resources.change_log):
            if entry["item"] == self._canary:
                continue
            if "overflow" in entry and self._image_store is not None:
                yield {**entry, **self._images(self._image_store(str(entry["overflow"])))}
            else:
                yield entry

    def _images(self, stored: bytes) -> dict[str, Any]:
        images = json.loads(stored, object_hook=_with_bytes)
        return {name: self._plainly(image) for name, image in images.items() if image is not None}

    def documents(self, index: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield id and source of each document by the read alias, after a refresh."""
        return self._hits(self.resources.indexes[index], {"match_all": {}})

    def hidden(self, index: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield id and source of each document that readers do not see: tombstones and strays."""
        seen = {"bool": {"must_not": {"term": {"cdc.deleted": False}}}}
        for item, source in self._hits(f"{self.resources.indexes[index]}-write", seen):
            if item != self._canary:
                yield item, source

    def _hits(self, alias: str, query: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        url, scroll = f"{self._search}/{alias}", f"{self._search}/_search/scroll"
        self._post(f"{url}/_refresh")
        page = self._post(
            f"{url}/_search?scroll=1m", {"size": _PAGE, "query": query, "sort": ["_doc"]}
        )
        while page is not None and page["hits"]["hits"]:
            for hit in page["hits"]["hits"]:
                yield hit["_id"], hit["_source"]
            page = self._post(scroll, {"scroll": "1m", "scroll_id": page["_scroll_id"]})
        if page is not None:
            self._request("DELETE", scroll, {"scroll_id": page["_scroll_id"]})

    def document_count(self, index: str) -> int:
        """Return the result of `_count` by the read alias."""
        found = self._post(f"{self._search}/{self.resources.indexes[index]}/_count")
        return int(found["count"]) if found else 0

    def find(self, index: str, items: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the sources that a search for these ids finds now, without a refresh."""
        query = {"size": len(items), "query": {"ids": {"values": list(items)}}}
        page = self._post(f"{self._search}/{self.resources.indexes[index]}/_search", query)
        return {hit["_id"]: hit["_source"] for hit in page["hits"]["hits"]} if page else {}

    def history_length(self, item: str) -> int:
        """Return the number of an item's entries, read consistently."""
        pages = self.client.get_paginator("query").paginate(
            TableName=self.resources.change_log or "",
            KeyConditionExpression="#item = :item",
            ExpressionAttributeNames={"#item": "item"},
            ExpressionAttributeValues={":item": {"S": item}},
            Select="COUNT",
            ConsistentRead=True,
        )
        return sum(page["Count"] for page in pages)

    def entry_count(self) -> int:
        """Return the number of entries; exact in the emulator, and hours old on AWS."""
        described = self.client.describe_table(TableName=self.resources.change_log or "")
        return described["Table"]["ItemCount"] - self.history_length(self._canary)

    def _scan(self, table: str | None) -> Iterator[Image]:
        """Yield the rows of a table; none if it is not deployed."""
        if table is None:
            return
        pages = self.client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        for page in pages:
            yield from map(self._plainly, page["Items"])

    def _plainly(self, row: Mapping[str, Any]) -> Image:
        return {name: plain(self._decode(value)) for name, value in row.items()}

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


def plain(value: Any) -> Any:
    """Return a value of boto3 with `bytes` in place of its `Binary`, as functions get it."""
    match value:
        case Binary():
            return cast("Any", value).value
        case dict():
            return {name: plain(member) for name, member in value.items()}
        case list():
            return [plain(member) for member in value]
        case set():
            return {plain(member) for member in value}
    return value


def _with_bytes(value: dict[str, Any]) -> dict[str, Any]:
    """Return a value of DynamoDB JSON with base64 text decoded to bytes, as boto3 has it."""
    match value:
        case {"B": str(text), **rest} if not rest:
            return {"B": base64.b64decode(text)}
        case {"BS": list(texts), **rest} if not rest:
            return {"BS": [base64.b64decode(text) for text in texts]}
    return value
