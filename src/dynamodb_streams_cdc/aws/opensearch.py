"""The search index on OpenSearch, behind aliases, so that it can be rebuilt without a gap.

    orders           readers search it: the live index, without its tombstones
    orders-write     the live index, tombstones included
    orders-second    the index that is written in addition, during a rebuild
    orders-v2-own    the index orders-v2, live or not, as long as it exists

One request moves several aliases at once. It names the index that each has now, and fails as a
whole if that is not so (`must_exist`). Creating a third index fails as
well: an alias has one write index at most.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from opensearchpy.exceptions import RequestError, TransportError

from dynamodb_streams_cdc.aws.opensearch_documents import (
    CDC_MAPPING,
    REQUEST_SECONDS,
    Documents,
    as_json,
)
from dynamodb_streams_cdc.aws.opensearch_errors import (
    EXISTS,
    FAILED,
    MISSING,
    STRANGE,
    NotThere,
    answered,
    believed,
    meaning,
    types_of,
)
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import AccessDeniedError, MisconfiguredError, RetryableError
from dynamodb_streams_cdc.sinks.documents import CDC, IndexStatus, Pair, SearchIndex

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

MADE = "made"
"""Field of an index's metadata that tells it from others that had its name."""

TOLD = frozenset({"aliases", "mappings", "total"})
"""What OpenSearch tells of each index, or of the shards that it refreshed; one of them at least."""

LEFTOVERS = 5
"""How many numbers below and above the live index are searched for leftovers."""

Action = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class OpenSearchDocuments(Documents):
    """A `SearchIndex` that exists, reached through its own alias; see `Documents`."""

    client: "OpenSearch"
    alias: str
    properties: Mapping[str, Any]
    encode: Callable[[object], bytes] = as_json


