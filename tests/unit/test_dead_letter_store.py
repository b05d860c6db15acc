"""Opening dead letters: Lambda's, our own, and what only looks like one."""

import json
from typing import Any

import pytest

from dynamodb_streams_cdc import Change
from dynamodb_streams_cdc.dead_letters import DeadLetter
from dynamodb_streams_cdc.errors import MalformedRecord, PermanentError
from dynamodb_streams_cdc.identity import item_id
from dynamodb_streams_cdc.operations.dead_letter_store import (
    DeployedNames,
    ReadableDeadLetter,
    RecordIdentity,
    UnreadableDeadLetter,
    dead_letter_of_one_record,
    function_name,
    identify,
    parse_dead_letter,
)
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetterStore
from tests.contracts.dead_letter_store import DeadLetterStoreContract
from tests.factories import LABEL, NOON, SOURCE, order, record
from tests.fake_pipeline import ARNS, NAMES, given_up, item, lambdas_key, placed

KEY = lambdas_key("a")
OWN = "dead-letters/search/0a/0001.json"
LOG_VERSION = f"0001/{LABEL}/{7:040}"


class TestMemoryDeadLetterStore(DeadLetterStoreContract):
    @pytest.fixture
    def store(self) -> MemoryDeadLetterStore:
        return MemoryDeadLetterStore()

    def test_takes_the_dead_letters_of_processors_too(self) -> None:
        store = MemoryDeadLetterStore()
        dead_letter = of_processor(placed(1, 1))
        assert store.write(dead_letter)
        assert not store.write(dead_letter)
        [stored] = store.dead_letters()
        assert stored.key == f"dead-letters/search/{dead_letter.name}"
        assert stored.written_at == NOON
        opened = parse_dead_letter(stored.key, store.objects[stored.key], NAMES)
        assert isinstance(opened, ReadableDeadLetter)

    def test_takes_documents_of_lambda(self) -> None:
        store = MemoryDeadLetterStore()
        store.deliver(KEY, given_up([placed(1, 1)]))
        [stored] = store.dead_letters()
        assert stored.written_at == pytest.approx(1573755365.568)
        assert stored.size == len(store.objects[KEY])


def of_processor(
    body: dict[str, Any], error: Exception | None = None, *, unreadable: bool = False
) -> DeadLetter:
    return DeadLetter(
        processor="search",
        record=body,
        change=None if unreadable else Change.from_record(body, SOURCE),
        error=error or PermanentError("no such field", "mapper_parsing_exception"),
        written_at=NOON,
        request_id="5f6b",
        function_arn=ARNS["search"],
    )


def opened(key: str, document: object, names: DeployedNames = NAMES) -> ReadableDeadLetter:
    dead_letter = parse_dead_letter(key, json.dumps(document).encode(), names)
    assert isinstance(dead_letter, ReadableDeadLetter)
    return dead_letter


def shut(key: str, body: bytes) -> str:
    dead_letter = parse_dead_letter(key, body, NAMES)
    assert isinstance(dead_letter, UnreadableDeadLetter)
    assert dead_letter.problem.startswith(key)
    assert dead_letter.problem.endswith(".")
    return dead_letter.problem


