"""The exceptions for the errors of OpenSearch, by type: one table, as in `aws.errors`."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from opensearchpy.exceptions import ConnectionError as SearchConnectionError
from opensearchpy.exceptions import SerializationError, TransportError

from dynamodb_streams_cdc.errors import (
    AccessDeniedError,
    ConflictError,
    PermanentError,
    RetryableError,
)

DENIED = frozenset({"authorization_exception", "security_exception"})
"""Error types of a domain with fine-grained access control, with status 403."""

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
"""Text of a response with status 403 where IAM or the domain's policy refuses the request. An
expired token has the same status and another text
(https://docs.aws.amazon.com/opensearch-service/latest/developerguide/handling-errors.html)."""

ROLE = re.compile(r"arn:aws[a-z-]*:(?:iam|sts)::\d+:(?:assumed-)?role/[^\s,\]]+")

CONFLICT = "version_conflict_engine_exception"
DOCUMENT_MISSING = "document_missing_exception"
MISSING = "index_not_found_exception"
EXISTS = "resource_already_exists_exception"

FAILED = (TransportError, SerializationError)
"""What the client raises for a request: the second for an answer that is not JSON, which comes from
something in front of OpenSearch, such as a page of a proxy."""

STRANGE = "the answer is not of OpenSearch: something in front of it gave it"


KNOWN = frozenset({"_index", "_shards", "acknowledged", "deleted", "docs", "hits", "items"})
"""Fields of OpenSearch's answers to the requests of the adapters; each has one of them at least."""


class NotThere(RetryableError):
    """Raised if OpenSearch says that an index or a document is not there."""


class SearchRefused(Exception):
    """Raised if OpenSearch refuses a request or a document for a reason that is in no table."""


def _causes(error: Any) -> Iterator[Mapping[str, Any]]:
    """Return an error and its causes, down to the first one."""
    while isinstance(error, Mapping):
        yield error
        error = error.get("caused_by")


def types_of(answer: Mapping[str, Any]) -> set[str]:
    """Return the types of an answer's error and of its causes."""
    types: set[str] = set()
    for error in _causes(answer.get("error")):
        types |= {str(error.get("type"))}
        types |= {str(root.get("type")) for root in error.get("root_cause", [])}
    return types


def refusal(error: Mapping[str, Any], status: object) -> Exception:
    """Return the exception for the error of a document or a request; causes count as well.

    Permanent is decided by type alone. The status decides only that an error of an unknown type is
    an outage: OpenSearch answers 429 and 5xx when it, and not the document, is at fault.
    """
    types = types_of({"error": error})
    # The first cause has the reason; the error itself is often just "failed to parse".
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
"""Beginning of a reason that names a field; the rest may quote its value."""


def _without_value(error: Mapping[str, Any]) -> str:
    """Return an error's type and field, without the value that its reason quotes."""
    named = _FIELD.match(str(error.get("reason")))
    return f"{error.get('type')}: {named[0]}" if named else str(error.get("type"))


def _unmapped(text: str) -> str:
    """Return the fix for a refusal of the security plugin, with the role that it names.

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
    """Whether a status is of an outage; a redirect is of something in front of OpenSearch."""
    return isinstance(status, int) and (status in (408, 429) or status >= 500 or status // 100 == 3)


def _typed(info: object) -> Mapping[str, Any] | None:
    """Return the error in an answer, if it names its type, as OpenSearch's errors do."""
    error = info.get("error") if isinstance(info, Mapping) else None
    return error if isinstance(error, Mapping) and "type" in error else None


def answered(ask: Callable[..., Any], **request: Any) -> Mapping[str, Any]:
    """Return OpenSearch's answer to a request.

    Raises:
        NotThere: the index or the document is not there.
        ConflictError: another write came first.
        RetryableError: OpenSearch cannot take it now, or something in front of it answered.
    """
    try:
        return believed(ask(**request))
    except FAILED as error:
        raise meaning(error) from error


def believed(answer: object) -> Mapping[str, Any]:
    """Return an answer of OpenSearch.

    Raises:
        RetryableError: something in front of it answered.
    """
    if not isinstance(answer, Mapping) or not answer.keys() & KNOWN:
        raise RetryableError(STRANGE)
    return answer


def meaning(error: TransportError | SerializationError) -> Exception:
    """Return the exception for a failed request; a permanent one can be sent in halves."""
    if isinstance(error, SerializationError):  # it quotes all that it read
        return RetryableError("the answer is not JSON")
    if isinstance(error, SearchConnectionError):
        return RetryableError(str(error))
    status, info = error.status_code, error.info
    details = _typed(info)
    if status == 404 and (details is not None or (isinstance(info, Mapping) and "_index" in info)):
        return NotThere(f"HTTP 404: {info}")
    if details is not None:
        return refusal(details, status)
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
