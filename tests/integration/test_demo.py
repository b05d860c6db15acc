"""Demos on real services: the report names each damage of a sink, recovery, interrupts."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import urllib3
from rich.console import Console

from lambdas import example_domain
from lambdas.domain import TABLES
from local.console import DemoConsole
from local.demo import Options, main, run_demo
from local.deployed.dead_letters import read_dead_letters, remaining_notifications
from local.verify import compare
from tests.example_domain.told import told
from tests.integration.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.deployed.pipeline import Pipeline
    from local.verify import Comparison, Difference
    from local.workload.traffic import Written

ROOT = Path(__file__).parents[2]
ORDER = "orders/S=00004/S=00004-0002"
STRANGER = "orders/S=99999/S=99999-0001"
MONTH = "month#1997-01"


of_the_example = pytest.mark.skipif(
    TABLES != example_domain.TABLES,
    reason="lambdas/domain declares another domain than the example",
)


@dataclass
class Witness:
    """Results of the demo of this module."""

    status: int = -1
    output: str = ""
    written: Written | None = None
    reports: dict[str, Comparison] = field(default_factory=dict)
    inserts: list[dict[str, Any]] = field(default_factory=list)
    hidden: int = 0
    deleted: int = -1
    amended: str = ""


class Sinks:
    """Hands on the sinks of a deployed pipeline: each damage is undone when its `with` is left."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._client = pipeline.client
        [self.copies] = pipeline.tables
        resources = self.copies.resources
        assert resources.aggregates is not None
        assert resources.change_log is not None
        self._aggregates = resources.aggregates
        self._log = resources.change_log
        self._index = f"{pipeline.search.url}/{resources.indexes['orders']}-v1"
        self._http = urllib3.PoolManager()

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        response = self._http.request(method, f"{self._index}{path}", json=body)
        assert response.status < 300, response.data
        return json.loads(response.data)

    def _put(self, item: str, source: Any) -> None:
        self._ask("PUT", f"/_doc/{quote(item, safe='')}?refresh=true", source)

    @contextmanager
    def without_a_document(self) -> Iterator[None]:
        source = self._ask("GET", f"/_doc/{quote(ORDER, safe='')}")["_source"]
        self._ask("DELETE", f"/_doc/{quote(ORDER, safe='')}?refresh=true")
        yield
        self._put(ORDER, source)

    @contextmanager
    def with_a_stranger(self) -> Iterator[None]:
        self._put(STRANGER, {"status": "placed", "cdc": {"deleted": False, "item": STRANGER}})
        yield
        self._ask("DELETE", f"/_doc/{quote(STRANGER, safe='')}?refresh=true")

    @contextmanager
    def with_another_status(self) -> Iterator[None]:
        source = self._ask("GET", f"/_doc/{quote(ORDER, safe='')}")["_source"]
        self._put(ORDER, {**source, "status": "placed"})
        yield
        self._put(ORDER, source)

    @contextmanager
    def with_a_cent_more(self) -> Iterator[None]:
        self._add(Decimal("0.01"))
        yield
        self._add(Decimal("-0.01"))

    def _add(self, amount: Decimal) -> None:
        rows = self._client.query(
            TableName=self._aggregates,
            KeyConditionExpression="#aggregate = :aggregate",
            ExpressionAttributeNames={"#aggregate": "aggregate"},
            ExpressionAttributeValues={":aggregate": {"S": MONTH}},
        )["Items"]
        self._client.update_item(
            TableName=self._aggregates,
            Key={name: rows[0][name] for name in ("aggregate", "shard")},
            UpdateExpression="ADD revenue :amount",
            ExpressionAttributeValues={":amount": {"N": str(amount)}},
        )

    @contextmanager
    def without_a_middle_entry(self, item: str) -> Iterator[None]:
        entry = self.history(item)[1]
        key = {name: entry[name] for name in ("item", "version")}
        self._client.delete_item(TableName=self._log, Key=key)
        yield
        self._client.put_item(TableName=self._log, Item=entry)

    def history(self, item: str) -> list[dict[str, Any]]:
        return self._client.query(
            TableName=self._log,
            KeyConditionExpression="#item = :item",
            ExpressionAttributeNames={"#item": "item"},
            ExpressionAttributeValues={":item": {"S": item}},
        )["Items"]


def quiet_console() -> tuple[DemoConsole, io.StringIO]:
    output = io.StringIO()
    return DemoConsole(Console(file=output, width=160, highlight=False)), output