class TestReadable:
    def test_a_batch_that_lambda_gave_up(self) -> None:
        records = [placed(1, 1), placed(2, 2)]
        dead_letter = opened(KEY, given_up(records))
        assert dead_letter.processor == "search"
        assert dead_letter.reason == "RecordAgeExceeded"
        assert dead_letter.error == "Unhandled"
        assert dead_letter.records == records
        assert dead_letter.identities == [
            RecordIdentity(item(1), f"{LABEL}/{'100000000003126276362':0>40}"),
            RecordIdentity(item(2), f"{LABEL}/{'200000000003126276362':0>40}"),
        ]

    def test_belongs_to_the_processor_of_its_function(self) -> None:
        assert opened(KEY, given_up([placed(1, 1)], "audit")).processor == "audit"

    def test_a_payload_that_is_an_object(self) -> None:
        dead_letter = opened(KEY, given_up([], payload={"Records": [placed(1, 1)]}))
        assert dead_letter.records == [placed(1, 1)]

    def test_without_an_invocation_there_is_no_error(self) -> None:
        document = given_up([placed(1, 1)])
        del document["responseContext"]
        assert opened(KEY, document).error == ""

    def test_a_function_with_version_or_alias(self) -> None:
        document = given_up([placed(1, 1)])
        document["requestContext"]["functionArn"] += ":live"
        assert opened(KEY, document).processor == "search"

    def test_a_dead_letter_of_a_processor(self) -> None:
        dead_letter = opened(OWN, of_processor(placed(3, 1)).envelope())
        assert (dead_letter.processor, dead_letter.reason) == ("search", "mapper_parsing_exception")
        assert dead_letter.error == "no such field"
        assert dead_letter.records == [placed(3, 1)]
        version = f"0001/{LABEL}/{'300000000003126276362':0>40}"
        assert dead_letter.identities == [RecordIdentity(item(1), version)]

    def test_an_unreadable_record(self) -> None:
        error = MalformedRecord("Keys: expected an object")
        document = of_processor({"eventID": "x"}, error, unreadable=True).envelope()
        dead_letter = opened("dead-letters/search/unreadable/0a.json", document)
        assert dead_letter.records == [{"eventID": "x"}]
        assert dead_letter.identities == [None]
        assert dead_letter.reason == "MalformedRecord"


WHOLE = json.dumps(given_up([placed(1, 1)])).encode()


def without(name: str) -> bytes:
    document = given_up([placed(1, 1)])
    del document[name]
    return json.dumps(document).encode()


def carrying(payload: object) -> bytes:
    return json.dumps(given_up([], payload=payload)).encode()


class TestUnreadable:
    @pytest.mark.parametrize(
        ("body", "why"),
        [
            (b"", "it is not JSON"),
            (b"\xff\xfe\x00", "it is not JSON"),
            (WHOLE[:-200], "truncated"),
            (b"[" * 100_000, "it is not JSON"),
            (b"[1, 2]", "a JSON list, not an object"),
            (b"{}", "has no payload"),
            (without("payload"), "keeps records for 24 hours"),
            (carrying(None), "keeps records for 24 hours"),
            (carrying('{"Records": ['), "its payload is not JSON"),
            (carrying("7"), "no list of records"),
            (carrying('{"Records": []}'), "no list of records"),
            (carrying({"Records": "all"}), "no list of records"),
            (carrying({"Records": [placed(1, 1), "x"]}), "Records[1] is text"),
            (carrying({"Records": [None]}), "Records[0] is nothing"),
            (without("requestContext"), "names no function"),
        ],
    )
    def test_names_the_fault_and_the_fix(self, body: bytes, why: str) -> None:
        problem = shut(KEY, body)
        assert why in problem
        assert any(way in problem for way in ("cdc dead-letters show", "delete it"))

    @pytest.mark.parametrize("cut", range(1, len(WHOLE), 37))
    def test_truncated_anywhere(self, cut: int) -> None:
        shut(KEY, WHOLE[:cut])

    def test_of_a_deleted_function(self) -> None:
        arn = "arn:aws:lambda:us-east-1:000000000000:function:cdc-old-search"
        problem = shut(KEY, json.dumps(given_up([placed(1, 1)], arn)).encode())
        assert "function cdc-old-search, which is not deployed" in problem
        assert "cdc-sandbox-audit, cdc-sandbox-search" in problem
        assert "--as" in problem

    @pytest.mark.parametrize("name", ["billing", None, 7, ["search"]])
    def test_of_a_processor_that_is_not_deployed(self, name: object) -> None:
        document: Any = of_processor(placed(1, 1)).envelope()
        document["dead_letter"]["processor"] = name
        problem = shut("dead-letters/billing/0a/1.json", json.dumps(document).encode())
        assert f"is for processor {name!r}" in problem
        assert "audit, search" in problem

    def test_its_processor_comes_from_its_key(self) -> None:
        for key, processor in (("dead-letters/audit/0a/1.json", "audit"), (KEY, "")):
            dead_letter = parse_dead_letter(key, b"", NAMES)
            assert isinstance(dead_letter, UnreadableDeadLetter)
            assert dead_letter.processor == processor

    def test_a_successor_takes_only_orphans(self) -> None:
        names = DeployedNames(NAMES.processors, NAMES.tables, successor="audit")
        orphan = given_up([placed(1, 1)], "arn:aws:lambda:us-east-1:0:function:gone")
        assert opened(KEY, orphan, names).processor == "audit"
        assert opened(KEY, given_up([placed(1, 1)]), names).processor == "search"
        document = of_processor(placed(1, 1)).envelope()
        document["dead_letter"]["processor"] = "billing"
        assert opened("dead-letters/billing/1", document, names).processor == "audit"


