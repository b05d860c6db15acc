"""Launch the AWS emulator with the one thing that it lacks for this project mended.

The emulator keeps an item that PartiQL's INSERT wrote but writes no stream record for it. The
audit processor appends to the change log with exactly that statement, and search reads the log's
stream: without the record nothing would ever reach OpenSearch. The repair emits the record as a
PutItem of a new item does; inside ExecuteTransaction, once the transaction went through.
`tests/integration/test_emulator_stream.py` says when it can go.

This file is run by its path, with nothing of the repository to import: the Lambda workers must find
what their package holds, and nothing else of it.
"""

from __future__ import annotations

import os
import sys
from contextvars import ContextVar
from typing import Any

UNPATCHED = "CDC_EMULATOR_UNPATCHED"
"""Set this variable to run the emulator as it comes: for the test that says if it still must be
mended."""

_Response = tuple[int, dict[str, str], bytes]
_Insert = tuple[str, dict[str, Any]]

_in_transaction: ContextVar[list[_Insert] | None] = ContextVar("in_transaction", default=None)


def mend(dynamodb: Any) -> None:
    """Give PartiQL's INSERT its stream record."""
    insert, transaction = dynamodb._partiql_insert, dynamodb._execute_transaction

    def inserting(table: dict[str, Any], parsed: dict[str, Any]) -> _Response:
        response: _Response = insert(table, parsed)
        if response[0] == 200:
            item = parsed["item"]
            written = (table["TableName"], item["M"] if set(item) == {"M"} else item)
            waiting = _in_transaction.get()
            if waiting is None:
                emit(*written)
            else:
                waiting.append(written)
        return response

    def transacting(data: dict[str, Any]) -> _Response:
        waiting: list[_Insert] = []
        token = _in_transaction.set(waiting)
        try:
            response: _Response = transaction(data)
        finally:
            _in_transaction.reset(token)
        if response[0] == 200:
            for written in waiting:
                emit(*written)
        return response

    def emit(table: str, item: dict[str, Any]) -> None:
        dynamodb._emit_stream_event(table, "INSERT", None, item)

    dynamodb._partiql_insert = inserting
    dynamodb._execute_transaction = transacting


def main() -> None:
    from ministack import app  # type: ignore[import-untyped]
    from ministack.services import dynamodb  # type: ignore[import-untyped]

    if UNPATCHED not in os.environ:
        mend(dynamodb)
    sys.argv[1:] = []
    app.main()


if __name__ == "__main__":
    main()
