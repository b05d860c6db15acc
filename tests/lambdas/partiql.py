"""PartiQL INSERT with parameters, which moto lacks: refused with DuplicateItem if the key is there.

moto raises a TypeError for parameters and overwrites for literals. What stands here is held to the
truth by the contract of the log, which runs on DynamoDB Local as well.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from moto.dynamodb.exceptions import MockValidationException
from moto.dynamodb.models import DynamoDBBackend

_INSERT = re.compile(r'INSERT INTO "(?P<table>[^"]+)" VALUE \{(?P<members>.*)\}')


def _batch(self: DynamoDBBackend, statements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [_insert(self, statement) for statement in statements]


def _insert(backend: DynamoDBBackend, statement: dict[str, Any]) -> dict[str, Any]:
    match = _INSERT.fullmatch(statement["Statement"])
    if match is None:
        message = f"only INSERT is known here, got {statement['Statement']}"
        raise MockValidationException(message)
    table = match["table"]
    names = re.findall(r"'([^']+)': \?", match["members"])
    item = dict(zip(names, statement["Parameters"], strict=True))
    schema = backend.get_table(table)
    keys = [name for name in (schema.hash_key_attr, schema.range_key_attr) if name]
    if backend.get_item(table, {name: item[name] for name in keys}):
        return {"Error": {"Code": "DuplicateItem", "Message": "Duplicate primary key exists"}}
    backend.put_item(table, item)
    return {"TableName": table}


@contextmanager
def conditional_inserts() -> Iterator[None]:
    """Let moto's BatchExecuteStatement insert what is not there."""
    with patch.object(DynamoDBBackend, "batch_execute_statement", _batch):
        yield
