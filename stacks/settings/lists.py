"""Settings that are lists: `a,b` on the command line, a list in cdk.json."""

from typing import Any

from pydantic import BeforeValidator


def _listed(value: Any) -> Any:
    """Return the words of "a,b", as `-c` gives them; cdk.json may have a list."""
    if not isinstance(value, str):
        return value
    return tuple(filter(None, value.replace(" ", "").split(",")))


FROM_TEXT = BeforeValidator(_listed)
