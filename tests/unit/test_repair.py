"""A repair from code: no command line, and no AWS."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dynamodb_streams_cdc.operations
from dynamodb_streams_cdc.operations.repair import Repair, RepairFailure

STREAM = "arn:aws:dynamodb:us-east-1:000000000000:table/orders-1A2B/stream/2024-05-01T00:00:00.000"
ITEMS = [{"id": {"S": str(number)}} for number in range(150)]


class Functions:
    """Two healthy processors: search repairs all but one item, audit keeps no copies."""

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        assert event["streamArn"] == STREAM
        keys = [each["Keys"]["id"]["S"] for each in event["Records"]]
        failures = [
            {
                "position": position,
                "item": f"orders/S={key}",
                "version": None,
                "reason": "ValueError",
                "error": "no",
                "retryable": False,
            }
            for position, key in enumerate(keys)
            if key == "120"
        ]
        return {
            "batchItemFailures": [],
            "repairable": processor == "search",
            "repaired": len(keys) - len(failures),
            "gone": 0,
            "failures": failures,
        }


def test_a_repair_returns_a_typed_report() -> None:
    report = Repair(Functions(), STREAM, ["audit", "search"]).run(ITEMS)
    assert (report.items, report.repaired, report.gone) == (149, {"search": 149}, {"search": 0})
    [failure] = report.failures
    assert failure == RepairFailure("search", "orders/S=120", 0, "ValueError", "no", False)
    assert not report.complete


def test_operations_import_no_command_line() -> None:
    folder = Path(dynamodb_streams_cdc.operations.__path__[0])
    text = "\n".join(path.read_text() for path in folder.rglob("*.py"))
    imported = re.findall(r"^\s*(?:from|import) (\S+)", text, re.MULTILINE)
    assert "boto3" in imported
    forbidden = ("typer", "rich", "dynamodb_streams_cdc.cli")
    assert [name for name in imported if name.startswith(forbidden)] == []
