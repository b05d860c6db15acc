"""The search index on OpenSearch: versioned bulk upserts behind a write and a read alias.

`require_alias` stands on every bulk request: without it a missing index would be created under the
alias's name, with guessed mappings. When the alias is missing, the index is created with its
aliases and the documents are sent again.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from opensearchpy.exceptions import ConflictError as DocumentMoved
from opensearchpy.exceptions import ConnectionError as SearchConnectionError
from opensearchpy.exceptions import (
    NotFoundError,
    RequestError,
    SerializationError,
    TransportError,
)

from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import (
    AccessDeniedError,
    ConflictError,
    DeadlineExceeded,
    PermanentError,
    RetryableError,
)
from dynamodb_streams_cdc.halves import in_halves
from dynamodb_streams_cdc.sinks.number_fields import NumberFields
from dynamodb_streams_cdc.sinks.search import CDC, Held, Stale, Upsert, Upserted

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
    f"def held = ctx._source.{CDC}; "
    f"if (held == null || held.version.compareTo(params.source.{CDC}.version) < 0) "
    "{ ctx._source = params.source } else { ctx.op = 'none' }"
)
"""`search.supersedes` in Painless. Always the same text, so it is compiled once: values are
parameters, and 75 compilations in five minutes are the limit for changing ones."""

CDC_MAPPING: Mapping[str, Any] = {
    "dynamic": False,
    "properties": {"deleted": {"type": "boolean"}, "written_at": {"type": "double"}},
}
"""What is searched for: tombstones, by age. The rest of `cdc` is read and never searched for."""

DENIED = frozenset({"authorization_exception", "security_exception"})
"""What a domain with fine-grained access control answers, with status 403."""

OUTAGES = frozenset(
    {
        "circuit_breaking_exception",
        "cluster_block_exception",
        "cluster_manager_not_discovered_exception",
        "index_closed_exception",
        "index_not_found_exception",
        "master_not_discovered_exception",
        "no_shard_available_action_exception",
        "node_closed_exception",
        "process_cluster_event_timeout_exception",
        "receive_timeout_transport_exception",
        "rejected_execution_exception",
        "timeout_exception",
        "unavailable_shards_exception",
    }
)

PERMANENT = frozenset(
    {
        "action_request_validation_exception",
        "mapper_parsing_exception",
        "max_bytes_length_exceeded_exception",
        "stream_constraints_exception",
        "strict_dynamic_mapping_exception",
    }
)

UNAUTHORIZED = "is not authorized to perform"
"""What the managed service answers with status 403 where IAM or the domain's policy refuses. An
expired token has the same status and another text
(https://docs.aws.amazon.com/opensearch-service/latest/developerguide/handling-errors.html)."""

ROLE = re.compile(r"arn:aws[a-z-]*:(?:iam|sts)::\d+:(?:assumed-)?role/[^\s,\]]+")

CONFLICT = "version_conflict_engine_exception"
DOCUMENT_MISSING = "document_missing_exception"
MISSING = "index_not_found_exception"
EXISTS = "resource_already_exists_exception"

ANSWERS = "items.*.result,items.*.get,items.*.error,items.*.status"
"""What is asked for of the answer to a bulk request: a fifth of it."""


_json = json.JSONEncoder(separators=(",", ":")).encode


def as_json(value: object) -> bytes:
    """Return a document, or a part of it, as JSON, by the standard library."""
    return _json(value).encode()


class _Encoded(NamedTuple):
    """A document in JSON."""

    id: bytes
    source: bytes
    is_first: bool


class SearchRefused(Exception):
    """OpenSearch refused a request or a document for a reason that is in no table."""


@dataclass(frozen=True)
class OpenSearchIndex:
    """An `SearchIndex`.

    Attributes:
        client: of OpenSearch, without retries of its own.
        name: of the read alias; the index is `<name>-v1`, its write alias `<name>-write`.
        properties: the mapping of the document's fields; fields that it does not name are kept and
            not searchable.
        settings: of the index, when it is created.
        encode: makes JSON of a document; a compiled encoder takes a quarter of the time.
    """

    client: "OpenSearch"
    name: str
    properties: Mapping[str, Any]
    settings: Mapping[str, Any]
    encode: Callable[[object], bytes] = as_json

    @cached_property
    def _numbers(self) -> NumberFields:
        return NumberFields.of(self.properties)

    @property
    def write_alias(self) -> str:
        """The alias that the sink writes to, tombstones included."""
        return f"{self.name}-write"

    def upsert(self, upserts: Sequence[Upsert], deadline: Deadline) -> Sequence[Upserted]:
        """Write each document whose version is greater than the one held, if its fields hold it."""
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
        deadline.check()
        try:
            found = self.client.get(
                index=self.write_alias, id=item_id, params={"request_timeout": REQUEST_SECONDS}
            )
        except NotFoundError:
            return None
        except TransportError as error:
            raise _meaning(error) from error
        return Held(found["_source"], (found["_seq_no"], found["_primary_term"]))

    def replace(self, held: Held | None, upsert: Upsert, deadline: Deadline) -> bool:
        """Write a document in the place of the one held, or of none; return False if that moved."""
        self._numbers.check(upsert.source)
        return self._replace(held, upsert, deadline)

    def _replace(
        self, held: Held | None, upsert: Upsert, deadline: Deadline, attempt: int = 0
    ) -> bool:
        deadline.check()
        condition: dict[str, Any] = {"op_type": "create"}
        if held is not None:
            sequence_number, primary_term = cast("tuple[int, int]", held.revision)
            condition = {"if_seq_no": sequence_number, "if_primary_term": primary_term}
        try:
            self._index(upsert, condition)
        except DocumentMoved:
            return False
        except NotFoundError as error:
            if attempt:
                raise _meaning(error) from error
            self.create(deadline)
            return held is None and self._replace(None, upsert, deadline, attempt=1)
        except TransportError as error:
            raise _meaning(error) from error
        return True

    def _index(self, upsert: Upsert, condition: Mapping[str, Any]) -> None:
        self.client.index(
            index=self.write_alias,
            id=upsert.item_id,
            body=upsert.source,
            params={**condition, "require_alias": "true", "request_timeout": REQUEST_SECONDS},
        )

    def purge(self, before: float, deadline: Deadline) -> int:
        """Delete the tombstones written before then that have not moved; return how many.

        OpenSearch deletes by query what a search found, each on condition that it has not changed.
        What it has not reached when the request times out, the next call finds.
        """
        deadline.check()
        deleted = {"term": {f"{CDC}.deleted": True}}
        old = {"range": {f"{CDC}.written_at": {"lt": before}}}
        try:
            self.client.indices.refresh(index=self.write_alias)
            answer = self.client.delete_by_query(
                index=self.write_alias,
                body={"query": {"bool": {"filter": [deleted, old]}}},
                params={
                    "conflicts": "proceed",
                    "refresh": "true",
                    "request_timeout": max(REQUEST_SECONDS, min(deadline.remaining(), 3600.0)),
                },
            )
        except NotFoundError:
            return 0
        except TransportError as error:
            raise _meaning(error) from error
        return int(answer["deleted"])

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
        """Write documents in one request; what it leaves open, in a second one that settles it.

        The first takes it that a new item has no document, which is then created, and that any
        other has one, which a script compares and replaces. Either is cheaper than what is right in
        both cases, and either says so where it was mistaken.
        """
        answers = self._send(map(_first, documents), deadline)
        if any(MISSING in _types(answer) for answer in answers if "error" in answer):
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

        Nothing is raised: others are written already. What is refused as a whole is sent again in
        halves, down to the document at fault.
        """

        def send(part: Sequence[_Encoded]) -> list[Upserted]:
            return [_upserted(answer) for answer in self._send(map(_upsert, part), deadline)]

        def failed(part: Sequence[_Encoded], error: Exception) -> list[Upserted] | None:
            is_final = len(part) == 1 or isinstance(error, RetryableError | DeadlineExceeded)
            return [error] * len(part) if is_final else None

        return [result for part in in_halves(send, documents, failed) for result in part]

    def _send(self, actions: Iterable[bytes], deadline: Deadline) -> list[Mapping[str, Any]]:
        deadline.check()
        try:
            response = self.client.bulk(
                body=b"".join(actions),
                index=self.write_alias,
                params={
                    "require_alias": "true",
                    "filter_path": ANSWERS,
                    "request_timeout": REQUEST_SECONDS,
                },
            )
        except (TransportError, SerializationError) as error:
            raise _meaning(error) from error
        return [answer for item in response["items"] for answer in item.values()]

    def create(self, deadline: Deadline) -> None:
        """Create the index with its aliases; that somebody else did so meanwhile is success."""
        deadline.check()
        body = {
            "settings": dict(self.settings),
            "mappings": {"dynamic": False, "properties": {**self.properties, CDC: CDC_MAPPING}},
            "aliases": {
                self.write_alias: {"is_write_index": True},
                self.name: {"filter": {"term": {f"{CDC}.deleted": False}}},
            },
        }
        try:
            self.client.indices.create(
                index=f"{self.name}-v1", body=body, params={"request_timeout": REQUEST_SECONDS}
            )
        except TransportError as error:
            if isinstance(error, RequestError) and error.error == EXISTS:
                return
            # Whatever is wrong with an index, such as its mapping, no document is at fault for it.
            meaning = _meaning(error)
            denied = isinstance(meaning, AccessDeniedError)
            message = f"the index {self.name}-v1 cannot be created: {meaning if denied else error}"
            raise (AccessDeniedError if denied else RetryableError)(message) from error


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

    It also tells of what time the document is that it met, which costs as much again as the update.
    """
    told = b'"scripted_upsert":true,"upsert":{},"_source":["%b.changed_at"],' % CDC.encode()
    return _update(document, told)


def _is_open(document: _Encoded, answer: Mapping[str, Any]) -> bool:
    """Return whether a document was refused as stale, or was not expected there, or missed."""
    if "error" not in answer:
        return bool(answer.get("result") == "noop")
    return (CONFLICT if document.is_first else DOCUMENT_MISSING) in _types(answer)


def _upserted(answer: Mapping[str, Any]) -> Upserted:
    if "error" in answer:
        return _refusal(answer["error"], answer.get("status"))
    if answer.get("result") == "noop":
        held = answer.get("get", {}).get("_source", {}).get(CDC, {})
        return Stale(float(held.get("changed_at", "inf")))
    return None


def _causes(error: Any) -> Iterator[Mapping[str, Any]]:
    """Return an error and what it was caused by, down to the first cause."""
    while isinstance(error, Mapping):
        yield error
        error = error.get("caused_by")


def _types(answer: Mapping[str, Any]) -> set[str]:
    """Return the types of an answer's error and of its causes."""
    types: set[str] = set()
    for error in _causes(answer.get("error")):
        types |= {str(error.get("type"))}
        types |= {str(root.get("type")) for root in error.get("root_cause", [])}
    return types


def _refusal(error: Mapping[str, Any], status: object) -> Exception:
    """Return what the error of a document, or of a request, means; causes count as well.

    Permanent is decided by type alone. The status decides only that an error of an unknown type is
    an outage: OpenSearch answers 429 and 5xx when it, and not the document, is at fault.
    """
    types = _types({"error": error})
    # The first cause says what was wrong; the error itself is often just "failed to parse".
    reasons = dict.fromkeys(
        f"{cause.get('type')}: {cause.get('reason')}" for cause in _causes(error)
    )
    text = ", caused by ".join(reasons)
    refused = ", caused by ".join(dict.fromkeys(map(_without_value, _causes(error))))
    if CONFLICT in types:
        return ConflictError(text)
    if types & DENIED:
        return AccessDeniedError(_unmapped(text))
    if types & OUTAGES:
        return RetryableError(text)
    if permanent := types & PERMANENT:
        return PermanentError(refused, min(permanent))
    if _unavailable(status):
        return RetryableError(f"HTTP {status}: {text}")
    return SearchRefused(refused)


_FIELD = re.compile(
    r"failed to parse field \[([^\]]+)\]( of type \[\w+\])?"
    r"|mapping set to strict, dynamic introduction of \[([^\]]+)\]"
    r"|object mapping for \[([^\]]+)\]"
    r"|Document contains at least one immense term in field=\"([^\"]+)\""
)
"""How a reason begins that names a field; what follows may quote its value."""


def _without_value(error: Mapping[str, Any]) -> str:
    """Return an error's type and field: its reason quotes the value, which is nobody's to read."""
    named = _FIELD.match(str(error.get("reason")))
    return f"{error.get('type')}: {named[0]}" if named else str(error.get("type"))


def _unmapped(text: str) -> str:
    """Return what to do about a refusal of the security plugin, which names who asked.

    Its reason is `no permissions for [ACTION] and User [name=ARN, backend_roles=[ARN], ...]`
    (https://github.com/opensearch-project/security/issues/4595).
    """
    role = ROLE.search(text)
    who = role[0] if role else "the function's role"
    return (
        f"the domain has fine-grained access control, and {who} is not mapped to an OpenSearch "
        f"role with this permission: map it (runbook, Access denied). {text}"
    )


def _unavailable(status: object) -> bool:
    return isinstance(status, int) and (status in (408, 429) or status >= 500)


def _meaning(error: TransportError | SerializationError) -> Exception:
    """Return what a failed request means; one that was too large or malformed can be halved."""
    if isinstance(error, SerializationError):  # it quotes all that it read
        return RetryableError("the answer is not JSON")
    if isinstance(error, SearchConnectionError):
        return RetryableError(str(error))
    status, info = error.status_code, error.info
    details = info.get("error") if isinstance(info, Mapping) else None
    if isinstance(details, Mapping):
        return _refusal(details, status)
    if status == 413:
        return PermanentError("the request is too large", "request_too_large")
    if status == 403 and UNAUTHORIZED in str(info):
        message = (
            "the function's role, or the access policy of the domain, does not permit the request "
            f"(runbook, Access denied). HTTP 403: {info}"
        )
        return AccessDeniedError(message)
    if _unavailable(status) or status in (401, 403, 404):
        return RetryableError(f"HTTP {status}: {info}")
    return SearchRefused(f"HTTP {status}, without an error that names its type")
