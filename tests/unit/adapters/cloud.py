"""Clients of a cloud in this process, by moto, whose reads lag behind unless they are consistent.

DynamoDB answers a read that does not ask for consistency from any replica, and promises nothing
about how far that one is behind
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.ReadConsistency.html).
Here it has seen nothing yet: code that needs what was written before has to say so.
"""

import json
from collections.abc import Mapping
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.session import get_session

from dynamodb_streams_cdc.aws.dynamodb.encoding import encode_once

NOTHING: Mapping[str, Any] = {
    "GetItem": {},
    "BatchGetItem": {"Responses": {}, "UnprocessedKeys": {}},
    "Query": {"Items": [], "Count": 0},
    "Scan": {"Items": [], "Count": 0},
}
"""What a replica answers that has seen nothing, by operation."""


def client(service: str, **config: Any) -> Any:
    """Return a client as the functions have it."""
    session = get_session()
    session.set_credentials("test", "test")
    made: Any = session.create_client(
        service,
        region_name="us-east-1",
        config=Config(
            parameter_validation=False,
            retries={"mode": "standard", "total_max_attempts": 1},
            **config,
        ),
    )
    return encode_once(made) if service == "dynamodb" else made


def lagging(made: Any) -> Any:
    """Return the client of DynamoDB, whose eventually consistent reads find nothing."""
    made.meta.events.register_first("before-send.dynamodb", _read)
    return made


def _read(request: Any, **_: Any) -> AWSResponse | None:
    operation = request.headers["X-Amz-Target"].decode().partition(".")[2]
    if operation not in NOTHING or _is_consistent(json.loads(request.body)):
        return None
    return AWSResponse(request.url, 200, HTTPHeaders(), Body(NOTHING[operation]))


def _is_consistent(params: Mapping[str, Any]) -> bool:
    requests = params.get("RequestItems", {"": params}).values()
    return all(request.get("ConsistentRead", False) for request in requests)


class Body:
    """The body of an answer, as urllib3 has it."""

    def __init__(self, content: object) -> None:
        self.content = content if isinstance(content, bytes) else json.dumps(content).encode()

    def stream(self, **_: Any) -> Any:
        yield self.content