@pytest.fixture(scope="module")
def demo() -> Witness:
    """Runs one demo: when it is quiet, each damage is tried alone, and then some are left."""
    witness, left = Witness(), list[AbstractContextManager[None]]()
    console, output = quiet_console()

    def try_damages(pipeline: Pipeline, written: Written) -> None:
        sinks = Sinks(pipeline)
        witness.written = written
        witness.amended = max(written.effective, key=lambda item: written.effective[item])
        witness.hidden = len(list(sinks.copies.hidden("orders")))
        witness.deleted = sum(
            story.last is None and story.entity == example_domain.TABLES[0].entities[0]
            for story in told(60)
        )

        def report() -> Comparison:
            return compare(pipeline.tables, written.effective)

        damages: dict[str, Callable[[], AbstractContextManager[None]]] = {
            "document deleted": sinks.without_a_document,
            "document added": sinks.with_a_stranger,
            "document changed": sinks.with_another_status,
            "aggregate changed": sinks.with_a_cent_more,
            "entry dropped": lambda: sinks.without_a_middle_entry(witness.amended),
        }
        # A change that alters no count may still be under way at this moment.
        eventually(lambda: report().equal)
        witness.reports["untouched"] = report()
        witness.inserts = [entry for entry in sinks.copies.entries() if entry["kind"] == "INSERT"]
        for name, damage in damages.items():
            with damage():
                witness.reports[name] = report()
        witness.reports["restored"] = report()
        for name in ("document deleted", "document added", "aggregate changed", "entry dropped"):
            # Entered and never left: nothing is undone.
            left.append(damages[name]())
            left[-1].__enter__()

    witness.status = run_demo(Options(limit=60), console, try_damages)
    witness.output = output.getvalue()
    return witness


def only(witness: Witness, damage: str) -> tuple[Difference, ...]:
    return witness.reports[damage].differences


@of_the_example
def test_the_sinks_of_an_undamaged_demo_equal_the_table(demo: Witness) -> None:
    report = demo.reports["untouched"]

    assert report.differences == ()
    assert report.equal
    assert all(sink.compared for sink in report.sinks)
    assert demo.written is not None
    assert demo.written.without_effect > 0


@of_the_example
def test_the_log_has_each_purchase_of_the_file_once(demo: Witness) -> None:
    placed = [story.states[0] for story in told(60) if "total" in (story.states[0] or {})]
    orders = [entry["after"] for entry in demo.inserts if "total" in entry["after"]]

    assert len(orders) == len(placed) > 30
    assert sum(order["total"] for order in orders) == sum(each["total"] for each in placed if each)


@of_the_example
def test_cancelled_orders_are_tombstones_that_no_reader_sees(demo: Witness) -> None:
    assert demo.hidden == demo.deleted > 0


@of_the_example
def test_a_deleted_document_is_named(demo: Witness) -> None:
    named, counted = only(demo, "document deleted")

    assert (named.sink, named.kind, named.item) == ("search", "missing", ORDER)
    assert named.expected["total"] == Decimal("29.73")
    assert (counted.item, counted.expected - counted.found) == ("orders/_count", 1)


@of_the_example
def test_an_added_document_is_named(demo: Witness) -> None:
    named, counted = only(demo, "document added")

    assert (named.sink, named.kind, named.item) == ("search", "extra", STRANGER)
    assert counted.item == "orders/_count"


@of_the_example
def test_a_changed_document_is_named_with_its_field(demo: Witness) -> None:
    [named] = only(demo, "document changed")

    assert (named.item, named.field) == (ORDER, "status")
    assert (named.expected, named.found) == ("shipped", "placed")


@of_the_example
def test_an_aggregate_that_is_a_cent_off_is_named(demo: Witness) -> None:
    [named] = only(demo, "aggregate changed")

    assert (named.sink, named.item, named.field) == ("aggregation", MONTH, "revenue")
    assert named.found - named.expected == Decimal("0.01")


@of_the_example
def test_a_dropped_entry_of_a_history_is_named(demo: Witness) -> None:
    found = only(demo, "entry dropped")

    assert {(each.sink, each.item) for each in found} == {("audit", demo.amended)}
    [count] = [each for each in found if each.field == "number of entries"]
    assert count.expected - count.found == 1
    assert any(each.field.startswith("entry 2 of") for each in found)


@of_the_example
def test_restored_sinks_are_equal_again(demo: Witness) -> None:
    assert demo.reports["restored"].equal


@of_the_example
def test_a_damaged_demo_names_the_differences_and_fails(demo: Witness) -> None:
    assert demo.status == 1
    assert f"{ORDER} is missing; should be" in demo.output
    assert f"{STRANGER} should not be there" in demo.output
    assert f"{MONTH}: revenue should be" in demo.output
    assert f"{demo.amended}: number of entries should be" in demo.output
    assert "every sink equals the table" not in demo.output
    last = demo.output.strip().splitlines()[-1]
    assert last == "not equal to the table: aggregation, search, audit"


