"""The requests of the page: JSON in, JSON out."""

import asyncio
import contextlib
import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dynamodb_streams_cdc.testing.simulation.schedule import EFFECTS, LASTING, FaultKind
from playground.lab import converter, filters, presets, settings
from playground.lab.errors import Mistaken
from playground.lab.run import run
from playground.lab.script import EFFECTS_OF_WRITES, WRITES
from playground.lab.search import Progress, as_test, search

Request = Mapping[str, Any]


def _about(_request: Request, _progress: Progress) -> Any:
    return {
        "controls": settings.controls(),
        "varied": settings.VARIED,
        "writes": [{"kind": word, "effect": EFFECTS_OF_WRITES[word]} for word in WRITES],
        "faults": [
            {
                "kind": str(kind),
                "effect": EFFECTS[kind],
                "seconds": LASTING[kind][0] if kind in LASTING else None,
            }
            for kind in FaultKind
        ],
        "presets": presets.listed(),
        "filter_examples": filters.examples(),
        "converter_example": converter.EXAMPLE,
    }


REQUESTS: Mapping[str, Callable[[Request, Progress], Any]] = {
    "about": _about,
    "run": lambda request, _: run(request),
    "search": search,
    "test": lambda request, _: as_test(request),
    "filter": lambda request, _: filters.tested(request),
    "plain": lambda request, _: converter.plain(request),
    "typed": lambda request, _: converter.typed(request),
}


def answer(text: str, progress: Progress = lambda runs: None) -> str:
    """Return the answer to a request: `{"ok": ...}`, or `{"error": ...}` with a sentence."""
    request = json.loads(text)
    try:
        with _outside_of_a_loop():
            return _text({"ok": REQUESTS[request["what"]](request, progress)})
    except Mistaken as error:
        result = {"error": {"message": error.message, "part": error.part, "line": error.line}}
    except BaseException as error:  # the code in the editor can raise any error, or exit
        told = "".join(traceback.format_exception_only(error)).strip()
        result = {"error": {"message": f"the run failed: {told:.500}", "part": "handler"}}
    return _text(result)


def _text(result: Any) -> str:
    """Return JSON as browsers read it: without NaN and Infinity."""
    return json.dumps(result, default=_plain, ensure_ascii=False, allow_nan=False)


@contextlib.contextmanager
def _outside_of_a_loop() -> Iterator[None]:
    """Let the code see no event loop: in the browser everything runs in one, in Lambda it does not.

    The kit lets the time of a function in a loop pass otherwise.
    """
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)


def _plain(value: Any) -> Any:
    return sorted(value, key=str) if isinstance(value, set | frozenset) else str(value)
