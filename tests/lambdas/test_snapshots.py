"""A snapshot of SnapStart, which is of the loaded handler, keeps no state that has to be fresh."""

import os
import random
import subprocess
import sys

import pytest

from dynamodb_streams_cdc import Deadline
from dynamodb_streams_cdc.deadline import backoff
from lambdas import runtime
from lambdas.example_domain import TABLES
from lambdas.settings import Settings
from tests.lambdas.conftest import ENVIRONMENT

SETTINGS = Settings(
    pipeline="cdc-sandbox-pipeline",
    source_table="orders",
    epoch="0001",
    feed="table",
    processor="audit",
    dead_letter_bucket="dead-letters",
    dead_letter_prefix="dead-letters/audit/",
    attempts_table="idempotency",
)
HANDLERS = ("aggregation", "audit", "notifications", "search")
PREPARED = """
import importlib, sys
from lambdas import example_domain, runtime
runtime.TABLES = example_domain.TABLES
handler = importlib.import_module(f"lambdas.{sys.argv[1]}.handler")
assert handler.processor.cache_info().currsize == 1
"""
PROGRAM = """
import gc, importlib, os, socket, sys
handler = importlib.import_module(f"lambdas.{sys.argv[1]}.handler")
from botocore.client import BaseClient
from botocore.session import Session
from lambdas import runtime
kinds = (BaseClient, Session, socket.socket)
held = [type(each) for each in gc.get_objects() if isinstance(each, kinds)]
assert held == [], held
caches = [handler.processor, runtime.session, runtime.dynamodb, runtime.s3]
assert [each.cache_info().currsize for each in caches] == [0] * 4
"""


@pytest.mark.parametrize("name", HANDLERS)
def test_a_loaded_module_holds_no_client_or_setting(name: str) -> None:
    """Connections die while a snapshot waits, and credentials expire."""
    # No setting: it would raise to read one.
    kind = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
    environment = {"PATH": os.environ["PATH"], **kind}
    subprocess.run([sys.executable, "-c", PROGRAM, name], env=environment, check=True)


@pytest.mark.parametrize("name", HANDLERS)
def test_without_a_snapshot_a_loaded_module_has_its_processor(name: str) -> None:
    kind = {"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}
    environment = {"PATH": os.environ["PATH"], **ENVIRONMENT, **kind}
    subprocess.run([sys.executable, "-c", PREPARED, name], env=environment, check=True)


@pytest.mark.parametrize(("kind", "made"), [("on-demand", 1), ("snap-start", 0)])
def test_a_processor_is_made_on_loading_unless_for_a_snapshot(
    kind: str, made: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", kind)
    calls: list[None] = []
    runtime.prepare(lambda: calls.append(None))
    assert len(calls) == made


def test_environments_of_one_snapshot_draw_other_numbers() -> None:
    snapshot = random.getstate()

    def restored() -> list[float]:
        random.setstate(snapshot)
        runtime.build(SETTINGS, TABLES[0], {})
        return [backoff(attempt, Deadline().jitter) for attempt in range(3)]

    assert restored() != restored()
