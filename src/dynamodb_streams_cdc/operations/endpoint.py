"""Check an endpoint that replaces AWS's, before the first request."""

import re
from urllib.parse import urlsplit

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", re.ASCII)
_NAMED = re.compile(r"(?<=://)[^\s\"'<>]*@")


def problem_of(url: str) -> str | None:
    """Return the fault of an endpoint, without its credentials; None if it is well-formed."""
    expected = f"expected a URL such as http://127.0.0.1:4566, got {_shown(url)}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:  # an open bracket; a port that is not a number
        # The error quotes the port, which may be a part of a password.
        return expected if "@" in url else f"{expected}: {error}"
    if "@" in parts.netloc:
        return (
            f"{_shown(url)} holds a name or a password, which cdc does not use: leave it out, "
            "and sign in as for AWS"
        )
    if parts.scheme not in ("http", "https") or not host or port == 0:
        return expected
    if parts.query or parts.fragment or not _is_host(host) or re.search(r"[\s\\]", url):
        return expected
    return None


def masked(text: str) -> str:
    """Return a text with `***` in place of the credentials of the URLs in it."""
    return _NAMED.sub("***@", text)


def _shown(url: str) -> str:
    """Return a URL, even a malformed one, without its credentials."""
    before, at, rest = url.rpartition("@")
    scheme, slashes, _ = before.partition("//")
    return f"{scheme if slashes else ''}{slashes}***@{rest}" if at else url or "nothing"


def _is_host(host: str) -> bool:
    # In brackets `urlsplit` takes IPv6 addresses, and the futuristic v1.x, which no client knows.
    if ":" in host:
        return True
    return bool(_HOST.fullmatch(host)) and ".." not in host
