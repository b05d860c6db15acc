"""The maintenance function does the task of its schedule, and publishes what it finds."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dynamodb_streams_cdc import LambdaContext
from dynamodb_streams_cdc.deadline import SystemClock
from dynamodb_streams_cdc.operations.maintenance import Maintenance
from lambdas.maintenance import handler as maintenance
from lambdas.settings import SettingsError
from tests.factories import FakeContext
from tests.unit.operated import SINKS, Operated


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Operated:
    """A pipeline whose copies are right."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = Operated(20)
    made.backfill().run()
    monkeypatch.setenv("PIPELINE", "cdc-local-pipeline")
    processors = {name: [f"function-{name}", sink] for name, sink in SINKS.items()}
    monkeypatch.setenv("PROCESSORS", json.dumps(processors))
    monkeypatch.setenv("SOURCE_TABLE_KEYS", '{"id": "S"}')
    monkeypatch.setenv("VERIFY_SHARE", "100")
    monkeypatch.setattr(maintenance, "LambdaFunctions", lambda client, names: made)
    monkeypatch.setattr(
        maintenance, "Maintenance", partial(Maintenance, settle=0.0, workers=1, clock=made.clock)
    )
    monkeypatch.setattr(maintenance, "client", lambda: None)
    maintenance.settings.cache_clear()
    return made


@pytest.fixture
def quarter() -> LambdaContext:
    return FakeContext(SystemClock(), seconds=900)


def test_a_verification_publishes_a_count_for_each_processor(
    deployed: Operated, quarter: LambdaContext, capsys: pytest.CaptureFixture[str]
) -> None:
    del deployed.copies.index.documents[deployed.id(7)]
    maintenance.handler({"task": "verify"}, quarter)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["Processor"]: line["Differences"] for line in lines} == {
        "aggregation": 0,
        "audit": 0,
        "search": 1,
    }
    assert all(line["Pipeline"] == "cdc-local-pipeline" for line in lines)


def test_a_purge_publishes_nothing(
    deployed: Operated, quarter: LambdaContext, capsys: pytest.CaptureFixture[str]
) -> None:
    maintenance.handler({"task": "purge"}, quarter)
    assert capsys.readouterr().out == ""
    assert "purge/search" in deployed.copies.notes.notes


def test_a_problem_fails_the_run_after_its_counts(
    deployed: Operated, quarter: LambdaContext, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed.fails.add("search")
    with pytest.raises(maintenance.MaintenanceFailed, match="search is out"):
        maintenance.handler({"task": "verify"}, quarter)
    assert '"Processor": "audit"' in capsys.readouterr().out


@pytest.mark.parametrize("event", [{}, {"task": "tidy"}])
def test_an_unknown_task_is_refused(
    event: dict[str, Any], deployed: Operated, quarter: LambdaContext
) -> None:
    with pytest.raises(maintenance.MaintenanceFailed, match="expected verify or purge"):
        maintenance.handler(event, quarter)


def test_a_missing_setting_is_named(
    deployed: Operated, quarter: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIFY_SHARE", "0")
    maintenance.settings.cache_clear()
    with pytest.raises(SettingsError, match="VERIFY_SHARE"):
        maintenance.handler({"task": "verify"}, quarter)
