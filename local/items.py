"""Items by the declaration: keys, identity, and the declared functions of an image."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.entities import AGGREGATION, SEARCH
from dynamodb_streams_cdc.errors import CdcError, PermanentError
from dynamodb_streams_cdc.identity import item_id
from dynamodb_streams_cdc.sinks.base import evaluated
from dynamodb_streams_cdc.sinks.contributions import checked
from dynamodb_streams_cdc.sinks.documents import document_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dynamodb_streams_cdc.entities import Entity, Table

    Function = Callable[[dict[str, Any]], Any]

Image = dict[str, Any]

NO_ENTITY = "no entity"
"""In place of the name of an entity, for items that are of none."""

_SHAPES: Mapping[str, Callable[[Any], object]] = {AGGREGATION: checked, SEARCH: document_of}
"""Checks of the functions' results, as the sinks make them."""

_NOT_PURE = "a second call returns something else, let the function see the item alone"


def keys_of(table: Table, image: Mapping[str, Any]) -> Image:
    """Return the key attributes of an image."""
    return {name: image[name] for name in table.keys}


def item_of(table: Table, image: Mapping[str, Any]) -> str:
    """Return the identity of an item, by its keys or its image."""
    return item_id(table.name, keys_of(table, image))


def function_of(entity: Entity | None, sink: str) -> Function | None:
    """Return the entity's function of an image for a sink; None if there is none."""
    if entity is None:
        return None
    if sink == AGGREGATION:
        return entity.contributions
    if sink == SEARCH:
        return entity.document
    return entity.sinks.get(sink)


def refusals(entity: Entity | None, image: Image) -> dict[str, str]:
    """Return the error of each sink that cannot apply an image, by the declared functions."""
    errors: dict[str, str] = {}
    for sink in (AGGREGATION, SEARCH, *(entity.sinks if entity else ())):
        if (function := function_of(entity, sink)) is not None:
            try:
                result = result_of(function, sink, image)
                if sink in _SHAPES and result_of(function, sink, image) != result:
                    errors[sink] = _NOT_PURE
            except CdcError as error:
                reason = error.reason if isinstance(error, PermanentError) else type(error).__name__
                errors[sink] = " ".join(f"{reason}: {error}".split())
    return errors


def result_of(function: Function, sink: str, image: Image) -> Any:
    """Return the result of an entity's function as it is, of an image of its own.

    A function may alter the image, and the next one sees the item as it is.

    Raises:
        CdcError: the function raises, or the sink refuses the form of the result.
    """
    return evaluated(partial(_with_form, sink, function), deepcopy(image))


def _with_form(sink: str, function: Function, image: Image) -> object:
    result = function(image)
    if sink in _SHAPES:
        _SHAPES[sink](result)
    return result