class TestIdentity:
    def test_of_a_record_of_the_change_log(self) -> None:
        keys = {"item": item(1), "version": LOG_VERSION}
        found = identify(record(1, None, keys, keys=("item", "version")), {})
        assert found == RecordIdentity(item(1), LOG_VERSION)

    @pytest.mark.parametrize(
        ("name", "version", "tables"),
        [
            ("a", "1", {}),
            ("a", LOG_VERSION, {}),
            (item(1), "1", {}),
            (item(1), LOG_VERSION, {"orders-1A2B": "docs"}),
        ],
    )
    def test_of_a_table_with_the_key_names_of_the_log(
        self, name: str, version: str, tables: dict[str, str]
    ) -> None:
        keys = {"item": name, "version": version}
        found = identify(record(1, None, keys, keys=("item", "version")), tables)
        assert found is not None
        table = tables.get("orders-1A2B", "orders-1A2B")
        assert found.item == item_id(table, keys)
        assert found.version.startswith(f"{LABEL}/")

    def test_a_table_without_a_logical_name(self) -> None:
        found = identify(placed(1, 1), {})
        assert found is not None
        assert found.item == "orders-1A2B/S=00001/S=00001-0001"

    @pytest.mark.parametrize(
        "broken",
        [
            {},
            {"dynamodb": None},
            {"dynamodb": {"Keys": "x"}},
            {**placed(1, 1), "eventSourceARN": None},
            {**placed(1, 1), "eventSourceARN": "arn:aws:dynamodb:x:table/a b/stream/" + LABEL},
            record(1, None, order(), SequenceNumber=None) | {"dynamodb": {"Keys": {}}},
            {**placed(1, 1), "dynamodb": {**placed(1, 1)["dynamodb"], "SequenceNumber": "7/8"}},
            {**placed(1, 1), "dynamodb": {**placed(1, 1)["dynamodb"], "Keys": {"id": {"N": "x"}}}},
        ],
    )
    def test_of_an_unreadable_record(self, broken: dict[str, Any]) -> None:
        assert identify(broken, {}) is None

    def test_the_name_of_a_function(self) -> None:
        assert function_name(ARNS["audit"]) == "cdc-sandbox-audit"
        assert function_name(f"{ARNS['audit']}:7") == "cdc-sandbox-audit"
        assert function_name("cdc-sandbox-audit") == "cdc-sandbox-audit"


class TestDeadLetterOfARecord:
    def test_equals_the_one_of_the_processor(self) -> None:
        batch = opened(KEY, given_up([placed(1, 1), placed(2, 2)]))
        change = Change.from_record(batch.records[1], SOURCE)
        identity = RecordIdentity(change.item_id, change.version)
        key, document = dead_letter_of_one_record(
            batch, 1, identity, "ValueError", "no poison", NOON
        )
        own = of_processor(placed(2, 2), ValueError("no poison"))
        assert key == f"dead-letters/search/{own.name}"
        written = own.envelope()
        written["requestContext"]["requestId"] = "316aa6d0-8154-xmpl-9af7-85d5f4a6bc81"
        assert document == written
        again = opened(key, document)
        assert again.records == [placed(2, 2)]
        assert again.identities == [identity]

    def test_of_an_unreadable_record(self) -> None:
        body = {"eventID": "x"}
        batch = opened(KEY, given_up([placed(1, 1), body]))
        key, document = dead_letter_of_one_record(batch, 1, None, "MalformedRecord", "Keys", NOON)
        own = of_processor(body, unreadable=True)
        assert key == f"dead-letters/search/{own.name}"
        assert opened(key, document).records == [body]
