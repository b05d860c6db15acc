"""The declaration of a table: which items it takes, and which declarations it refuses."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_streams_cdc.entities import (
    DeclarationError,
    Entity,
    Expiry,
    Index,
    KeyPattern,
    Table,
    anything_but,
    exactly,
    starts_with,
    tables_of,
)
from dynamodb_streams_cdc.sinks.aggregation import Aggregation
from dynamodb_streams_cdc.testing.memory import MemoryLedger
from lambdas import example_domain

KEYS = {"pk": "S", "sk": "S"}


def nothing(image: Any) -> dict[str, Any]:
    return {}


def table(*entities: Entity, **others: Any) -> Table:
    return Table("things", **{"keys": KEYS, "entities": entities, **others})


def fields(**properties: Any) -> Index:
    return Index(name="things", properties=properties)


any_of: Any = Entity
an_index: Any = Index

texts = st.text(alphabet="ab#", min_size=1, max_size=3)
patterns = st.builds(
    lambda make, values: make(*values),
    st.sampled_from([exactly, anything_but, starts_with]),
    st.lists(texts, min_size=1, max_size=2),
)


@given(patterns, patterns, st.lists(st.text(alphabet="ab#", max_size=4), max_size=50))
def test_a_text_that_fits_two_patterns_proves_their_overlap(
    one: KeyPattern, other: KeyPattern, values: list[str]
) -> None:
    candidates = {*values, *one.values, *other.values, *(v + "a" for v in one.values)}
    if any(one.matches(value) and other.matches(value) for value in candidates):
        assert one.overlaps(other)
        assert other.overlaps(one)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        (exactly("A"), exactly("A", "B"), True),
        (exactly("A"), exactly("B"), False),
        (exactly("A"), anything_but("A"), False),
        (exactly("A", "B"), anything_but("A"), True),
        (exactly("ORDER#1"), starts_with("ORDER#"), True),
        (exactly("PROFILE"), starts_with("ORDER#"), False),
        (starts_with("OR"), starts_with("ORDER#"), True),
        (starts_with("ORDER#"), starts_with("CUSTOMER#"), False),
        (anything_but("A"), anything_but("B"), True),
        (anything_but("A"), starts_with("A"), True),
    ],
)
def test_patterns_overlap_if_a_text_fits_both(
    one: KeyPattern, other: KeyPattern, overlap: bool
) -> None:
    assert one.overlaps(other) is other.overlaps(one) is overlap


def test_an_item_is_of_the_entity_that_its_keys_fit() -> None:
    order = Entity("order", keys={"sk": starts_with("ORDER#")})
    customer = Entity("customer", keys={"pk": starts_with("C#"), "sk": exactly("PROFILE")})
    things = table(order, customer)
    assert things.entity_of({"pk": "C#1", "sk": "ORDER#1", "total": Decimal(1)}) is order
    assert things.entity_of({"pk": "C#1", "sk": "PROFILE"}) is customer
    assert things.entity_of({"pk": "D#1", "sk": "PROFILE"}) is None
    assert things.entity_of({"pk": "C#1", "sk": "INVOICE#1"}) is None


@pytest.mark.parametrize(
    ("declare", "sentence"),
    [
        (
            lambda: table(Entity("a", keys={"sk": starts_with("A")}), Entity("b")),
            "a key can fit both entity 'a' and entity 'b': give them `keys` that exclude each",
        ),
        (
            lambda: table(
                Entity("a", keys={"pk": exactly("A")}), Entity("b", keys={"sk": exactly("B")})
            ),
            "a key can fit both entity 'a' and entity 'b'",
        ),
        (
            lambda: table(Entity("a", keys={"id": exactly("A")})),
            "has a pattern for 'id', which the table does not have as a key: its keys are pk, sk",
        ),
        (
            lambda: table(Entity("a", keys={"sk": exactly("1")}), keys={"pk": "S", "sk": "N"}),
            "which is of type N: a pattern is for text (S); leave it out, any value fits",
        ),
        (
            lambda: table(Entity("a", keys={"sk": exactly("1")}), Entity("a")),
            "two entities are named 'a': rename one",
        ),
        (lambda: table(), "`entities` is empty: declare at least one"),
        (lambda: table(Entity("a"), keys={}), "`keys` must have one or two attributes"),
        (lambda: table(Entity("a"), keys={"pk": "X"}), "with their types S, N or B"),
        (lambda: table(Entity("a"), unknown="drop"), "one of ignore, dead-letter, got 'drop'"),
        (
            lambda: table(Entity("a"), stack="My Stack"),
            "`stack` must be `pipeline`, or",
        ),
        (lambda: Table("a b", keys={"pk": "S"}, entities=[Entity("a")]), "logical name is 1 to"),
        (lambda: Entity("Order"), "entity 'Order': its name must begin with a-z"),
        (
            lambda: Entity("a", index=Index(name="things")),
            "entity 'a': it has `index` without `document`: a document needs an index",
        ),
        (
            lambda: Entity("a", document=nothing),
            "entity 'a': it has `document` without `index`",
        ),
        (lambda: Entity("a", sinks={"search": nothing}), "'search' under `sinks` is not the name"),
        (lambda: Index(name="Things"), "an index's name is 1 to 201 of a-z 0-9 _ -"),
        (lambda: Index(name="things-v1"), "ends neither in -write nor in -v and digits"),
        (lambda: Index(name="things-write"), "ends neither in -write nor in -v and digits"),
        (lambda: Index(name="things-second"), "nor in -second or -own"),
        (lambda: Index(name="things-v1-own"), "nor in -second or -own"),
        (lambda: fields(at={"typ": "date"}), "index 'things': field 'at' must be a mapping with"),
        (lambda: fields(at="date"), "field 'at' must be a mapping with a type"),
        (
            lambda: fields(at={"type": "dat"}),
            "field 'at' has the type 'dat', and OpenSearch has 'date'",
        ),
        (
            lambda: Index(name="things", properties={"": {"type": "date"}}),
            "a text that is not empty",
        ),
        (
            lambda: fields(lines={"properties": {"price": {"type": 7}}}),
            "field 'lines.price' must be a mapping with a type",
        ),
        (
            lambda: fields(lines={"properties": {"title": {"type": "string"}}}),
            "field 'lines.title' has the type 'string', and OpenSearch has 'keyword'",
        ),
        (
            lambda: fields(price={"type": "scaled_float"}),
            "field 'price' is a scaled_float, which needs a scaling_factor greater than 0",
        ),
        (lambda: fields(price={"type": "scaled_float", "scaling_factor": 0}), "greater than 0"),
        (lambda: fields(price={"type": "scaled_float", "scaling_factor": True}), "greater than 0"),
        (lambda: fields(price={"type": "scaled_float", "scaling_factor": "inf"}), "greater than 0"),
        (
            lambda: fields(title={"type": "text", "fields": {"raw": {"typ": "keyword"}}}),
            "field 'title.raw' must be a mapping with a type",
        ),
        (
            lambda: an_index(name="things", properties=["at"]),
            "index 'things': `properties` must be a mapping",
        ),
        (
            lambda: an_index(name="things", settings=1),
            "index 'things': `settings` must be a mapping",
        ),
        (lambda: exactly(), "a key's pattern has one or more texts that are not empty, got ()"),
        (lambda: starts_with("A", ""), "a key's pattern has one or more texts that are not empty"),
        (
            lambda: table(
                Entity("a", {"sk": exactly("A")}, document=nothing, index=Index(name="same")),
                Entity(
                    "b",
                    {"sk": exactly("B")},
                    document=nothing,
                    index=Index(name="same", properties={"x": {"type": "long"}}),
                ),
            ),
            "two indexes are named 'same' and differ: share one `Index`, or give each a name",
        ),
    ],
)
def test_a_wrong_declaration_is_refused(declare: Callable[[], object], sentence: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        declare()
    assert sentence in str(refused.value)


def test_a_field_may_have_a_type_or_fields() -> None:
    inner = {"type": "nested", "properties": {"n": {"type": "scaled_float", "scaling_factor": 100}}}
    index = fields(
        lines=inner,
        head={"properties": {}},
        raw={"type": "object", "enabled": False},
        kept={"enabled": False},
        price={"type": "scaled_float", "scaling_factor": "100"},
    )
    assert set(index.properties) == {"lines", "head", "raw", "kept", "price"}


a_table: Any = Table
text: Any = "text"
MISTYPED: list[tuple[Callable[[], object], str]] = [
    (lambda: exactly(5), "one or more texts that are not empty, got (5,)"),  # type: ignore[arg-type]
    (lambda: exactly(["A", "B"]), "texts that are not empty, got (['A', 'B'],)"),  # type: ignore[arg-type]
    (lambda: starts_with(("A", "B")), "texts that are not empty, got (('A', 'B'),)"),  # type: ignore[arg-type]
    (lambda: any_of("a", keys={"sk": "A"}), "entity 'a': `keys` must be a mapping from attributes"),
    (lambda: any_of("a", keys=["sk"]), "such as {'sk': exactly('A')}; got ['sk']"),
    (lambda: any_of(None), "entity None: its name must begin with a-z"),
    (lambda: any_of("a", contributions={"x": 1}), "`contributions` must be a function of an item"),
    (lambda: any_of("a", document=text, index=Index(name="i")), "`document` must be a function"),
    (lambda: any_of("a", document=dict, index="i"), "`index` must be an Index(name=...); got 'i'"),
    (lambda: any_of("a", audited="no"), "`audited` must be True or False; got 'no'"),
    (lambda: any_of("a", expiry="later"), "`expiry` must be Expiry.DROP or Expiry.KEEP; got"),
    (lambda: any_of("a", sinks=["sql"]), "`sinks` must be a mapping from sinks to functions"),
    (lambda: any_of("a", sinks={"sql": "x"}), "got {'sql': 'x'}"),
    (lambda: Index(name=None), "an index's name is 1 to 201"),  # type: ignore[arg-type]
    (lambda: a_table(None, KEYS, [Entity("a")]), "logical name is 1 to 255"),
    (
        lambda: a_table("t", ["pk", "sk"], [Entity("a")]),
        "such as {'pk': 'S', 'sk': 'S'}; got ['pk'",
    ),
    (lambda: a_table("t", {"pk": ["S"]}, [Entity("a")]), "`keys` must have one or two attributes"),
    (lambda: a_table("t", {"": "S"}, [Entity("a")]), "`keys` must have one or two attributes"),
    (lambda: a_table("t", KEYS, Entity("a")), "(Entity(...),) with a comma for one; got Entity("),
    (lambda: a_table("t", KEYS, ["a"]), "`entities` must be a tuple of entities"),
    (lambda: table(Entity("a"), expires_by=5), "`expires_by` must be the name of an attribute"),
    (lambda: table(Entity("a"), actor_attribute=""), "`actor_attribute` must be the name of an"),
    (lambda: table(Entity("a"), stack=None), "`stack` must be `pipeline`"),
    (lambda: table(Entity("a"), stack="pipeline-" + "a" * 92), "at most 100 characters"),
    (lambda: table(Entity("a", audited=False)), "table 'things': no entity has a copy: give one"),
    (lambda: tables_of(table(Entity("a"))), "(Table(...),) with a comma for one; got Table"),
    (lambda: tables_of([Entity("a")]), "TABLES must be a tuple of tables"),
]


@pytest.mark.parametrize(("declare", "sentence"), MISTYPED)
def test_a_value_of_another_type_is_refused(declare: Callable[[], object], sentence: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        declare()
    assert sentence in str(refused.value)


@pytest.mark.parametrize("expiry", ["keep", Expiry.KEEP])
def test_expiry_may_be_given_by_its_value(expiry: Any) -> None:
    assert Entity("a", expiry=expiry).expiry is Expiry.KEEP
    assert Aggregation(MemoryLedger(), nothing, expiry).retains


def test_entities_may_share_an_index() -> None:
    shared = Index(name="all")
    things = table(
        Entity("a", {"sk": exactly("A")}, document=nothing, index=shared),
        Entity("b", {"sk": exactly("B")}, document=nothing, index=shared),
        Entity("c", {"sk": exactly("C")}),
    )
    assert things.indexes == (shared,)


def test_a_sink_has_the_entities_that_use_it() -> None:
    both = Entity("both", {"sk": exactly("A")}, contributions=nothing, audited=False)
    one = Entity("one", {"sk": exactly("B")}, sinks={"sql": nothing})
    things = table(both, one)
    assert [e.name for e in things.using("aggregation")] == ["both"]
    assert [e.name for e in things.using("audit")] == ["one"]
    assert [e.name for e in things.using("sql")] == ["one"]
    assert things.using("search") == ()
    assert things.further_sinks == ("sql",)


def test_the_example_domain_has_orders_and_customers() -> None:
    [shop] = example_domain.TABLES
    keys = {"customer_id": "00004", "order_id": "00004-0001"}
    found = [shop.entity_of(each) for each in (keys, {**keys, "order_id": "PROFILE"})]
    assert [entity and entity.name for entity in found] == ["order", "customer"]
    assert [index.name for index in shop.indexes] == ["orders", "customers"]