@of_the_example
def test_poison_becomes_dead_letters_and_is_redriven() -> None:
    """The commands are the real ones, in processes of their own."""
    console, output = quiet_console()
    during: dict[str, object] = {}

    def look(pipeline: Pipeline, written: Written) -> None:
        eventually(lambda: len(read_dead_letters(pipeline)) == 8)
        eventually(lambda: sum(remaining_notifications(pipeline).values()) == 8)
        during["processors"] = Counter(
            dead_letter.processor for dead_letter in read_dead_letters(pipeline)
        )
        during["notifications"] = remaining_notifications(pipeline)

    status = run_demo(Options(limit=40, poison=4), console, look)

    said = output.getvalue()
    assert status == 0, said
    assert during["processors"] == {"aggregation": 4, "search": 4}
    assert during["notifications"] == {
        ("orders", "aggregation"): 4,
        ("orders", "audit"): 0,
        ("orders", "search"): 4,
    }
    for sentence in (
        "aggregation: 4 dead letters, one for each of the 4 items",
        "search: 4 dead letters, one for each of the 4 items",
        "1 validation error for Order",
        '"after": {',
        "The sink holds nothing of it.",
        "Missing in aggregation and search: exactly the 4 poison items",
        "8 dead letters = 8 kept",
        "8 dead letters unchanged in the bucket",
        " items read, 4 defects corrected",
        "8 dead letters = 8 archived",
        "No dead letter and no notification is left",
    ):
        assert sentence in said
    assert said.strip().splitlines()[-1] == "every sink equals the table"


@of_the_example
def test_a_demo_in_an_existing_cluster_uses_its_own_index(opensearch_url: str) -> None:
    http = urllib3.PoolManager()
    earlier, theirs = "cdc-demo-0badcafe-v1", "orders-v1"
    for index in (earlier, theirs):
        http.request("PUT", f"{opensearch_url}/{index}/_doc/1?refresh=true", json={"mine": True})
    try:
        console, output = quiet_console()
        status = run_demo(Options(limit=20, search_url=opensearch_url), console)

        answer = http.request("GET", f"{opensearch_url}/_cat/indices?format=json")
        indices = {row["index"]: row["docs.count"] for row in json.loads(answer.data)}
        assert status == 0, output.getvalue()
        assert (indices[earlier], indices[theirs]) == ("1", "1")
        assert [name for name in indices if name.startswith("cdc-demo-")] == [earlier]
        assert f"remove it with curl -X DELETE {opensearch_url}/{earlier}" in output.getvalue()
    finally:
        for index in (earlier, theirs):
            http.request("DELETE", f"{opensearch_url}/{index}")


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:9200",
        "nowhere",
        "ftp://127.0.0.1:9200",
        "http://127.0.0.1:9200/path",
        "http://me:secret@127.0.0.1:9200",
        "http://[::1",
        "http://127.0.0.1:port",
    ],
)
def test_a_malformed_cluster_url_is_a_sentence(
    capsys: pytest.CaptureFixture[str], url: str
) -> None:
    assert main({"SEARCH_URL": url}) == 2
    assert f"SEARCH_URL={url}: expected a scheme, a host and a port" in capsys.readouterr().out


def test_a_cluster_that_does_not_answer_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main({"SEARCH_URL": "http://127.0.0.1:1/"}) == 1
    assert "No OpenSearch answers at http://127.0.0.1:1 (SEARCH_URL)" in capsys.readouterr().out


def test_something_else_than_opensearch_is_a_sentence(
    capsys: pytest.CaptureFixture[str], emulator_url: str
) -> None:
    assert main({"SEARCH_URL": emulator_url}) == 1
    assert "is not OpenSearch" in capsys.readouterr().out


def test_a_demo_with_chaos_ends_with_equal_sinks() -> None:
    console, output = quiet_console()
    status = run_demo(Options(limit=60, chaos=True, seed=7), console)
    shown = output.getvalue()
    assert status == 0, shown
    assert "every sink equals the table" in shown
    assert "OpenSearch is stopped" in shown
    assert "poller killed (SIGKILL) and started again" in shown


@pytest.mark.parametrize(
    ("moment", "sent", "chaos"),
    [
        ("Starting the services", signal.SIGINT, "0"),
        ("Starting the services", signal.SIGTERM, "0"),
        ("Deploying the app", signal.SIGTERM, "0"),
        ("Waiting for the sinks", signal.SIGINT, "0"),
        ("OpenSearch is stopped", signal.SIGTERM, "1"),
    ],
)
def test_an_interrupted_demo_leaves_nothing_behind(
    tmp_path: Path, moment: str, sent: signal.Signals, chaos: str
) -> None:
    """It has its own temporary folder, so a process or file that it leaves is found there."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "LIMIT": "60", "CHAOS": chaos}
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "local.demo"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        lines = []
        for line in demo.stdout:
            lines.append(line)
            if moment in line:
                demo.send_signal(sent)
                break
        lines += demo.stdout
        demo.wait(timeout=40)

    assert demo.returncode == 128 + sent, "".join(lines)
    assert "every service is stopped and its folder removed." in lines[-1]
    assert "Traceback" not in "".join(lines)
    with pytest.raises(ProcessLookupError):
        os.killpg(demo.pid, 0)
    assert list(tmp_path.iterdir()) == []
    left = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True)
    assert str(tmp_path) not in left.stdout
