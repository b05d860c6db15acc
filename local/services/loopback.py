"""Talk to the local engines and to nothing else.

The person's own AWS account, proxies and credentials must stay out of everything that runs here: a
profile in the environment would send a request, or a deployment, to the wrong place.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import urllib.error
import urllib.request
from typing import Any

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

# Without a proxy handler urllib would send loopback requests through the person's proxy.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def clean() -> dict[str, str]:
    """This process's environment without what belongs to other AWS accounts, proxies or engines."""
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
    """What the emulator takes for a person who is signed in."""
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }


def status(url: str) -> int | None:
    """The status that a GET is answered with, or None when nobody answers."""
    try:
        with _opener.open(url, timeout=_TIMEOUT_SECONDS) as response:
            code: int = response.status
            return code
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except (OSError, http.client.HTTPException):
        return None


def get_json(url: str) -> dict[str, Any] | None:
    """The JSON object that a GET is answered with, or None when there is none."""
    try:
        with _opener.open(url, timeout=_TIMEOUT_SECONDS) as response:
            document = json.load(response)
    except urllib.error.HTTPError as error:
        error.close()
        return None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    return document if isinstance(document, dict) else None


def free_port() -> int:
    """A port that nobody listens on at this moment."""
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
    """Whether somebody listens on this port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
