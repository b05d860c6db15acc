"""The canary: an item written on a schedule, which shows that changes arrive in every copy.

It has a reserved key and a reserved attribute. Processors take it like any change and count it in
`Counts.canaries` once their sink has it. The functions of the domain never see it: wrap them in
`unless_canary`. `ChangeHandlers` does not call a handler with it.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from dynamodb_streams_cdc.change import Image
from dynamodb_streams_cdc.names import CANARY

Result = TypeVar("Result")
_KEYS: Mapping[str, Any] = {"S": CANARY, "N": "0", "B": CANARY.encode()}
_VALUES = (CANARY, 0, CANARY.encode())


def canary_item(keys: Mapping[str, str], at: float) -> dict[str, Any]:
    """Return the canary as DynamoDB JSON, different from every earlier one.

    Args:
        keys: names of the table's key attributes with their types: S, N or B.
        at: when it is written, in seconds since 1970.
    """
    item = {name: {kind: _KEYS[kind]} for name, kind in keys.items()}
    return {**item, CANARY: {"N": f"{at:.3f}"}}


def is_canary(keys: Mapping[str, object]) -> bool:
    """Return whether keys are the canary's: every key attribute has its reserved value."""
    values = keys.values()
    return CANARY in values and all(value in _VALUES for value in values)


def unless_canary(
    function: Callable[[Image], Result], instead: Result
) -> Callable[[Image], Result]:
    """Return the function of an image, which the canary's image does not reach.

    Args:
        function: of an item's image, such as its contributions or its document.
        instead: result for the canary: an empty contribution, or no document.
    """

    def guarded(image: Image) -> Result:
        is_canary_s = CANARY in image and CANARY in image.values()
        return instead if is_canary_s else function(image)

    return guarded
