"""Each processor reads a stream that has room, and gets the records of its items."""

import json
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamodb_streams_cdc import Change, Source
from dynamodb_streams_cdc.canary import canary_item, is_canary
from dynamodb_streams_cdc.deserializer import deserialize_item
from dynamodb_streams_cdc.entities import (
    AGGREGATION,
    AUDIT,
    SEARCH,
    DeclarationError,
    Entity,
    Index,
    KeyPattern,
    Table,
    anything_but,
    exactly,
    starts_with,
)
from dynamodb_streams_cdc.esm.filters import FILTER_QUOTA, FilterCriteria
from dynamodb_streams_cdc.esm.lint import lint
from dynamodb_streams_cdc.names import CANARY
from dynamodb_streams_cdc.sinks.log_entries import entry_of
from stacks.constructs.change_feed import FeedKind, TooManyReadersError
from stacks.feeds import patterns, plan
from tests.factories import as_delivered, record

INDEX = Index(name="things")
STREAMS: tuple[FeedKind, ...] = ("table", "change-log")
STATES: tuple[tuple[int, int], ...] = ((0, 1), (1, 2), (1, 0))
"""Before and after of an insertion, a modification and a removal; 0 for no item."""


def entity(
    name: str,
    keys: Mapping[str, KeyPattern] | None = None,
    *,
    sums: bool = True,
    searched: bool = True,
    audited: bool = True,
    further: tuple[str, ...] = (),
) -> Entity:
    return Entity(
        name,
        keys=keys or {},
        contributions=(lambda image: {}) if sums else None,
        document=(lambda image: {}) if searched else None,
        index=INDEX if searched else None,
        audited=audited,
        sinks={sink: (lambda image: None) for sink in further},
    )


def table(*entities: Entity, **others: Any) -> Table:
    keys = others.pop("keys", {"pk": "S", "sk": "S"})
    return Table("things", keys=keys, entities=entities, **others)


