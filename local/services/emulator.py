"""Launches the AWS emulator with fixes for five differences from AWS, and faster.

The emulator keeps an item that PartiQL's INSERT wrote but writes no stream record for it. The
audit processor appends to the change log with exactly that statement, and search reads the log's
stream: without the record, no change would reach OpenSearch. The fix emits the record as a PutItem
of a new item does; inside ExecuteTransaction, after the transaction has succeeded.

The stream of a table that CloudFormation made has a label that ends in "Z"; on AWS, and for a table
that CreateTable made, it has none (`2015-05-11T21:21:33.291`). The processors refuse such a label,
because versions are compared as strings. The fix cuts it off.

A disabled event source mapping is "Disabled" at once, with a batch still under way. On AWS it is
"Disabling" until that batch has ended, and a program that takes a mapping over waits for that. The
fix says "Disabling" while the emulator's poller is in the middle of a pass.

A state machine may write an object by `aws-sdk:s3:putObject`, which the emulator does not have. The
fix writes it as JSON, as Step Functions does with a body that is not a text.

A numeric key is found by the text of its number. On AWS `-37.5` and `-375E-1` are one key; without
the fix, a verification takes the copies of such an item for those of a deleted one.

For each worker of a function the emulator unpacks the package, a thousand files in a third of a
second. It is unpacked once here, and each worker gets links to the files.

`test_emulator_stream.py`, `test_emulator_numbers.py`, `test_runner.py` and `test_on_aws.py` in
`tests/integration` fail when a fix can be removed.

This file is run by its path and imports nothing of the repository: the Lambda workers must find the
contents of their package only.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import threading
import zipfile
from contextvars import ContextVar
from decimal import Context, Decimal, InvalidOperation
from pathlib import Path
from types import SimpleNamespace
from typing import Any

UNPATCHED = "CDC_EMULATOR_UNPATCHED"
"""Set this variable to run the emulator without the fixes: a test checks that they are needed."""

_DIGITS = Context(prec=38)
_Response = tuple[int, dict[str, str], bytes]
_Insert = tuple[str, dict[str, Any]]

_in_transaction: ContextVar[list[_Insert] | None] = ContextVar("in_transaction", default=None)


def fix_inserts(dynamodb: Any) -> None:
    """Write a stream record for PartiQL's INSERT."""
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


def fix_labels(provisioners: Any, dynamodb: Any) -> None:
    """Give the streams of tables made by CloudFormation the label that AWS gives them."""
    create = provisioners._ddb_create

    def creating(logical_id: str, props: dict[str, Any], stack_name: str) -> tuple[str, Any]:
        name, attributes = create(logical_id, props, stack_name)
        if arn := attributes.get("StreamArn", "").removesuffix("Z"):
            attributes["StreamArn"] = arn
            table = dynamodb._tables[name]
            table["LatestStreamArn"], table["LatestStreamLabel"] = arn, arn.rpartition("/")[2]
        return name, attributes

    provisioners._ddb_create = creating
    provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::Table"]["create"] = creating


def fix_disabling(lambdas: Any) -> None:
    """Let a mapping be "Disabling" while a batch of it may be under way."""
    poll, describe = lambdas._poll_dynamodb_streams, lambdas._esm_response
    polling = threading.Event()

    def polling_once() -> Any:
        polling.set()
        try:
            return poll()
        finally:
            polling.clear()

    def describing(mapping: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = describe(mapping)
        if found.get("State") == "Disabled" and polling.is_set():
            found["State"] = "Disabling"
        return found

    lambdas._poll_dynamodb_streams = polling_once
    lambdas._esm_response = describing


def fix_put_object(step_functions: Any, s3: Any) -> None:
    """Let state machines write objects."""
    invoke = step_functions._invoke_aws_sdk_integration

    def invoking(resource: str, parameters: dict[str, Any]) -> Any:
        if not resource.endswith(":aws-sdk:s3:putObject"):
            return invoke(resource, parameters)
        body = json.dumps(parameters["Body"]).encode()
        status, _, text = s3._put_object(parameters["Bucket"], parameters["Key"], body, {})
        if status != 200:
            code = "S3.S3Exception"
            raise step_functions._ExecutionError(code, str(text))
        return {}

    step_functions._invoke_aws_sdk_integration = invoking


def share_packages(runtime: Any) -> None:
    """Unpack each package of a function once."""
    unpacking = threading.Lock()

    class Package(zipfile.ZipFile):
        def extractall(self, path: Any = None, *arguments: Any, **options: Any) -> None:
            content = sorted((each.filename, each.CRC) for each in self.infolist())
            name = hashlib.sha256(repr(content).encode()).hexdigest()
            unpacked = Path(tempfile.gettempdir(), f"package-{name}")
            with unpacking:
                if not unpacked.exists():
                    partial = unpacked.with_suffix(".partial")
                    super().extractall(partial, *arguments, **options)
                    partial.rename(unpacked)
            shutil.copytree(unpacked, path, copy_function=os.link, dirs_exist_ok=True)

    runtime.zipfile = SimpleNamespace(**{**vars(zipfile), "ZipFile": Package})


def fix_numbers(dynamodb: Any) -> None:
    """Find an item by the value of a numeric key."""
    extract = dynamodb._extract_key_val

    def extracting(attribute: Any) -> Any:
        found = extract(attribute)
        if not isinstance(attribute, dict) or "N" not in attribute:
            return found
        try:
            return str(_DIGITS.plus(Decimal(found)).normalize(_DIGITS))
        except InvalidOperation:
            return found

    dynamodb._extract_key_val = extracting


def main() -> None:
    from ministack import app  # type: ignore[import-untyped]
    from ministack.core import lambda_runtime  # type: ignore[import-untyped]
    from ministack.services import (  # type: ignore[import-untyped]
        dynamodb,
        lambda_svc,
        s3,
        stepfunctions,
    )
    from ministack.services.cloudformation import (  # type: ignore[import-untyped]
        provisioners,
    )

    if UNPATCHED not in os.environ:
        fix_inserts(dynamodb)
        fix_labels(provisioners, dynamodb)
        fix_disabling(lambda_svc)
        fix_numbers(dynamodb)
        fix_put_object(stepfunctions, s3)
    share_packages(lambda_runtime)
    sys.argv[1:] = []
    app.main()


if __name__ == "__main__":
    main()
