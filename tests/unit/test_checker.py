"""The checker finds every damage of a copy of any domain, and equal copies are equal."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest

from dynamodb_streams_cdc.entities import Entity, Index, Table, exactly, starts_with
from dynamodb_streams_cdc.identity import item_id
from dynamodb_streams_cdc.sinks.aggregation import Expiry
from local.deployed.resources import Resources
from local.scenarios.probes import probes_of
from local.verify import Comparison, DeployedCopies, Difference, checks_of, compare, unchecked
from local.verify.aggregation import sums_of
from local.verify.audit import changes_of
from local.verify.items import keys_in
from local.verify.search import document_of
from local.workload.stories import ItemStory
from local.workload.traffic import Finished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Image = dict[str, Any]

ROOM_1 = "rooms/S=H1/N=1"
ROOM_2 = "rooms/S=H1/N=2"
GONE = "rooms/S=H1/N=3"
GUEST = "rooms/S=GUEST%2Fa/N=0"
LEFT = "rooms/S=GUEST%2Fb/N=0"
STRANGER = "rooms/S=?/N=1"


def contributions(image: Image) -> Any:
    return {f"hotel#{image['hotel']}": {"rooms": 1, "beds": image["beds"]}}


def room_document(image: Image) -> Any:
    if image.get("secret"):
        return None
    return {"beds": image["beds"], "price": image["price"], "tags": image["tags"]}


def guest_document(image: Image) -> Any:
    return {"name": image["name"], "key": image["key"]}


ROOM = Entity(
    "room",
    keys={"hotel": exactly("H1")},
    contributions=contributions,
    document=room_document,
    index=Index(name="rooms"),
)
GUESTS = Entity(
    "guest",
    keys={"hotel": starts_with("GUEST/")},
    document=guest_document,
    index=Index(name="guests"),
    audited=False,
)
TABLE = Table(
    "rooms", keys={"hotel": "S", "number": "N"}, entities=(ROOM, GUESTS), actor_attribute="by"
)


def room(number: int, **fields: Any) -> Image:
    image = {"hotel": "H1", "number": Decimal(number), "beds": Decimal(2), "by": "desk"}
    return {**image, "price": Decimal("9.50"), "tags": {"b", "a"}, **fields}


def guest(name: str) -> Image:
    return {"hotel": f"GUEST/{name}", "number": Decimal(0), "name": name, "key": b"\x00\x01"}


def entry(number: int, before: Image | None, after: Image | None) -> Image:
    image = after or before or {}
    keys = {name: image[name] for name in ("hotel", "number")}
    made: Image = {
        "item": item_id("rooms", keys),
        "version": f"0001/2026-01-01T00:00:00.000/{number:040d}",
        "table": "rooms",
        "kind": "INSERT" if before is None else "MODIFY" if after is not None else "REMOVE",
        "keys": keys,
        "expired": False,
    }
    if before is not None:
        made["before"] = copy.deepcopy(before)
    if after is not None:
        made |= {"after": copy.deepcopy(after), "actor": after.get("by")}
    if before is not None and after is not None:
        made["changed"] = [name for name in after if after[name] != before.get(name)]
    return made


def shown(item: str, deleted: bool = False, **fields: Any) -> Image:
    return {**fields, "cdc": {"item": item, "deleted": deleted, "version": "v"}}


def row(beds: int) -> Image:
    amounts = {"rooms": Decimal(1), "beds": Decimal(beds)}
    return {"contribution": {"hotel#H1": amounts}, "deleted": False, "retained": False}


@dataclass
class Copies:
    """A table and its copies in memory; equal until a test damages them."""

    table: Table = TABLE
    resources: Resources = field(
        default_factory=lambda: Resources("", "", "", functions=dict.fromkeys(["audit"], ""))
    )
    images: list[Image] = field(default_factory=list)
    rows: dict[str, Image] = field(default_factory=dict)
    sums: list[Image] = field(default_factory=list)
    log: list[Image] = field(default_factory=list)
    indexes: dict[str, list[tuple[str, Image]]] = field(default_factory=dict)
    tombstones: dict[str, list[tuple[str, Image]]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def items(self) -> Iterator[tuple[str, Image]]:
        for image in self.images:
            yield item_id("rooms", {name: image[name] for name in ("hotel", "number")}), image

    def ledger(self) -> Iterator[tuple[str, Image]]:
        return iter(self.rows.items())

    def ledger_rows(self, items: Sequence[str]) -> dict[str, Image]:
        return {item: self.rows[item] for item in items if item in self.rows}

    def aggregates(self) -> Iterator[Image]:
        return iter(self.sums)

    def entries(self) -> Iterator[Image]:
        return iter(sorted(self.log, key=lambda each: str(each["item"])))

    def history_length(self, item: str) -> int:
        return sum(each["item"] == item for each in self.log)

    def documents(self, index: str) -> Iterator[tuple[str, Image]]:
        return iter(self.indexes[index])

    def hidden(self, index: str) -> Iterator[tuple[str, Image]]:
        return iter(self.tombstones[index])

    def document_count(self, index: str) -> int:
        return self.counts[index]

    def find(self, index: str, items: Sequence[str]) -> dict[str, Image]:
        return {item: source for item, source in self.indexes[index] if item in items}


WRITES = {ROOM_1: 2, ROOM_2: 1, GONE: 2, GUEST: 1, LEFT: 2, STRANGER: 1}


@pytest.fixture
def equal() -> Copies:
    first, now, other = room(1, beds=Decimal(1)), room(1), room(2, beds=Decimal(3), secret=True)
    gone, here = room(3), guest("a")
    stranger = {"hotel": "?", "number": Decimal(1)}
    return Copies(
        images=[now, other, here, stranger],
        rows={
            ROOM_1: row(2),
            ROOM_2: row(3),
            GONE: {"contribution": {}, "deleted": True, "retained": False},
        },
        sums=[
            {"aggregate": "hotel#H1", "shard": 0, "revision": 4, "rooms": Decimal(3)},
            {"aggregate": "hotel#H1", "shard": 1, "rooms": Decimal(-1), "beds": Decimal(5)},
        ],
        log=[
            entry(1, None, first),
            entry(2, first, now),
            entry(3, None, other),
            entry(4, None, gone),
            entry(5, gone, None),
        ],
        indexes={
            "rooms": [(ROOM_1, shown(ROOM_1, beds=2, price="9.50", tags=["a", "b"]))],
            "guests": [(GUEST, shown(GUEST, name="a", key="AAE="))],
        },
        tombstones={
            "rooms": [(GONE, shown(GONE, deleted=True)), (ROOM_2, shown(ROOM_2, deleted=True))],
            "guests": [(LEFT, shown(LEFT, deleted=True))],
        },
        counts={"rooms": 1, "guests": 1},
    )


def compared(copies: Copies, writes: dict[str, int] | None = WRITES) -> Comparison:
    return compare([cast("DeployedCopies", copies)], writes)


def differences(copies: Copies) -> set[tuple[str, str, str, str]]:
    found = compared(copies).differences
    return {(each.sink, each.kind, each.item, each.field) for each in found}


def test_equal_copies_are_equal(equal: Copies) -> None:
    found = compared(equal)

    assert found.differences == ()
    assert found.equal
    assert [(each.sink, each.of, each.compared, each.parts) for each in found.sinks] == [
        ("aggregation", "room", 2, "4 amounts"),
        ("aggregation", "all sums", 1, "2 rows"),
        ("search", "room", 1, "4 fields"),
        ("search", "guest", 1, "3 fields"),
        ("audit", "room", 3, "5 entries"),
    ]
    assert found.items == 4
    assert compared(equal, None).equal


def test_nothing_compared_is_not_equal() -> None:
    empty = Copies(
        indexes={"rooms": [], "guests": []},
        tombstones={"rooms": [], "guests": []},
        counts={"rooms": 0, "guests": 0},
    )

    found = compared(empty, {})

    assert found.differences == ()
    assert not found.equal
    assert found.empty == ("aggregation of rooms", "search of rooms", "audit of rooms")
    assert found.differing == ("aggregation", "search", "audit")


def test_one_empty_sink_is_enough_to_differ(equal: Copies) -> None:
    equal.log = []

    found = compared(equal)

    assert not found.equal
    assert found.differing == ("audit",)
    assert [each.count("missing") for each in found.sinks if each.sink == "audit"] == [3]


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda c: c.rows.pop(ROOM_1), [("missing", ROOM_1, "")]),
        (lambda c: c.rows[ROOM_1].update(deleted=True), [("missing", ROOM_1, "")]),
        (lambda c: c.rows.update({ROOM_1: row(7)}), [("different", ROOM_1, "contribution")]),
        (lambda c: c.rows[GONE].update(deleted=False), [("extra", GONE, "")]),
        # Skip means skip: neither a row nor a tombstone of an entity that is not summed.
        (lambda c: c.rows.update({GUEST: row(1)}), [("extra", GUEST, "")]),
        (lambda c: c.rows.update({LEFT: {**row(1), "deleted": True}}), [("extra", LEFT, "")]),
        (lambda c: c.rows.update({STRANGER: row(1)}), [("extra", STRANGER, "")]),
        (lambda c: c.rows.update({"others/S=H1/N=1": row(1)}), [("extra", "others/S=H1/N=1", "")]),
        (lambda c: c.sums[1].update(beds=Decimal("5.01")), [("different", "hotel#H1", "beds")]),
        (lambda c: c.sums[0].update(nights=Decimal(1)), [("different", "hotel#H1", "nights")]),
        (lambda c: c.sums.clear(), [("missing", "hotel#H1", "")]),
        (
            lambda c: c.sums.append({"aggregate": "hotel#X", "shard": 0, "rooms": Decimal(1)}),
            [("extra", "hotel#X", "")],
        ),
    ],
)
def test_a_damage_of_the_aggregation(
    equal: Copies, damage: Callable[[Copies], object], expected: list[tuple[str, str, str]]
) -> None:
    damage(equal)

    found = differences(equal)

    assert {("aggregation", *each) for each in expected} <= found
    assert {sink for sink, *_ in found} == {"aggregation"}
    assert not compared(equal).equal


def document(copies: Copies, index: str = "rooms") -> Image:
    return copies.indexes[index][0][1]


def about(copies: Copies) -> Image:
    found: Image = document(copies)["cdc"]
    return found


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda c: document(c).update(beds=3), ("different", ROOM_1, "beds")),
        (lambda c: document(c).update(price="9.51"), ("different", ROOM_1, "price")),
        (lambda c: document(c).update(price=Decimal("9.5")), ("different", ROOM_1, "price")),
        (lambda c: document(c).update(beds=True), ("different", ROOM_1, "beds")),
        (lambda c: document(c).update(tags=["b", "a"]), ("different", ROOM_1, "tags")),
        (lambda c: document(c).pop("price"), ("different", ROOM_1, "price")),
        (lambda c: document(c).update(note="?"), ("different", ROOM_1, "note")),
        (lambda c: document(c, "guests").update(key="AAI="), ("different", GUEST, "key")),
        (lambda c: about(c).update(item="x"), ("different", ROOM_1, "cdc.item")),
        (lambda c: about(c).update(deleted=0), ("different", ROOM_1, "cdc.deleted")),
        (lambda c: c.indexes["rooms"].clear(), ("missing", ROOM_1, "")),
        (lambda c: c.indexes["rooms"].append(c.indexes["rooms"][0]), ("extra", ROOM_1, "")),
        # The right document in the wrong index.
        (lambda c: c.indexes["guests"].append(c.indexes["rooms"].pop()), ("extra", ROOM_1, "")),
        (lambda c: c.indexes["guests"].append(c.indexes["rooms"].pop()), ("missing", ROOM_1, "")),
        # An item whose document is None, a deleted one, one of no entity.
        (lambda c: c.indexes["rooms"].append((ROOM_2, shown(ROOM_2))), ("extra", ROOM_2, "")),
        (lambda c: c.indexes["rooms"].append((GONE, shown(GONE))), ("extra", GONE, "")),
        (lambda c: c.indexes["rooms"].append((STRANGER, shown("x"))), ("extra", STRANGER, "")),
        # Tombstones that are none, in the wrong index, or of an item of no entity.
        (lambda c: c.tombstones["rooms"].append((GONE, {})), ("extra", GONE, "")),
        (
            lambda c: c.tombstones["rooms"].append((LEFT, shown(LEFT, deleted=True))),
            ("extra", LEFT, ""),
        ),
        (
            lambda c: c.tombstones["guests"].append((STRANGER, shown("x", deleted=True))),
            ("extra", STRANGER, ""),
        ),
        (lambda c: c.counts.update(guests=2), ("different", "guests/_count", "documents")),
    ],
)
def test_a_damage_of_the_search(
    equal: Copies, damage: Callable[[Copies], object], expected: tuple[str, str, str]
) -> None:
    damage(equal)

    found = differences(equal)

    assert ("search", *expected) in found
    assert {sink for sink, *_ in found} == {"search"}


def test_a_field_of_a_document_that_is_null_is_not_absent(equal: Copies) -> None:
    no_tags = room(1, tags=None)
    equal.images[0] = no_tags
    equal.log[1] = entry(2, room(1, beds=Decimal(1)), no_tags)
    document(equal)["tags"] = None
    assert differences(equal) == set()

    del document(equal)["tags"]

    [difference] = compared(equal).differences
    assert str(difference) == f"{ROOM_1}: tags should be NULL, is absent"


SECOND = "entry 2 of 2 (MODIFY)"


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda c: c.log.pop(0), ("different", ROOM_1, "number of entries")),
        (lambda c: c.log.pop(0), ("different", ROOM_1, "entry 1 (MODIFY) before")),
        (lambda c: c.log.pop(1), ("different", ROOM_1, "replayed state.beds")),
        (lambda c: c.log.pop(2), ("missing", ROOM_2, "")),
        (lambda c: c.log.pop(4), ("different", GONE, "replayed state")),
        (
            lambda c: c.log[0]["after"].update(beds=9),
            ("different", ROOM_1, f"{SECOND} before.beds"),
        ),
        (lambda c: c.log[1].update(actor="?"), ("different", ROOM_1, f"{SECOND} actor")),
        (lambda c: c.log[1].update(changed=["by"]), ("different", ROOM_1, f"{SECOND} changed")),
        (lambda c: c.log[1].update(table="x"), ("different", ROOM_1, f"{SECOND} table")),
        (lambda c: c.log[1].update(expired=True), ("different", ROOM_1, f"{SECOND} expired")),
        (
            lambda c: c.log[1].update(version="0001/x/17"),
            ("different", ROOM_1, f"{SECOND} version"),
        ),
        (
            lambda c: c.log[1]["keys"].update(number=Decimal(9)),
            ("different", ROOM_1, f"{SECOND} item of its keys"),
        ),
        # Skip means skip: no history of an entity that is not audited, or of no entity.
        (lambda c: c.log.append(entry(8, None, guest("a"))), ("extra", GUEST, "")),
        (lambda c: c.log.append(entry(8, guest("b"), None)), ("extra", LEFT, "")),
        (
            lambda c: c.log.append(entry(8, None, {"hotel": "?", "number": Decimal(1)})),
            ("extra", STRANGER, ""),
        ),
        (lambda c: c.log.append(entry(8, None, room(9))), ("extra", "rooms/S=H1/N=9", "")),
    ],
)
def test_a_damage_of_the_audit(
    equal: Copies, damage: Callable[[Copies], object], expected: tuple[str, str, str]
) -> None:
    damage(equal)

    found = differences(equal)

    assert ("audit", *expected) in found
    assert {sink for sink, *_ in found} == {"audit"}


STATES = [
    (room(1), room(1, note=None)),
    (room(1, note=Decimal(1)), room(1, note=True)),
    (room(1, note=[Decimal(0)]), room(1, note=[False])),
    (room(1, note={"a": None}), room(1, note={})),
]


def set_first(copies: Copies, before: Image, after: Image) -> None:
    copies.images[0] = after
    copies.log[:2] = [entry(1, None, before), {**entry(2, before, after), "changed": ["note"]}]


@pytest.mark.parametrize(("before", "after"), STATES)
def test_a_right_log_of_null_and_true_is_right(equal: Copies, before: Image, after: Image) -> None:
    set_first(equal, before, after)

    assert compared(equal).differences == ()
    assert changes_of([before, after, after, None]) == 3


@pytest.mark.parametrize(("wrong", "right"), STATES)
def test_a_log_that_mistakes_null_or_true_is_wrong(
    equal: Copies, wrong: Image, right: Image
) -> None:
    set_first(equal, room(1, beds=Decimal(1), note="x"), right)
    equal.log[1]["after"] = wrong
    equal.log[1]["changed"] = ["beds", "note"]

    assert differences(equal) == {("audit", "different", ROOM_1, "replayed state.note")}


def test_numbers_are_compared_by_value(equal: Copies) -> None:
    equal.log[1]["after"]["price"] = Decimal("9.500")
    equal.log[1]["after"]["beds"] = 2

    assert differences(equal) == set()


def test_an_entry_says_true_and_not_1(equal: Copies) -> None:
    equal.log[1]["expired"] = Decimal(0)

    assert differences(equal) == {("audit", "different", ROOM_1, f"{SECOND} expired")}


def test_a_difference_tells_null_from_absent(equal: Copies) -> None:
    set_first(equal, room(1), room(1, note=None))
    del equal.log[1]["after"]["note"], equal.log[1]["changed"]

    [difference] = compared(equal).differences

    assert str(difference) == f"{ROOM_1}: replayed state.note should be NULL, is absent"


def test_a_difference_reads_as_a_sentence() -> None:
    changed = Difference("aggregation", "different", "month", "revenue", Decimal("1E+2"), None)
    extra = Difference("search", "extra", "orders/x", "", None, {"titles": ["a"]})

    assert str(changed) == "month: revenue should be 100, is absent"
    assert str(extra) == "orders/x should not be there; holds {titles: [a]}"


def test_differences_are_counted_for_the_entity_of_the_item(equal: Copies) -> None:
    equal.rows[GUEST] = row(1)
    equal.rows[STRANGER] = row(1)
    del equal.rows[ROOM_1]

    found = {(each.of, each.count("extra"), each.count("missing")) for each in compared(equal).sinks
             if each.sink == "aggregation" and each.of != "all sums"}  # fmt: skip

    assert found == {("room", 0, 1), ("guest", 1, 0), ("no entity", 1, 0)}


def test_an_item_that_cannot_be_applied_is_missing(equal: Copies) -> None:
    equal.images.append({"hotel": "H1", "number": Decimal(8)})

    assert differences(equal) == {
        ("aggregation", "missing", "rooms/S=H1/N=8", ""),
        ("search", "missing", "rooms/S=H1/N=8", ""),
        ("search", "different", "rooms/_count", "documents"),
        ("audit", "missing", "rooms/S=H1/N=8", ""),
    }


@pytest.mark.parametrize("amount", ["many", 1.5, Decimal("NaN")])
def test_a_result_that_no_sink_takes_counts_for_nothing(amount: Any) -> None:
    """The demo ended in a traceback for poison of which `contributions` returns a text."""
    wrong = replace(ROOM, contributions=lambda _: {"a": {"m": amount}}, document=lambda _: amount)
    assert sums_of(wrong, room(1)) == {}
    assert document_of(wrong, room(1)) == {}


def test_expired_items_stay_in_sums_only_if_declared(equal: Copies) -> None:
    equal.rows[GONE] = {**row(4), "deleted": True, "retained": True}
    equal.sums[0] |= {"rooms": Decimal(4), "beds": Decimal(4)}
    assert ("aggregation", "different", "hotel#H1", "beds") in differences(equal)

    keeping = Entity(
        "room",
        keys=ROOM.keys,
        contributions=contributions,
        expiry=Expiry.KEEP,
        document=room_document,
        index=ROOM.index,
    )
    equal.table = Table("rooms", TABLE.keys, (keeping, GUESTS), actor_attribute="by")

    assert differences(equal) == set()


def test_an_expiry_is_expected_of_a_table_with_time_to_live(equal: Copies) -> None:
    equal.log[4]["expired"] = True
    assert differences(equal) == {("audit", "different", GONE, "entry 2 of 2 (REMOVE) expired")}

    equal.table = Table("rooms", TABLE.keys, TABLE.entities, "expires_at", "by")

    assert differences(equal) == set()


@pytest.mark.parametrize(
    ("item", "keys"),
    [
        (ROOM_1, {"hotel": "H1", "number": Decimal(1)}),
        ("rooms/S=a%252Fb%2F/N=-12E-1", {"hotel": "a%2Fb/", "number": Decimal("-1.2")}),
        ("others/S=H1/N=1", None),
        ("rooms/S=H1", None),
        ("rooms/N=1/N=1", None),
        ("rooms/S=H1/N=x", None),
        ("#0123", None),
    ],
)
def test_the_keys_are_read_from_an_identity(item: str, keys: Image | None) -> None:
    assert keys_in(TABLE, item) == keys
    if keys is not None:
        assert item_id("rooms", keys) == item


def test_binary_keys_are_read_from_an_identity() -> None:
    table = Table("files", {"id": "B"}, (Entity("file"),))
    assert keys_in(table, item_id("files", {"id": b"\xff/%"})) == {"id": b"\xff/%"}


def test_several_tables_are_compared_together(equal: Copies) -> None:
    found = compare([cast("DeployedCopies", equal)] * 2, WRITES)

    assert found.items == 8
    assert len(found.sinks) == 10


def test_a_further_sink_brings_its_check(equal: Copies) -> None:
    entity = Entity("room", sinks={"sql": lambda image: image}, audited=False)
    equal.table = Table("rooms", TABLE.keys, (entity,))

    assert unchecked(equal.table) == ["sql"]
    assert list(checks_of(cast("DeployedCopies", equal))) == ["audit"]  # deployed, must be empty


def story(*states: Image | None, entity: Entity = ROOM, item: str = ROOM_1) -> ItemStory:
    return ItemStory(TABLE, entity, item, states)


def test_probes_follow_items_whose_last_state_can_be_told(equal: Copies) -> None:
    probes = probes_of([cast("DeployedCopies", equal)])
    renamed = story(room(1), room(1, by="night"))

    assert probes.keys() == {"aggregation", "search", "audit"}
    assert [probes[sink].follows(renamed) for sink in probes] == [False, False, True]
    changed = story(room(1), room(1, beds=Decimal(5)))
    assert all(probe.follows(changed) for probe in probes.values())
    of_guest = story(guest("a"), entity=GUESTS, item=GUEST)
    assert [probes[sink].follows(of_guest) for sink in probes] == [False, True, False]
    assert not any(probe.follows(story(room(1), None)) for probe in probes.values())


def test_probes_see_the_last_state_and_no_earlier_one(equal: Copies) -> None:
    probes = probes_of([cast("DeployedCopies", equal)])
    last = Finished(story(room(1, beds=Decimal(1)), room(1)), 0.0)
    later = Finished(story(room(1, beds=Decimal(1)), room(1), room(1, beds=Decimal(8))), 0.0)

    for probe in probes.values():
        assert probe.shown([last]) == {ROOM_1}
        assert probe.shown([later]) == set()
