"""An OpenSearch of one node in this process, as far as the index adapter makes use of it.

What it does is in OpenSearch's documentation, and `IndexContract` holds it to the truth: the same
tests run on OpenSearch itself (`tests/integration/test_ports.py`). It answers, as the real one
does, from two places: a document by its id as last written, searches from what was there at the
last refresh (https://docs.opensearch.org/latest/api-reference/index-apis/refresh/).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote

from opensearchpy import Connection, OpenSearch

from dynamodb_streams_cdc.sinks.documents import CDC

SCRIPT = (
    "def held = ctx._source.cdc; "
    "if (held == null || held.version.compareTo(params.source.cdc.version) < 0) "
    "{ ctx._source = params.source } else { ctx.op = 'none' }"
)
"""The one script that it knows: no Painless is compiled here. After a change, run the
contract on OpenSearch, then change it here as well."""


class Stored(NamedTuple):
    source: Mapping[str, Any]
    seq_no: int


class Refused(Exception):
    def __init__(self, status: int, type_: str) -> None:
        super().__init__(status, type_)
        self.status, self.type = status, type_

    def answer(self) -> dict[str, Any]:
        return {"error": {"type": self.type, "reason": "as told"}, "status": self.status}


@dataclass
class Made:
    """An index: its documents, and those that a search finds."""

    aliases: dict[str, Any]
    meta: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    documents: dict[str, Stored] = field(default_factory=dict)
    searchable: dict[str, Stored] = field(default_factory=dict)
    written: int = 0

    def put(self, id: str, source: Mapping[str, Any]) -> None:
        self.documents[id] = Stored(source, self.written)
        self.written += 1

    def refresh(self) -> None:
        self.searchable = dict(self.documents)


class Request(NamedTuple):
    method: str
    path: str
    params: Mapping[str, Any]
    body: Any
    timeout: float | None


@dataclass
class Node:
    """The node.

    Attributes:
        conflicts: how many other updates of a document are under way, by id.
        refusals: status and type by which a document is refused, by id.
        meanwhile: called once between the search of a delete by query, and its deletes.
        requests: all of them, in order.
    """

    indices: dict[str, Made] = field(default_factory=dict)
    conflicts: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    meanwhile: Callable[[], None] | None = None
    requests: list[Request] = field(default_factory=list)

    def client(self) -> OpenSearch:
        """Return a client that talks to it; no socket is opened."""
        connection = type("Wire", (_Wire,), {"node": self})
        return OpenSearch("http://node", connection_class=connection, max_retries=0)

    def perform(self, request: Request) -> Any:
        name, _, rest = request.path.strip("/").partition("/")
        kind, _, id = rest.partition("/")
        if name == "_aliases":
            return self._aliases(request.body["actions"])
        match request.method, kind:
            case "GET", "_alias":
                return self._described(name, lambda made: {"aliases": made.aliases})
            case "GET", "_mapping":
                return self._described(name, lambda made: {"mappings": {"_meta": made.meta}})
            case "DELETE", "":
                if self.indices.pop(name, None) is None:
                    raise Refused(404, "index_not_found_exception")
                return {"acknowledged": True}
            case "DELETE", "_doc":
                return self._delete(self._found(name), unquote(id), request.params)
            case _, "_mget":
                return {"docs": [self._got(self._alias(name), id) for id in request.body["ids"]]}
            case "PUT", "":
                return self._create(name, request.body)
            case "POST", "_bulk":
                return self._bulk(name, request)
            case "GET", "_doc":
                return self._get(self._found(name), unquote(id), request.params)
            case "PUT", "_doc":
                return self._index(self._target(name, request), unquote(id), request)
            case _, "_refresh":
                self._found(name).refresh()
                return {}
            case "POST", "_delete_by_query":
                return self._delete_by_query(self._found(name), request)
            case _, "_search" | "_count":
                return self._search(name, request.body or {})
        raise Refused(400, f"unknown to this node: {request.method} {request.path}")

    def _create(self, name: str, body: Mapping[str, Any]) -> Any:
        if name in self.indices:
            raise Refused(400, "resource_already_exists_exception")
        for alias, options in body["aliases"].items():
            if options.get("is_write_index") and self._alias(alias) is not None:
                raise Refused(500, "illegal_state_exception")
        meta, settings = body["mappings"]["_meta"], body["settings"]
        self.indices[name] = Made(dict(body["aliases"]), meta, settings)
        return {"acknowledged": True}

    def _aliases(self, actions: Sequence[Mapping[str, Any]]) -> Any:
        """Do all actions, or none."""
        aliases = {name: dict(made.aliases) for name, made in self.indices.items()}
        for action in actions:
            [(kind, about)] = action.items()
            if about["index"] not in aliases:
                raise Refused(404, "index_not_found_exception")
            of_index = aliases[about["index"]]
            if kind == "add":
                of_index[about["alias"]] = {
                    name: value for name, value in about.items() if name not in ("index", "alias")
                }
            elif of_index.pop(about["alias"], None) is None:
                assert about["must_exist"]
                raise Refused(404, "aliases_not_found_exception")
        for name, of_index in aliases.items():
            self.indices[name].aliases = of_index
        return {"acknowledged": True}

    def _described(self, name: str, describe: Callable[[Made], Any]) -> Any:
        made = self._found(name)
        return {next(n for n, each in self.indices.items() if each is made): describe(made)}

    def _got(self, made: Made | None, id: str) -> Any:
        if made is None:
            return {"_id": id, **Refused(404, "index_not_found_exception").answer()}
        if (stored := made.documents.get(id)) is None:
            return {"_id": id, "found": False}
        return {
            "_id": id,
            "found": True,
            "_source": stored.source,
            "_seq_no": stored.seq_no,
            "_primary_term": 1,
        }

    def _delete(self, made: Made, id: str, params: Mapping[str, Any]) -> Any:
        if id not in made.documents:
            raise Refused(404, "not found")
        if (made.documents[id].seq_no, 1) != (params["if_seq_no"], params["if_primary_term"]):
            raise Refused(409, "version_conflict_engine_exception")
        del made.documents[id]
        return {"result": "deleted"}

    def _alias(self, name: str) -> Made | None:
        return next((made for made in self.indices.values() if name in made.aliases), None)

    def _found(self, name: str) -> Made:
        made = self._alias(name) or self.indices.get(name)
        if made is None:
            raise Refused(404, "index_not_found_exception")
        return made

    def _target(self, name: str, request: Request) -> Made:
        """Return where a write goes: an index that is missing is made, unless an alias must be."""
        made = self._alias(name)
        if made is None and str(request.params.get("require_alias")) == "true":
            raise Refused(404, "index_not_found_exception")
        return made or self.indices.setdefault(name, Made({}))

    def _get(self, made: Made, id: str, params: Mapping[str, Any]) -> Any:
        realtime = str(params.get("realtime", "true")) == "true"
        stored = (made.documents if realtime else made.searchable).get(id)
        if stored is None:
            raise Refused(404, "not found")
        return {"_source": stored.source, "_seq_no": stored.seq_no, "_primary_term": 1}

    def _index(self, made: Made, id: str, request: Request) -> Any:
        held, params = made.documents.get(id), request.params
        condition = (params.get("if_seq_no"), params.get("if_primary_term"))
        is_taken = params.get("op_type") == "create" and held is not None
        has_moved = condition != (None, None) and (held is None or condition != (held.seq_no, 1))
        if is_taken or has_moved:
            raise Refused(409, "version_conflict_engine_exception")
        made.put(id, request.body)
        return {"result": "created"}

    def _bulk(self, name: str, request: Request) -> Any:
        lines = [json.loads(line) for line in request.body.splitlines()]
        items = []
        for action, body in zip(lines[::2], lines[1::2], strict=True):
            [(kind, about)] = action.items()
            try:
                made = self._target(name, request)
                if about["_id"] in self.refusals:
                    raise Refused(*self.refusals[about["_id"]])
                answer = getattr(self, f"_bulk_{kind}")(made, about, body)
            except Refused as refused:
                answer = refused.answer()
            items.append({kind: answer})
        return {"items": _filtered(items, request.params["filter_path"])}

    def _bulk_create(self, made: Made, about: Mapping[str, Any], body: Mapping[str, Any]) -> Any:
        if about["_id"] in made.documents:
            raise Refused(409, "version_conflict_engine_exception")
        made.put(about["_id"], body)
        return {"result": "created", "status": 201}

    def _bulk_update(self, made: Made, about: Mapping[str, Any], body: Mapping[str, Any]) -> Any:
        id, script = about["_id"], body["script"]
        if script["source"] != SCRIPT:
            raise Refused(400, "script_exception")
        held = made.documents.get(id)
        if held is None and not (body.get("scripted_upsert") and "upsert" in body):
            raise Refused(404, "document_missing_exception")
        if self.conflicts.pop(id, 0) > about.get("retry_on_conflict", 0):
            raise Refused(409, "version_conflict_engine_exception")
        version = held.source.get(CDC, {}).get("version") if held else None
        offered = script["params"]["source"]
        if version is None or version < offered[CDC]["version"]:
            made.put(id, offered)
            return {"result": "updated" if held else "created", "status": 200}
        answer: dict[str, Any] = {"result": "noop", "status": 200}
        if held and body.get("_source") == [f"{CDC}.changed_at"]:
            answer["get"] = {"_source": {CDC: {"changed_at": held.source[CDC]["changed_at"]}}}
        return answer

    def _delete_by_query(self, made: Made, request: Request) -> Any:
        most = int(request.params["max_docs"])
        found = dict([*_tombstones(made, request.body["query"]).items()][:most])
        if self.meanwhile is not None:
            self.meanwhile()
        conflicts = [id for id in found if made.documents.get(id) != found[id]]
        if conflicts and request.params.get("conflicts") != "proceed":
            raise Refused(409, "version_conflict_engine_exception")
        for id in found.keys() - set(conflicts):
            del made.documents[id]
        if str(request.params.get("refresh")) == "true":
            made.refresh()
        return {"deleted": len(found) - len(conflicts)}

    def _search(self, name: str, body: Mapping[str, Any]) -> Any:
        made = self._alias(name)
        if made is None:
            raise Refused(404, "index_not_found_exception")
        if body.get("track_total_hits"):
            total = len(_tombstones(made, body["query"]))
            return {"hits": {"total": {"value": total}, "hits": []}}
        hidden = made.aliases[name].get("filter", {}).get("term", {})
        assert hidden in ({}, {f"{CDC}.deleted": False})
        hits: list[dict[str, Any]] = [
            {"_id": id, "_source": s.source, "_seq_no": s.seq_no, "_primary_term": 1}
            for id, s in made.searchable.items()
            if not (hidden and s.source[CDC]["deleted"])
        ]
        if "sort" in body:
            hits = _sorted(hits, body)
        shards = {"successful": 1, "failed": 0}
        return {"hits": {"hits": hits}, "count": len(hits), "timed_out": False, "_shards": shards}


def _tombstones(made: Made, query: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tombstones that a query asks for."""
    deleted, *old = query["bool"]["filter"]
    assert deleted == {"term": {f"{CDC}.deleted": True}}
    before = old[0]["range"][f"{CDC}.written_at"]["lt"] if old else float("inf")
    return {
        id: stored
        for id, stored in made.searchable.items()
        if stored.source[CDC]["deleted"] and stored.source[CDC]["written_at"] < before
    }