def records(keys: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the stream records of an item's insertion, modification and removal."""
    states = [None, {**keys, "state": 1}, {**keys, "state": 2}]
    for number, (before, after) in enumerate(STATES):
        yield record(number + 1, states[before], states[after], keys=tuple(keys))


def logged(record_: dict[str, Any]) -> dict[str, Any]:
    """Return the record of the change log's stream for a record of the table's."""
    entry = entry_of(Change.from_record(record_, Source("things")))
    image = as_delivered(deserialize_item(entry, "entry"))
    return {**record_, "eventName": "INSERT", "dynamodb": {"NewImage": image, "Keys": {}}}


def filters_of(declared: Table, sink: str, kind: FeedKind) -> FilterCriteria:
    """Return the filters of a sink's mapping, which AWS accepts and of which each can match."""
    texts = tuple(map(json.dumps, patterns(declared, sink, kind)))
    assert len(texts) <= FILTER_QUOTA
    assert [warning for text in texts for warning in lint(text)] == []
    return FilterCriteria(texts)


def reaches(criteria: FilterCriteria, kind: FeedKind, keys: Mapping[str, Any]) -> bool:
    """Return whether the item's records pass; they must agree."""
    passed = {criteria.matches(r if kind == "table" else logged(r)) for r in records(keys)}
    assert len(passed) == 1
    return passed.pop()


def canary_of(declared: Table) -> dict[str, Any]:
    keys = deserialize_item(canary_item(declared.keys, 1.0), "canary")
    return {name: keys[name] for name in declared.keys}


class TestPlan:
    @pytest.mark.parametrize(
        ("readers", "expected"),
        [
            (2, {AUDIT: "table", AGGREGATION: "table", SEARCH: "change-log"}),
            (1, {AUDIT: "table", AGGREGATION: "change-log", SEARCH: "change-log"}),
        ],
    )
    def test_the_change_log_relieves_the_table(
        self, readers: int, expected: dict[str, FeedKind]
    ) -> None:
        declared = table(entity("thing"))
        assert plan(declared, [AGGREGATION, AUDIT, SEARCH], readers) == expected

    def test_both_readers_taken(self) -> None:
        with pytest.raises(TooManyReadersError) as refused:
            plan(table(entity("thing")), [AGGREGATION, AUDIT, SEARCH], 0)
        assert str(refused.value) == (
            "Table 'things': audit must read its stream, which serves 0 of this app's processors "
            "per shard: remove another reader of the stream, or fan out through Kinesis Data "
            "Streams."
        )

    def test_an_unaudited_entity_keeps_its_sinks_at_the_table(self) -> None:
        declared = table(
            entity("thing", {"sk": exactly("A")}),
            entity("secret", {"sk": exactly("B")}, searched=False, audited=False),
        )
        feeds = plan(declared, [AGGREGATION, AUDIT, SEARCH], 2)
        assert feeds == {AGGREGATION: "table", AUDIT: "table", SEARCH: "change-log"}
        with pytest.raises(TooManyReadersError, match="audit secret, so that the others can read"):
            plan(declared, [AGGREGATION, AUDIT, SEARCH], 1)

    def test_without_audit_there_is_no_change_log(self) -> None:
        declared = table(entity("thing", audited=False))
        assert plan(declared, [AGGREGATION, SEARCH], 2) == {AGGREGATION: "table", SEARCH: "table"}

    def test_three_behind_the_change_log_are_too_many(self) -> None:
        declared = table(entity("thing", further=("mail", "sql")))
        with pytest.raises(TooManyReadersError, match=r"mail, sql, search would all read the"):
            plan(declared, [AGGREGATION, AUDIT, SEARCH, "mail", "sql"], 2)

    def test_a_further_sink_takes_the_place_of_the_aggregation(self) -> None:
        declared = table(entity("thing", sums=False, further=("sql",)))
        feeds = plan(declared, [AUDIT, SEARCH, "sql"], 2)
        assert feeds == {AUDIT: "table", "sql": "table", SEARCH: "change-log"}


ORDER_AND_CUSTOMER = (
    entity("order", {"sk": anything_but("PROFILE")}, searched=False),
    entity("customer", {"sk": exactly("PROFILE")}, sums=False),
)
MANY = tuple(entity(f"e{n}", {"pk": starts_with(f"{n}#"), "sk": exactly("X")}) for n in range(5))
SPLIT = (
    entity("order", {"pk": starts_with("C#"), "sk": starts_with("O#")}),
    entity("profile", {"pk": starts_with("C#"), "sk": exactly("P")}, sums=False),
    entity("product", {"pk": starts_with("P#", "Q#")}, searched=False),
)
# Declaration, sink, keys of an item, and whether its records reach the function.
CASES: Mapping[str, tuple[Table, str, Mapping[str, Any], bool]] = {
    "wanted by anything-but": (
        table(*ORDER_AND_CUSTOMER),
        AGGREGATION,
        {"pk": "1", "sk": "7"},
        True,
    ),
    "excluded": (table(*ORDER_AND_CUSTOMER), AGGREGATION, {"pk": "1", "sk": "PROFILE"}, False),
    "wanted by exactly": (table(*ORDER_AND_CUSTOMER), SEARCH, {"pk": "1", "sk": "PROFILE"}, True),
    "not exactly": (table(*ORDER_AND_CUSTOMER), SEARCH, {"pk": "1", "sk": "PROFILES"}, False),
    "every item is of an entity": (table(*ORDER_AND_CUSTOMER), AUDIT, {"pk": "1", "sk": "x"}, True),
    "two keys": (table(*SPLIT), SEARCH, {"pk": "C#1", "sk": "O#1"}, True),
    "two keys, one differs": (table(*SPLIT), AGGREGATION, {"pk": "C#1", "sk": "P"}, False),
    "second prefix": (table(*SPLIT), AGGREGATION, {"pk": "Q#1", "sk": "P"}, True),
    "of no entity": (table(*SPLIT), AUDIT, {"pk": "X#1", "sk": "O#1"}, False),
    "of no entity, dead-lettered": (
        table(*SPLIT, unknown="dead-letter"),
        AUDIT,
        {"pk": "X#1", "sk": "O#1"},
        True,
    ),
    "more patterns than a mapping has": (table(*MANY), AUDIT, {"pk": "9#", "sk": "Y"}, True),
    "five with the canary": (table(*MANY[:4]), AUDIT, {"pk": "9#", "sk": "Y"}, False),
    "a longer pattern than a mapping has": (
        table(entity("thing", {"sk": exactly(*(f"{n:040}" for n in range(100)))})),
        AUDIT,
        {"pk": "1", "sk": "Y"},
        True,
    ),
    "a number as sort key": (
        table(entity("thing", {"pk": starts_with("T#")}), keys={"pk": "S", "sk": "N"}),
        AUDIT,
        {"pk": "T#1", "sk": 7},
        True,
    ),
    "another with a number": (
        table(entity("thing", {"pk": starts_with("T#")}), keys={"pk": "S", "sk": "N"}),
        AUDIT,
        {"pk": "U#1", "sk": 7},
        False,
    ),
    "a number as partition key": (
        table(entity("thing", {"sk": exactly("T")}), keys={"pk": "N", "sk": "S"}),
        AUDIT,
        {"pk": 7, "sk": "T"},
        True,
    ),
    "binary keys": (table(entity("thing"), keys={"pk": "B"}), AUDIT, {"pk": b"\x00"}, True),
}


class TestPatterns:
    @pytest.mark.parametrize("case", CASES)
    def test_records_reach_the_functions_that_hold_their_items(self, case: str) -> None:
        declared, sink, keys, wanted = CASES[case]
        assert reaches(filters_of(declared, sink, "table"), "table", keys) is wanted
        if sink != AUDIT:
            all_logged = len(declared.using(sink)) == len(declared.using(AUDIT))
            assert reaches(filters_of(declared, sink, "change-log"), "change-log", keys) is (
                wanted or all_logged
            )

    @pytest.mark.parametrize("case", CASES)
    def test_the_canary_passes(self, case: str) -> None:
        declared, sink, _, _ = CASES[case]
        canary = canary_of(declared)
        if is_canary(canary):
            assert reaches(filters_of(declared, sink, "table"), "table", canary) is True
            assert reaches(filters_of(declared, sink, "change-log"), "change-log", canary) is True

    @pytest.mark.parametrize(
        ("entities", "filtered"),
        [
            ((entity("any"),), False),
            (ORDER_AND_CUSTOMER, False),
            (
                (entity("a", {"sk": exactly("A")}), entity("b", {"sk": anything_but("A", "B")})),
                True,
            ),
            (
                (entity("a", {"sk": exactly("A", "B")}), entity("b", {"sk": anything_but("A")})),
                None,
            ),
            ((entity("a", {"sk": starts_with("A")}),), True),
            (
                (
                    entity("a", {"pk": exactly("A")}),
                    entity("b", {"pk": anything_but("A"), "sk": exactly("B")}),
                ),
                True,
            ),
        ],
    )
    def test_no_filter_if_the_entities_cover_every_key(
        self, entities: tuple[Entity, ...], filtered: bool | None
    ) -> None:
        if filtered is None:
            with pytest.raises(DeclarationError):
                table(*entities)
            return
        assert bool(patterns(table(*entities), AUDIT, "table")) is filtered

    def test_the_change_log_s_stream_is_read_for_insertions_only(self) -> None:
        assert patterns(table(entity("thing")), SEARCH, "change-log") == [{"eventName": ["INSERT"]}]
        (only,) = patterns(table(*ORDER_AND_CUSTOMER), SEARCH, "change-log")
        assert only == {
            "eventName": ["INSERT"],
            "dynamodb": {"NewImage": {"keys": {"M": {"sk": {"S": ["PROFILE", CANARY]}}}}},
        }

    def test_one_attribute_takes_one_pattern(self) -> None:
        entities = (
            entity("a", {"sk": starts_with("A#", "B#")}),
            entity("b", {"sk": exactly("C")}),
            entity("other", {"sk": exactly("D")}, sums=False),
        )
        (only,) = patterns(table(*entities), AGGREGATION, "table")
        rules = [{"prefix": "A#"}, {"prefix": "B#"}, "C", CANARY]
        assert only == {"dynamodb": {"Keys": {"sk": {"S": rules}}}}


TEXTS = st.sampled_from(["A", "AB", "B", "A#1", "B#1"])
SOME = st.lists(TEXTS, min_size=1, max_size=2).map(tuple)
KEY_PATTERNS = st.one_of(
    SOME.map(lambda texts: exactly(*texts)),
    SOME.map(lambda texts: anything_but(*texts)),
    SOME.map(lambda texts: starts_with(*texts)),
)
FLAGS = st.booleans()


@st.composite
def declarations(draw: st.DrawFn) -> Table | None:
    entities = tuple(
        entity(
            f"e{number}",
            draw(st.dictionaries(st.sampled_from(["pk", "sk"]), KEY_PATTERNS)),
            sums=draw(FLAGS),
            searched=draw(FLAGS),
        )
        for number in range(draw(st.integers(1, 6)))
    )
    try:
        return table(*entities)
    except DeclarationError:
        return None


@settings(max_examples=40, deadline=None)
@given(declarations().filter(lambda declared: declared is not None))
def test_filters_agree_with_the_declaration(declared: Table) -> None:
    """With filters, exactly the wanted items and the canary pass; without, every item does."""
    values = ("A", "AB", "B", "A#1", "B#1", "Z")
    for sink, kind in product((AGGREGATION, SEARCH), STREAMS):
        wanted = declared.using(sink)
        if not wanted:
            continue
        criteria = filters_of(declared, sink, kind)
        by_key = any("dynamodb" in text for text in criteria.patterns)
        for pk, sk in product(values, values):
            keys = {"pk": pk, "sk": sk}
            is_wanted = declared.entity_of(keys) in wanted
            if by_key or is_wanted:
                assert reaches(criteria, kind, keys) is is_wanted
        assert reaches(criteria, kind, canary_of(declared))
