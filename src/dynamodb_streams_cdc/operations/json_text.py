"""Text of people and other programs, as JSON."""

import json
from typing import Any

from dynamodb_streams_cdc.errors import form_of


def json_object(text: str) -> dict[str, Any]:
    """Return the object in a JSON text.

    Raises:
        ValueError: it is something else; says what.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        message = f"it is not JSON, or was cut: {error}"
        raise ValueError(message) from error
    if not isinstance(found, dict):
        message = f"expected an object, got {form_of(found)}"
        raise ValueError(message)
    return found