def _sorted(hits: list[dict[str, Any]], body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the hits of a walk: sorted by one field, behind a place, as many as asked for."""
    [(field, order)] = body["sort"][0].items()
    assert order == "asc"
    query = body["query"]["bool"]
    found = [
        {**hit, "sort": [_field(hit, field)]}
        for hit in hits
        if all(_matches(hit, clause) for clause in query["filter"])
        and not any(_matches(hit, clause) for clause in query["must_not"])
    ]
    if "search_after" in body:
        [after] = body["search_after"]
        found = [hit for hit in found if hit["sort"][0] > after]
    return sorted(found, key=lambda hit: hit["sort"])[: body["size"]]


def _matches(hit: Mapping[str, Any], clause: Mapping[str, Any]) -> bool:
    [(kind, about)] = clause.items()
    if kind == "exists":
        return _field(hit, about["field"]) is not None
    [(field, wanted)] = about.items()
    value = _field(hit, field)
    if kind == "term":
        return bool(value == wanted)
    assert kind == "range"
    return value is not None and wanted["gte"] <= value < wanted["lt"]


def _field(hit: Mapping[str, Any], field: str) -> Any:
    if field == "_seq_no":
        return hit["_seq_no"]
    about = hit["_source"].get(CDC)
    return about.get(field.removeprefix(f"{CDC}.")) if isinstance(about, Mapping) else None


def _filtered(items: list[dict[str, Any]], path: str) -> list[dict[str, Any]]:
    """Return what `filter_path` lets through of a bulk request's items."""
    kept = {part.removeprefix("items.*.") for part in path.split(",")}
    return [
        {kind: {name: value for name, value in answer.items() if name in kept}}
        for item in items
        for kind, answer in item.items()
    ]


class _Wire(Connection):
    """The client's connection; statuses from 300 on become exceptions, as over HTTP."""

    node: Node

    def perform_request(
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout: float | None = None,
        ignore: Any = (),
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        content = body if url.endswith("_bulk") or body is None else json.loads(body)
        request = Request(method, url, dict(params or {}), content, timeout)
        self.node.requests.append(request)
        kind = "application/json"
        try:
            return 200, {"content-type": kind}, json.dumps(self.node.perform(request))
        except Refused as refused:
            if refused.status in ignore:
                return refused.status, {"content-type": kind}, json.dumps(refused.answer())
            self._raise_error(refused.status, json.dumps(refused.answer()), kind)
            raise AssertionError from refused
