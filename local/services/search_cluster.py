"""The OpenSearch that a demo uses: one started for it, or one that the person has.

In somebody's own cluster a demo writes to an index with a name of its own, made up for this run,
and removes that index at the end. It never touches anything else, leftovers included: an index that
an earlier demo could not remove, because it was killed, is named with the command that removes it.
"""

from __future__ import annotations

import json
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import urllib3

from local.services.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PREFIX = "cdc-demo-"
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class SearchCluster:
    """Where the search processor writes: `index` is the read alias, `<index>-v1` the index."""

    url: str
    index: str


@contextmanager
def existing_cluster(url: str, say: Callable[[str], None]) -> Iterator[SearchCluster]:
    """A cluster that is there already, reachable without signing in.

    Raises:
        EngineError: No OpenSearch answers there.
    """
    url = _checked(url)
    http = urllib3.PoolManager(retries=False, timeout=_SECONDS)
    found = _get(http, url)
    version = found.get("version") if isinstance(found, dict) else None
    if not isinstance(version, dict):
        message = f"What answers at {url} (SEARCH_URL) is not OpenSearch."
        raise EngineError(message)
    say(f"Using OpenSearch {version.get('number', '')} at {url}")
    for leftover in _leftovers(http, url):
        say(
            f"An earlier demo left the index {leftover}; curl -X DELETE {url}/{leftover} removes it"
        )
    cluster = SearchCluster(url, _PREFIX + secrets.token_hex(4))
    try:
        yield cluster
    finally:
        _remove(http, cluster, say)


def _checked(url: str) -> str:
    """Only a host and a port: the functions sign in nowhere and know no path."""
    try:
        parts = urlsplit(url.rstrip("/"))
        only_host = bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        only_host = False
    if not only_host or parts.scheme not in ("http", "https") or parts.path or parts.query:
        message = (
            "SEARCH_URL must be a scheme, a host and a port, such as http://127.0.0.1:9200,"
            " without a name, a password or a path."
        )
        raise EngineError(message)
    return url.rstrip("/")


def _get(http: urllib3.PoolManager, url: str) -> object:
    try:
        response = http.request("GET", url)
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        message = f"No OpenSearch answers at {url} (SEARCH_URL): {error}."
        raise EngineError(message) from error
    if response.status in (401, 403):
        message = f"The OpenSearch at {url} (SEARCH_URL) wants a sign-in, which the demo has not."
        raise EngineError(message)
    try:
        found: object = json.loads(response.data)
    except ValueError:
        return None
    return found


def _leftovers(http: urllib3.PoolManager, url: str) -> list[str]:
    found = _get(http, f"{url}/_cat/indices/{_PREFIX}*?format=json&h=index")
    return sorted(row["index"] for row in found) if isinstance(found, list) else []


def _remove(http: urllib3.PoolManager, cluster: SearchCluster, say: Callable[[str], None]) -> None:
    """Removes this run's index, whose name nobody else can have chosen."""
    address = f"{cluster.url}/{cluster.index}-v1"
    try:
        removed = http.request("DELETE", address).status in (200, 404)
    except urllib3.exceptions.HTTPError:
        removed = False
    if not removed:
        say(f"Could not remove this run's index: curl -X DELETE {address} does.")
