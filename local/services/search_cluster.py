"""The OpenSearch cluster of a demo: started for it, or an existing one.

In an existing cluster a demo writes to indexes whose prefix it makes up for the run, and removes
them at the end. It touches no other index: it names one that a killed demo left, with the command
that removes it.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import urllib3

from local.services.errors import ServiceError

_PREFIX = "cdc-demo-"
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class SearchCluster:
    """Target of the search processor: `index_prefix` begins the names of its indexes."""

    url: str
    index_prefix: str = ""


@contextmanager
def existing_cluster(url: str, say: Callable[[str], None]) -> Iterator[SearchCluster]:
    """A cluster of the person, reachable without signing in; `url` as `checked_url` returns it.

    Raises:
        ServiceError: No OpenSearch answers there.
    """
    http = urllib3.PoolManager(retries=False, timeout=_SECONDS)
    found = _get(http, url)
    version = found.get("version") if isinstance(found, dict) else None
    if not isinstance(version, dict):
        message = f"What answers at {url} (SEARCH_URL) is not OpenSearch."
        raise ServiceError(message)
    say(f"Using OpenSearch {version.get('number', '')} at {url}")
    for leftover in _leftovers(http, url):
        say(
            f"An earlier demo left the index {leftover}: remove it with"
            f" curl -X DELETE {url}/{leftover}"
        )
    cluster = SearchCluster(url, f"{_PREFIX}{secrets.token_hex(4)}-")
    try:
        yield cluster
    finally:
        _remove(http, cluster, say)


def checked_url(url: str) -> str:
    """Return the URL without a trailing slash.

    Raises:
        ValueError: It is more or less than a scheme, a host and a port: the functions sign in
            nowhere and use no path.
    """
    try:
        parts = urlsplit(url.rstrip("/"))
        only_host = bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        only_host = False
    if not only_host or parts.scheme not in ("http", "https") or parts.path or parts.query:
        message = (
            "expected a scheme, a host and a port, such as http://127.0.0.1:9200, without a name,"
            " a password or a path"
        )
        raise ValueError(message)
    return url.rstrip("/")


def _get(http: urllib3.PoolManager, url: str) -> object:
    try:
        response = http.request("GET", url)
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        message = f"No OpenSearch answers at {url} (SEARCH_URL): {error}."
        raise ServiceError(message) from error
    if response.status in (401, 403):
        message = f"The OpenSearch at {url} (SEARCH_URL) requires a sign-in: name another."
        raise ServiceError(message)
    try:
        found: object = json.loads(response.data)
    except ValueError:
        return None
    return found


def _leftovers(http: urllib3.PoolManager, url: str) -> list[str]:
    return _indexes(http, url, _PREFIX)


def _indexes(http: urllib3.PoolManager, url: str, prefix: str) -> list[str]:
    found = _get(http, f"{url}/_cat/indices/{prefix}*?format=json&h=index")
    return sorted(row["index"] for row in found) if isinstance(found, list) else []


def _remove(http: urllib3.PoolManager, cluster: SearchCluster, say: Callable[[str], None]) -> None:
    """Remove this run's indexes, whose prefix is unique."""
    try:
        names = _indexes(http, cluster.url, cluster.index_prefix)
        left = [n for n in names if http.request("DELETE", f"{cluster.url}/{n}").status != 200]
    except (urllib3.exceptions.HTTPError, ServiceError):
        left = [f"{cluster.index_prefix}*"]
    for name in left:
        address = f"{cluster.url}/{name}"
        say(f"Could not remove an index of this run: remove it with curl -X DELETE {address}")
