"""The walk over the documents of an index, page by page.

Documents with an identity come in the order of their items. The others come before them, in the
order in which they were written: they have no other field that each has.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from dynamodb_streams_cdc.sinks.comparison import Place, Segment
from dynamodb_streams_cdc.sinks.documents import BUCKETS, CDC, DocumentPage, buckets_of

ITEM, WRITE = f"{CDC}.item", "_seq_no"
"""The fields that order documents with an identity, and those without."""

SAME_PLACE = 10_000
"""Documents of one place that a walk returns: as many as a request can, `index.max_result_window`
(https://docs.opensearch.org/latest/install-and-configure/configuring-opensearch/index-settings/)."""

Hit: TypeAlias = Mapping[str, Any]
Search: TypeAlias = Callable[..., list[Hit]]
"""Returns the hits of a search, from the fields of its body."""


def next_page(
    search: Search, segment: Segment, place: Place | None, most: int, *, tombstones: bool
) -> DocumentPage:
    """Return the next documents of a segment; the first one has those without an identity.

    Those are in no bucket, and tell no more than that they are there.
    """
    field, after = place or (ITEM if segment.number or tombstones else WRITE, None)
    hits, following = _next(search, segment, field, after, most, tombstones=tombstones)
    if field == WRITE and following is None:
        left = most - len(hits)
        others, following = _next(search, segment, ITEM, None, left, tombstones=tombstones)
        hits = [*hits, *others]
    return _page(hits, following)


def _next(
    search: Search, segment: Segment, field: str, after: object, most: int, *, tombstones: bool
) -> tuple[list[Hit], Place | None]:
    """Return the next documents with an identity, or without, and where to go on.

    Several may have the same place: those of the last one are left to the next page, unless there
    is no other.
    """
    query = _query(segment, field, tombstones=tombstones)
    body = {"sort": [{field: "asc"}], "_source": [ITEM, f"{CDC}.deleted"]}
    begin = {} if after is None else {"search_after": [after]}
    found = search(query={"bool": query}, size=most, **body, **begin)
    if len(found) < most:
        return found, None
    last = found[-1]["sort"][0]
    before = [hit for hit in found if hit["sort"][0] != last]
    if before:
        return before, (field, before[-1]["sort"][0])
    query["filter"].append({"term": {field: last}})
    return search(query={"bool": query}, size=SAME_PLACE, **body), (field, last)


def _query(segment: Segment, field: str, *, tombstones: bool) -> dict[str, list[Any]]:
    identity = {"exists": {"field": ITEM}}
    if field == WRITE:
        return {"filter": [], "must_not": [identity]}
    query: dict[str, list[Any]] = {"filter": [identity], "must_not": []}
    own = buckets_of(segment)
    if tombstones:
        query["filter"].append({"term": {f"{CDC}.deleted": True}})
    if segment.number:
        query["filter"].append(_within(own.start, own.stop))
    else:
        # So that a document in no bucket is in the first segment.
        query["must_not"].append(_within(own.stop, BUCKETS))
    return query


def _within(first: int, end: int) -> Mapping[str, Any]:
    return {"range": {f"{CDC}.bucket": {"gte": first, "lt": end}}}


def _page(hits: Sequence[Hit], following: Place | None) -> DocumentPage:
    live: list[str] = []
    deleted: list[str] = []
    foreign: dict[str, str] = {}
    for hit in hits:
        about = hit["_source"].get(CDC)
        if not isinstance(about, Mapping) or hit["_id"] != about.get("item"):
            foreign[hit["_id"]] = json.dumps([hit["_seq_no"], hit["_primary_term"]])
        else:
            (deleted if about.get("deleted") else live).append(hit["_id"])
    return DocumentPage(live, foreign, following, len(hits), deleted)
