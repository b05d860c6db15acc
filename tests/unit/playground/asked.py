"""Requests as the page makes them."""

import json
from typing import Any

from playground.lab import answer


def ask(what: str, experiment: dict[str, Any]) -> Any:
    """Return the answer to a request, past JSON."""
    return json.loads(answer(json.dumps({"what": what, **experiment})))


def run(experiment: dict[str, Any]) -> dict[str, Any]:
    """Return the picture of a run."""
    found: dict[str, Any] = ask("run", experiment)["ok"]
    return found


def refused(experiment: dict[str, Any], what: str = "run") -> dict[str, Any]:
    """Return the error of a request."""
    found: dict[str, Any] = ask(what, experiment)["error"]
    return found
