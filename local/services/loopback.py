"""Talks to the local services only.

The AWS account, proxies and credentials of the person stay out of everything that runs here: a
profile in the environment would send a request, or a deployment, to the wrong place.
"""

import json
import os
import socket
from typing import Any

import urllib3

ACCOUNT = "000000000000"
REGION = "us-east-1"

_FOREIGN_PREFIXES = (
    "AWS_",
    "BOTO_",
    "CDK_",
    "LAMBDA_",
    "LOCALSTACK_",
    "MINISTACK_",
    "OPENSEARCH_",
    "PYTHON",
)
_FOREIGN_NAMES = frozenset(
    {
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
        *("java_tool_options", "jdk_java_options", "_java_options"),
        *("services", "auth", "state_dir", "persist_state", "use_ssl", "s3_persist", "s3_data_dir"),
        *("gateway_port", "edge_port", "bind_host", "log_level", "docker_host", "docker_network"),
    }
)
_TIMEOUT_SECONDS = 5

_http = urllib3.PoolManager(retries=False, timeout=_TIMEOUT_SECONDS)  # uses no proxy


def clean() -> dict[str, str]:
    """Return this process's environment without variables of AWS, proxies, Python and services."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(_FOREIGN_PREFIXES) and name.lower() not in _FOREIGN_NAMES
    }
    return {
        **kept,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "*",
        "PYTHONUNBUFFERED": "1",
    }


def credentials() -> dict[str, str]:
    """Return the credentials and the Region that the emulator accepts."""
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }


def status(url: str) -> int | None:
    """Return the HTTP status of a GET, None without a response."""
    response = _get(url)
    return None if response is None else response.status


def get_json(url: str) -> dict[str, Any] | None:
    """Return the JSON object of a successful GET, None without one."""
    response = _get(url)
    if response is None or response.status >= 400:
        return None
    try:
        document = json.loads(response.data)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _get(url: str) -> urllib3.BaseHTTPResponse | None:
    try:
        return _http.request("GET", url)
    except urllib3.exceptions.HTTPError:
        return None


def free_port() -> int:
    """Return a port on which no server listens at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Whether a server could listen on this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return not answers_on(port)


def answers_on(port: int) -> bool:
    """Whether a server listens on this port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