@dataclass(frozen=True)
class OpenSearchIndex(Documents):
    """A `RebuildableIndex`.

    Attributes:
        client: client of OpenSearch, without retries of its own.
        name: name of the read alias.
        properties: the mapping of the document's fields; fields that it does not name are kept and
            not searchable.
        settings: settings of the index, when it is created. Unless they give replicas, it has one
            where a second node can hold it.
        encode: returns a document as JSON; a compiled encoder takes a quarter of the time.
    """

    client: "OpenSearch"
    name: str
    properties: Mapping[str, Any]
    settings: Mapping[str, Any]
    encode: Callable[[object], bytes] = as_json
    alias: str = field(init=False)
    """The alias that the sink writes to, tombstones included."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "alias", f"{self.name}-write")

    def create(self, deadline: Deadline) -> None:
        """Create the first index with its aliases; an index that exists already is success."""
        try:
            self._make(1, {self.alias: WRITES, self.name: READS}, deadline)
        except FAILED as error:
            if _is_there(error):
                return
            # No document is at fault for an index that cannot be created.
            found = meaning(error)
            denied = isinstance(found, AccessDeniedError)
            told = error if isinstance(error, TransportError) and not denied else found
            kind = type(found) if isinstance(found, RetryableError) else MisconfiguredError
            message = f"the index {self._of(1)} cannot be created: {told}"
            raise kind(message) from error

    def pair(self, deadline: Deadline) -> Pair | None:
        """Return the live index and the second one; `None` if there is no second one."""
        while (second := self._number(self._second, deadline)) is not None:
            live = self._number(self.alias, deadline)
            if live is None:
                message = f"the index {self.name} has no alias {self.alias}"
                raise RetryableError(message)
            if live != second:  # or a swap came between the two requests
                return Pair(self._numbered(live), self._numbered(second))
        return None

    def status(self, deadline: Deadline) -> IndexStatus:
        """Return the indexes behind the name, and leftovers with numbers near the live one's."""
        pair = self.pair(deadline)
        numbers = [self._number(alias, deadline) for alias in (self.alias, self._second)]
        live, second = numbers if pair else (numbers[0], None)
        if live is None:
            return IndexStatus(None, None, fits=True)
        near = range(max(1, live - LEFTOVERS), live + LEFTOVERS + 1)
        others = [n for n in near if n not in (live, second) and self._exists(n, deadline)]
        of_live = self._meta(live, deadline)
        meta = self._meta(second, deadline) if second else of_live
        fits = meta.get(CDC) == self._digest
        made = str(meta.get(MADE)) if second else ""
        return IndexStatus(live, second, fits, others, made, str(of_live.get(MADE, "")))

    def every(self, deadline: Deadline) -> Sequence[SearchIndex]:
        """Return the live index, the second one, and leftovers; none if there is no index.

        None of them is created by a request that finds it gone.
        """
        known = self.status(deadline)
        if known.live is None:
            return []
        others = [known.second, *known.leftovers]
        live = OpenSearchDocuments(self.client, self.alias, self.properties, self.encode)
        return [live, *(self._numbered(number) for number in others if number is not None)]

    def begin(self, deadline: Deadline) -> None:
        """Make a second index, with the deployed mapping, unless there is one."""
        live = self._number(self.alias, deadline)
        if live is None:
            self.create(deadline)
            live = self._number(self.alias, deadline)
            if live is None:
                message = f"the index {self._of(1)} exists, and the alias {self.alias} does not"
                raise RetryableError(message)
        # An index from before the aliases of their own.
        self._move([_add(self._of(live), self._own(live))], deadline)
        number = live + 1
        while self._number(self._second, deadline) is None:
            try:
                self._make(number, {self._second: WRITES}, deadline)
            except FAILED as error:
                # Or another operator was first, and the alias has its write index.
                others = self._number(self._second, deadline) is not None
                if not _is_there(error) and not others:
                    raise meaning(error) from error
                number += 1

    def swap(self, live: int, second: int, deadline: Deadline) -> bool:
        """Move the read, the write and the third alias in one request.

        The second index is refreshed before, so that readers find there what they found already.
        """
        self._asked(self.client.indices.refresh, self._own(second), deadline)
        old, new = self._of(live), self._of(second)
        actions = [
            _remove(old, self.alias),
            _remove(old, self.name),
            _remove(new, self._second),
            _add(new, self.alias, WRITES),
            _add(new, self.name, READS),
            _add(old, self._second, WRITES),
        ]
        return self._move(actions, deadline)

    def release(self, second: int, deadline: Deadline) -> bool:
        """Take the alias from the second index."""
        return self._move([_remove(self._of(second), self._second)], deadline)

    def delete(self, number: int, deadline: Deadline) -> bool:
        """Delete an index that has none of the three aliases; none is ever given to it again."""
        if number in [self._number(alias, deadline) for alias in (self.alias, self._second)]:
            return False
        params = {"request_timeout": REQUEST_SECONDS}
        try:
            answered(self.client.indices.delete, index=self._of(number), params=params)
        except NotThere:
            return False
        return True

    @property
    def _second(self) -> str:
        return f"{self.name}-second"

    def _of(self, number: int) -> str:
        return f"{self.name}-v{number}"

    def _own(self, number: int) -> str:
        return f"{self._of(number)}-own"

    def _numbered(self, number: int) -> OpenSearchDocuments:
        return OpenSearchDocuments(self.client, self._own(number), self.properties, self.encode)

    @property
    def _digest(self) -> str:
        """The mapping and settings in a few characters; a change of them makes others."""
        text = json.dumps([self.properties, self.settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _make(self, number: int, aliases: Mapping[str, Any], deadline: Deadline) -> None:
        deadline.check()
        body = {
            "settings": _with_replicas(self.settings),
            "mappings": {
                "dynamic": False,
                "_meta": {CDC: self._digest, MADE: str(uuid4())},
                "properties": {**self.properties, CDC: CDC_MAPPING},
            },
            "aliases": {**aliases, self._own(number): {}},
        }
        params = {"request_timeout": REQUEST_SECONDS}
        believed(self.client.indices.create(index=self._of(number), body=body, params=params))

    def _move(self, actions: Sequence[Action], deadline: Deadline) -> bool:
        """Move aliases in one request; return False, and move none, if one was not where it is."""
        deadline.check()
        body, params = {"actions": actions}, {"request_timeout": REQUEST_SECONDS}
        try:
            answered(self.client.indices.update_aliases, body=body, params=params)
        except NotThere:
            return False
        return True

    def _number(self, alias: str, deadline: Deadline) -> int | None:
        """Return the number of the index that has an alias; `None` if none has it."""
        found = self._asked(self.client.indices.get_alias, alias, deadline)
        names = [name for name in found if name.startswith(f"{self.name}-v")]
        return int(names[0].removeprefix(f"{self.name}-v")) if names else None

    def _exists(self, number: int, deadline: Deadline) -> bool:
        return bool(self._asked(self.client.indices.get_alias, self._of(number), deadline))

    def _meta(self, number: int, deadline: Deadline) -> Mapping[str, Any]:
        found = self._asked(self.client.indices.get_mapping, self._of(number), deadline)
        metas = [each["mappings"].get("_meta", {}) for each in found.values()]
        return dict(*metas)

    def _asked(self, ask: Callable[..., Any], index: str, deadline: Deadline) -> Mapping[str, Any]:
        """Return the answer about an index, by its name; nothing if it does not exist."""
        deadline.check()
        # Ignored, so that the client does not log a warning every ten seconds.
        params = {"request_timeout": REQUEST_SECONDS, "ignore": [404]}
        try:
            answer = ask(index=index, params=params)
        except FAILED as error:
            raise meaning(error) from error
        if isinstance(answer, Mapping):
            if MISSING in types_of(answer):
                return {}
            told = answer.values()
            if told and all(isinstance(each, Mapping) and each.keys() & TOLD for each in told):
                return answer
            # OpenSearch may hide a name that the role may not see. Who writes may see this one.
            if not told and index != self.alias:
                self._number(self.alias, deadline)
                return {}
        raise RetryableError(STRANGE)


def _with_replicas(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with replicas that the cluster can hold, unless they give replicas.

    The default of OpenSearch is one, for which a domain of one node stays yellow. OpenSearch
    ignores a `number_of_replicas` in addition to `auto_expand_replicas`.
    """
    given = {name.removeprefix("index.") for name in (*settings, *settings.get("index", ()))}
    if given & {"number_of_replicas", "auto_expand_replicas"}:
        return dict(settings)
    return {**settings, "index.auto_expand_replicas": "0-1"}


WRITES: Mapping[str, Any] = {"is_write_index": True}
READS: Mapping[str, Any] = {"filter": {"term": {f"{CDC}.deleted": False}}}


def _is_there(error: Exception) -> bool:
    return isinstance(error, RequestError) and error.error == EXISTS


def _remove(index: str, alias: str) -> Action:
    return {"remove": {"index": index, "alias": alias, "must_exist": True}}


def _add(index: str, alias: str, options: Mapping[str, Any] | None = None) -> Action:
    return {"add": {"index": index, "alias": alias, **(options or {})}}
