"""The documents of one index on OpenSearch: versioned bulk upserts through an alias.

Every bulk request has `require_alias`: without it a missing index would be created under the
alias's name, with guessed mappings.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dynamodb_streams_cdc.aws.opensearch_errors import (
    CONFLICT,
    DOCUMENT_MISSING,
    MISSING,
    NotThere,
    answered,
    refusal,
    types_of,
)
from dynamodb_streams_cdc.aws.opensearch_walk import next_page
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import (
    ConflictError,
    DeadlineExceeded,
    PermanentError,
    RetryableError,
)
from dynamodb_streams_cdc.guards.halves import in_halves
from dynamodb_streams_cdc.sinks.comparison import Place, Segment
from dynamodb_streams_cdc.sinks.documents import CDC, DocumentPage, Held, Stale, Upsert, Upserted
from dynamodb_streams_cdc.sinks.number_fields import NumberFields

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

BULK_BYTES = 5 * 1024 * 1024
"""The size at which a bulk request is sent; OpenSearch recommends 5 to 15 MB and accepts 10 MB on
its smallest instances (https://docs.aws.amazon.com/opensearch-service/latest/developerguide/limits.html)."""

REQUEST_SECONDS = 8.0
"""How long one request may take; less than `deadline.RESERVE_SECONDS`, so that one which hangs ends
before the invocation does."""

RETRY_ON_CONFLICT = 3
"""How often OpenSearch retries an update that met another one of the same document."""

SCRIPT = (
    f"def v=ctx._source.{CDC};if(v instanceof Map)v=v.version;"
    f"if(v instanceof String&&v.compareTo(params.source.{CDC}.version)>=0)ctx.op='none';"
    "else ctx._source=params.source"
)
"""`search.supersedes` in Painless, as short as it can be: each update carries it. Always the same
text, so it is compiled once: values are parameters, and 75 compilations in five minutes are the
limit for changing ones."""

CDC_MAPPING: Mapping[str, Any] = {
    "dynamic": False,
    "properties": {
        "deleted": {"type": "boolean"},
        "written_at": {"type": "double"},
        "item": {"type": "keyword"},
        "bucket": {"type": "short"},
    },
}
"""The searchable fields of `cdc`: tombstones, by age, and order and parts of a walk over the
documents. Its other fields are only read."""

ANSWERS = "items.*.result,items.*.get,items.*.error,items.*.status"
"""Fields of the response to a bulk request: a fifth of its size."""


_json = json.JSONEncoder(separators=(",", ":")).encode


def as_json(value: object) -> bytes:
    """Return a document, or a part of it, as JSON, by the standard library."""
    return _json(value).encode()


class _Encoded(NamedTuple):
    """A document in JSON."""

    id: bytes
    source: bytes
    is_first: bool


class Documents:
    """The documents behind an alias, which a subclass has the attributes for.

    Attributes:
        client: client of OpenSearch, without retries of its own.
        alias: the alias that documents are written and read through, tombstones included.
        properties: the mapping of the document's fields; fields that it does not name are kept and
            not searchable.
        encode: returns a document as JSON; a compiled encoder takes a quarter of the time.
    """

    client: "OpenSearch"
    alias: str
    properties: Mapping[str, Any]
    encode: Callable[[object], bytes]

    def create(self, deadline: Deadline) -> None:
        """Create the index, which is missing.

        Raises:
            RetryableError: it cannot be created at the moment, or is not meant to be.
        """
        message = f"the index of {self.alias} is gone"
        raise RetryableError(message)

    @cached_property
    def _numbers(self) -> NumberFields:
        return NumberFields.of(self.properties)

    def upsert(self, upserts: Sequence[Upsert], deadline: Deadline) -> Sequence[Upserted]:
        """Write each document with a version greater than the one held; refuse unfit numbers."""
        misfits = {n: error for n, each in enumerate(upserts) if (error := self._misfit(each))}
        if misfits:
            fitting = [upsert for n, upsert in enumerate(upserts) if n not in misfits]
            written = iter(self._upsert(fitting, deadline))
            return [misfits[n] if n in misfits else next(written) for n in range(len(upserts))]
        return self._upsert(upserts, deadline)

    def _misfit(self, upsert: Upsert) -> PermanentError | None:
        try:
            self._numbers.check(upsert.source)
        except PermanentError as error:
            return error
        return None

    def _upsert(self, upserts: Sequence[Upsert], deadline: Deadline) -> Sequence[Upserted]:
        results: list[Upserted] = []
        for body in self._bodies(upserts):
            start = len(results)
            try:
                results += self._bulk(body, deadline)
            except (RetryableError, DeadlineExceeded) as error:
                return [*results, *[error] * (len(upserts) - start)]
        return results

    def read(self, item_id: str, deadline: Deadline) -> Held | None:
        """Return the document or tombstone of an item, as last written."""
        try:
            found = self._answer(self.client.get, deadline, id=item_id)
        except NotThere:
            return None
        return Held(found["_source"], (found["_seq_no"], found["_primary_term"]))

    def replace(self, held: Held | None, upsert: Upsert, deadline: Deadline) -> bool:
        """Replace the document held, or create one; return False if another write came first."""
        self._numbers.check(upsert.source)
        return self._replace(held, upsert, deadline)

    def _replace(
        self, held: Held | None, upsert: Upsert, deadline: Deadline, attempt: int = 0
    ) -> bool:
        condition: dict[str, Any] = {"op_type": "create"}
        if held is not None:
            sequence_number, primary_term = cast("tuple[int, int]", held.revision)
            condition = {"if_seq_no": sequence_number, "if_primary_term": primary_term}
        params = {**condition, "require_alias": "true"}
        ask = self.client.index
        try:
            self._answer(ask, deadline, params, id=upsert.item_id, body=upsert.source)
        except ConflictError:
            return False
        except NotThere:
            if attempt:
                raise
            self.create(deadline)
            return held is None and self._replace(None, upsert, deadline, attempt=1)
        return True

    def _answer(
        self,
        ask: Callable[..., Any],
        deadline: Deadline,
        params: Mapping[str, Any] = MappingProxyType({}),
        **request: Any,
    ) -> Mapping[str, Any]:
        """Return the answer to a request through the alias; see `answered`."""
        deadline.check()
        options = {"request_timeout": REQUEST_SECONDS, **params}
        return answered(ask, index=self.alias, params=options, **request)

    def tombstones(self, before: float | None, deadline: Deadline) -> int:
        """Return the number of tombstones, or of those written before then; 0 without an index."""
        body = {"size": 0, "track_total_hits": True, "query": _tombstones(before)}
        try:
            self._answer(self.client.indices.refresh, deadline)
            answer = self._answer(self.client.search, deadline, body=body)
        except NotThere:
            return 0
        return int(answer["hits"]["total"]["value"])

    def purge(self, before: float, most: int, deadline: Deadline) -> int:
        """Delete tombstones written before then that have not moved, at most so many.

        OpenSearch deletes the tombstones of a query, each on condition that it has not changed. The
        next call finds those that are left when the request times out.
        """
        params = {
            "conflicts": "proceed",
            "max_docs": most,
            "refresh": "true",
            "request_timeout": max(REQUEST_SECONDS, min(deadline.remaining(), 3600.0)),
        }
        body = {"query": _tombstones(before)}
        try:
            self._answer(self.client.indices.refresh, deadline)
            answer = self._answer(self.client.delete_by_query, deadline, params, body=body)
        except NotThere:
            return 0
        return int(answer["deleted"])

    def read_many(self, item_ids: Sequence[str], deadline: Deadline) -> Mapping[str, Held]:
        """Return the documents and tombstones that exist, by item, as last written."""
        if not item_ids:
            return {}
        answer = self._ask("mget", deadline, {"ids": list(item_ids)})
        for each in answer["docs"]:
            if MISSING in types_of(each):
                self.create(deadline)
                return {}
            # An item of a request that failed alone is not a missing document.
            if "error" in each:
                raise refusal(each["error"], None)
        found = (each for each in answer["docs"] if each["found"])
        return {d["_id"]: Held(d["_source"], (d["_seq_no"], d["_primary_term"])) for d in found}

    def walk(
        self,
        segment: Segment,
        place: Place | None,
        most: int,
        deadline: Deadline,
        *,
        tombstones: bool = False,
    ) -> DocumentPage:
        """Return the next documents of a segment: those without an identity, then the others.

        The index is refreshed before the first page, so that the walk finds what was written until
        then.
        """
        if place is None:
            self._refresh(deadline)
        search = partial(self._search, deadline)
        return next_page(search, segment, place, most, tombstones=tombstones)

    def _refresh(self, deadline: Deadline) -> None:
        try:
            self._answer(self.client.indices.refresh, deadline)
        except NotThere:
            self.create(deadline)

    def _search(self, deadline: Deadline, **body: Any) -> list[Mapping[str, Any]]:
        whole = {**body, "seq_no_primary_term": True, "track_total_hits": False}
        answer = self._ask("search", deadline, whole)
        if answer["timed_out"] or answer["_shards"]["failed"]:
            message = f"OpenSearch searched {answer['_shards']['successful']} shards of all"
            raise RetryableError(message)
        return list(answer["hits"]["hits"])

    def _ask(self, what: str, deadline: Deadline, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the answer to a `search` or `mget` through the alias; create the index."""
        ask = partial(self._answer, getattr(self.client, what), deadline, body=body)
        try:
            return ask()
        except NotThere:
            self.create(deadline)
            return ask()

    def remove(self, name: str, token: str, deadline: Deadline) -> bool:
        """Delete a document that has not moved; return False if it has."""
        sequence_number, primary_term = json.loads(token)
        condition = {"if_seq_no": sequence_number, "if_primary_term": primary_term}
        try:
            self._answer(self.client.delete, deadline, condition, id=name)
        except (ConflictError, NotThere):
            return False
        return True

    def _bodies(self, upserts: Sequence[Upsert]) -> Iterator[list[_Encoded]]:
        """Return the documents of each bulk request, of about `BULK_BYTES` at most."""
        body: list[_Encoded] = []
        size = 0
        for upsert in upserts:
            id, source = self.encode(upsert.item_id), self.encode(upsert.source)
            length = len(id) + len(source) + len(SCRIPT)
            if body and size + length > BULK_BYTES:
                yield body
                body, size = [], 0
            body.append(_Encoded(id, source, upsert.is_first))
            size += length
        if body:
            yield body

    def _bulk(self, documents: Sequence[_Encoded], deadline: Deadline) -> list[Upserted]:
        """Write documents in one request; write those left open in a second request.

        The first request assumes that a new item has no document and creates it, and that any other
        item has one, which a script compares and replaces. Both are cheaper than the update that is
        right in either case, and both return an error where the assumption is wrong.
        """
        answers = self._send(map(_first, documents), deadline)
        if any(MISSING in types_of(answer) for answer in answers if "error" in answer):
            self.create(deadline)
            answers = self._send(map(_first, documents), deadline)
        results = [_upserted(answer) for answer in answers]
        pairs = enumerate(zip(documents, answers, strict=True))
        left = [place for place, (document, answer) in pairs if _is_open(document, answer)]
        if left:
            settled = self._settle([documents[place] for place in left], deadline)
            for place, result in zip(left, settled, strict=True):
                results[place] = result
        return results

    def _settle(self, documents: Sequence[_Encoded], deadline: Deadline) -> Sequence[Upserted]:
        """Write documents in a request that is right in any case.

        It raises nothing, because other documents are written already. A request that is refused as
        a whole is sent again in halves, down to the document at fault.
        """

        def send(part: Sequence[_Encoded]) -> list[Upserted]:
            return [_upserted(answer) for answer in self._send(map(_upsert, part), deadline)]

        def failed(part: Sequence[_Encoded], error: Exception) -> list[Upserted] | None:
            is_final = len(part) == 1 or isinstance(error, RetryableError | DeadlineExceeded)
            return [error] * len(part) if is_final else None

        return [result for part in in_halves(send, documents, failed) for result in part]

    def _send(self, actions: Iterable[bytes], deadline: Deadline) -> list[Mapping[str, Any]]:
        params = {"require_alias": "true", "filter_path": ANSWERS}
        body = b"".join(actions)
        response = self._answer(self.client.bulk, deadline, params, body=body)
        return [answer for item in response["items"] for answer in item.values()]


def _first(document: _Encoded) -> bytes:
    return _create(document) if document.is_first else _update(document)


def _create(document: _Encoded) -> bytes:
    return b"".join((b'{"create":{"_id":', document.id, b"}}\n", document.source, b"\n"))


def _update(document: _Encoded, options: bytes = b"") -> bytes:
    head = b'{"update":{"_id":%b,"retry_on_conflict":%d}}\n' % (document.id, RETRY_ON_CONFLICT)
    script = b'{%b"script":{"source":%b,"params":{"source":' % (options, _quoted(SCRIPT))
    return b"".join((head, script, document.source, b"}}}\n"))


_quoted = cache(as_json)


def _upsert(document: _Encoded) -> bytes:
    """Return an update that is right whether there is a document or not.

    Its answer has the time of the document held, which costs as much again as the update.
    """
    told = b'"scripted_upsert":true,"upsert":{},"_source":["%b.changed_at"],' % CDC.encode()
    return _update(document, told)


def _is_open(document: _Encoded, answer: Mapping[str, Any]) -> bool:
    """Return whether a document was refused as stale, or its existence was assumed wrongly."""
    if "error" not in answer:
        return bool(answer.get("result") == "noop")
    return (CONFLICT if document.is_first else DOCUMENT_MISSING) in types_of(answer)


def _upserted(answer: Mapping[str, Any]) -> Upserted:
    if "error" in answer:
        return refusal(answer["error"], answer.get("status"))
    if answer.get("result") == "noop":
        return Stale.than(answer.get("get", {}).get("_source", {}))
    return None


def _tombstones(before: float | None) -> Mapping[str, Any]:
    """Return the query of the tombstones, or of those written before then."""
    filters: list[Mapping[str, Any]] = [{"term": {f"{CDC}.deleted": True}}]
    if before is not None:
        filters.append({"range": {f"{CDC}.written_at": {"lt": before}}})
    return {"bool": {"filter": filters}}
