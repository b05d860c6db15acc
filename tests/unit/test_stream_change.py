"""What a change says of the record it was made from."""

import contextlib
from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_streams_cdc import (
    Change,
    ChangeKind,
    MalformedRecord,
    MissingImage,
    Outcome,
    Source,
    ViewType,
)
from dynamodb_streams_cdc.change import UNKNOWN_TIME
from dynamodb_streams_cdc.errors import MalformedSource, MalformedValue
from dynamodb_streams_cdc.sinks.log_entries import (
    change_from_entry,
    change_from_log_record,
    entry_of,
)
from tests.factories import NOON, SOURCE, TTL_IDENTITY, change, order, record

PLACED, SHIPPED = order(), order(status="shipped")


def test_an_insert_has_no_image_before_it() -> None:
    placed = change(1, None, PLACED)
    assert (placed.kind, placed.old_image, placed.new_image) == (ChangeKind.INSERT, None, PLACED)
    assert placed.keys == {"customer_id": "00004", "order_id": "00004-0001"}
    assert placed.item_id == "orders/S=00004/S=00004-0001"
    assert placed.version == f"0001/2024-05-01T12:00:00.000/{'100000000003126276362':0>40}"
    assert placed.time == datetime.fromtimestamp(NOON + 1, UTC)
    assert placed.actor == "shop"


def test_a_remove_has_no_image_after_it_and_no_known_actor() -> None:
    removed = change(2, PLACED, None)
    assert (removed.kind, removed.old_image, removed.new_image) == (ChangeKind.REMOVE, PLACED, None)
    assert (removed.expired, removed.actor) == (False, None)


def test_an_expiry_is_told_from_a_delete() -> None:
    expired = change(2, PLACED, None, userIdentity=TTL_IDENTITY)
    assert (expired.expired, expired.actor) == (True, "dynamodb.amazonaws.com")


@pytest.mark.parametrize(
    "identity",
    [
        {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"},
        {"PrincipalId": "dynamodb.amazonaws.com", "type": "Service"},
    ],
)
def test_an_expiry_is_told_in_the_spelling_of_the_streams_api(identity: dict[str, str]) -> None:
    expired = change(2, PLACED, None, userIdentity=identity)
    assert (expired.expired, expired.actor) == (True, "dynamodb.amazonaws.com")


@pytest.mark.parametrize(
    "identity", [None, {}, {"Type": "Service", "PrincipalId": "backup"}, {"Type": "User"}]
)
def test_no_other_identity_is_an_expiry(identity: dict[str, str] | None) -> None:
    assert not change(2, PLACED, None, userIdentity=identity).expired


def test_an_identity_of_another_form_is_refused() -> None:
    with pytest.raises(MalformedRecord, match=r"^userIdentity: expected an object with type and"):
        change(2, PLACED, None, userIdentity="dynamodb.amazonaws.com")


def test_a_record_of_the_streams_client_is_read() -> None:
    """boto3 gives a `datetime` and raw bytes where an event has a number and base64 text."""
    item = {**PLACED, "photo": b"\x00\xff"}
    body = record(1, None, item, userIdentity=None)
    moment = datetime.fromtimestamp(NOON + 1, UTC)
    body["dynamodb"]["ApproximateCreationDateTime"] = moment
    body["dynamodb"]["NewImage"]["photo"] = {"B": b"\x00\xff"}
    read = Change.from_record(body, SOURCE)
    assert (read.time, read.new_image) == (moment, item)


def test_a_record_without_a_time_is_a_change_of_unknown_time() -> None:
    body = without("ApproximateCreationDateTime")
    read = Change.from_record(body, SOURCE)
    assert (read.timestamp, read.recorded_at) == (UNKNOWN_TIME, UNKNOWN_TIME)
    assert read.version == change(1, None, PLACED).version


def test_an_unknown_time_is_never_an_order_violation() -> None:
    for told, held in ((UNKNOWN_TIME, NOON), (NOON, UNKNOWN_TIME)):
        outcome = Outcome()
        outcome.refused(change(1, None, PLACED, timestamp=told), held)
        assert outcome.version_order_violations == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("eventSourceARN", None),
        ("eventSourceARN", "arn:aws:dynamodb:us-east-1:000000000000:table/orders"),
        ("StreamViewType", "ALL"),
        ("ApproximateCreationDateTime", "2024-05-01T12:00:02Z"),
        ("ApproximateCreationDateTime", 1_714_564_802_000),
    ],
)
def test_a_field_that_the_stream_fills_is_told_apart(field: str, value: object) -> None:
    with pytest.raises(MalformedSource) as caught:
        Change.from_record(having(**{field: value}), SOURCE)
    assert caught.value.field == field


def test_behind_the_log_another_table_is_a_fault_of_the_source() -> None:
    entry = entry_of(change(7, None, PLACED))
    with pytest.raises(MalformedSource):
        change_from_log_record(log_record(entry), Source("invoices"))
    keys_only = log_record(entry)
    keys_only["dynamodb"]["StreamViewType"] = "KEYS_ONLY"
    del keys_only["dynamodb"]["NewImage"]
    with pytest.raises(MalformedSource):
        change_from_log_record(keys_only, SOURCE)


def refusal_of(body: dict[str, Any]) -> MalformedRecord | None:
    try:
        Change.from_record(body, SOURCE)
    except MalformedRecord as error:
        return error
    return None


def test_no_value_of_a_record_is_in_its_error() -> None:
    spoilt = [
        *(having(**{name: "Jane Doe"}) for name in record(1, None, PLACED)["dynamodb"]),
        *(having(eventName="Jane Doe"), having(eventSourceARN="Jane Doe")),
        *(having(Keys={"id": {tag: "Jane Doe"}}) for tag in ("N", "B", "M", "Jane")),
    ]
    messages = [str(error) for body in spoilt if (error := refusal_of(body)) is not None]
    assert len(messages) == len(spoilt) - 1  # SizeBytes is not read
    assert "Jane" not in "".join(messages)


@pytest.mark.parametrize(
    ("view_type", "new", "old"),
    [
        (ViewType.KEYS_ONLY, False, False),
        (ViewType.NEW_IMAGE, True, False),
        (ViewType.OLD_IMAGE, False, True),
        (ViewType.NEW_AND_OLD_IMAGES, True, True),
    ],
)
def test_a_missing_image_is_not_none(view_type: ViewType, new: bool, old: bool) -> None:
    modified = change(2, PLACED, SHIPPED, view_type=view_type)
    if new:
        assert modified.new_image == SHIPPED
    else:
        with pytest.raises(MissingImage, match="takes NEW_IMAGE or NEW_AND_OLD_IMAGES"):
            _ = modified.new_image
    if old:
        assert modified.old_image == PLACED
    else:
        with pytest.raises(MissingImage, match="takes OLD_IMAGE or NEW_AND_OLD_IMAGES"):
            _ = modified.old_image


def test_images_are_decoded_once() -> None:
    placed = change(1, None, PLACED)
    assert placed.new_image is placed.new_image


def test_a_change_from_any_source_has_every_field() -> None:
    entry = entry_of(change(1, None, PLACED))
    behind_the_log = change_from_log_record(log_record(entry), SOURCE)
    for read in (change(1, None, PLACED), change_from_entry(entry), behind_the_log):
        assert vars(read).keys() == {each.name for each in fields(Change)} | {"keys"}


def test_a_change_with_other_keys_is_of_another_item() -> None:
    other = replace(change(1, None, PLACED), table="carts", raw_keys={"id": {"N": "7.0"}})
    assert (other.keys, other.item_id) == ({"id": Decimal("7.0")}, "carts/N=7")


def test_a_change_cannot_be_changed() -> None:
    placed = change(1, None, PLACED)
    with pytest.raises(AttributeError):
        placed.version = "0002"  # type: ignore[misc]


def test_a_later_sequence_number_is_a_greater_version() -> None:
    def version(sequence_number: str) -> str:
        body = record(1, None, PLACED)
        body["dynamodb"]["SequenceNumber"] = sequence_number
        return Change.from_record(body, SOURCE).version

    numbers = ["800000000003126276362", "1100000000017454423009", "9" * 39, "1" + "0" * 39]
    versions = [version(number) for number in numbers]
    assert versions == sorted(versions)
    assert sorted(numbers) != numbers


def test_the_difference_names_what_changed() -> None:
    before = order(lines=[{"title": "CD", "quantity": 1}])
    after = order(lines=[{"title": "CD", "quantity": 2}], status="shipped")
    assert [str(difference) for difference in change(2, before, after).diff()] == [
        "lines[0].quantity: Decimal('1') -> Decimal('2')",
        "status: 'placed' -> 'shipped'",
    ]


@pytest.mark.parametrize(
    ("before", "after", "others"),
    [
        (None, PLACED, {}),
        (PLACED, SHIPPED, {}),
        (SHIPPED, None, {}),
        (SHIPPED, None, {"userIdentity": TTL_IDENTITY}),
    ],
)
def test_an_entry_of_the_log_tells_the_same_change(
    before: dict[str, Any] | None, after: dict[str, Any] | None, others: dict[str, Any]
) -> None:
    original = change(7, before, after, **others)
    read = change_from_entry(entry_of(original))
    assert read.sequence_number == original.sequence_number
    for name in ("kind", "table", "version", "event_id", "time", "expired", "actor", "item_id"):
        assert getattr(read, name) == getattr(original, name), name
    assert (read.old_image, read.new_image) == (original.old_image, original.new_image)


def log_record(entry: dict[str, Any], event_name: str = "INSERT") -> dict[str, Any]:
    wrapped = record(55, None, PLACED)
    return {
        **wrapped,
        "eventName": event_name,
        "dynamodb": {**wrapped["dynamodb"], "NewImage": entry, "SequenceNumber": "424242"},
    }


def test_a_log_record_has_the_sources_version() -> None:
    original = change(7, None, PLACED)
    read = change_from_log_record(log_record(entry_of(original)), SOURCE)
    assert (read.version, read.sequence_number) == (original.version, "424242")


def test_behind_the_log_only_its_own_inserts_are_read() -> None:
    entry = entry_of(change(7, None, PLACED))
    with pytest.raises(MalformedRecord, match="filter the mapping"):
        change_from_log_record(log_record(entry, "REMOVE"), SOURCE)
    with pytest.raises(MalformedRecord, match=r"NewImage.table: expected 'invoices'"):
        change_from_log_record(log_record(entry), Source("invoices"))


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00", "now"]
)
def test_an_entry_of_an_impossible_time_is_malformed(time: str) -> None:
    entry = {**entry_of(change(7, None, PLACED)), "changed_at": {"S": time}}
    with pytest.raises(MalformedRecord, match="changed_at: expected an ISO time of the years 1"):
        change_from_log_record(log_record(entry), SOURCE)


def without(name: str) -> dict[str, Any]:
    body = record(1, None, PLACED)
    holder = body if name in body else body["dynamodb"]
    del holder[name]
    return body


def having(**fields: Any) -> dict[str, Any]:
    body = record(1, None, PLACED)
    for name, value in fields.items():
        (body if name in body else body["dynamodb"])[name] = value
    return body


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("a text", "dynamodb: expected an object, got nothing"),
        (without("dynamodb"), "dynamodb: expected an object, got nothing"),
        (having(eventName="UPSERT"), "eventName: expected one of INSERT, MODIFY, REMOVE, got text"),
        (having(StreamViewType="ALL"), "StreamViewType: expected one of KEYS_ONLY, NEW_IMAGE"),
        (without("SequenceNumber"), "SequenceNumber: expected text, got nothing"),
        (having(SequenceNumber="-7"), "SequenceNumber must be 1 to 40 decimal digits"),
        (having(SequenceNumber="9" * 41), "SequenceNumber must be 1 to 40 decimal digits"),
        (having(eventSourceARN="arn:aws:sqs:x"), "eventSourceARN must end in /stream/<label>"),
        (without("NewImage"), "NewImage: expected the image that a INSERT carries, got"),
        (having(eventName="REMOVE"), "OldImage: expected the image that a REMOVE"),
        (without("Keys"), "Keys: expected an object, got nothing"),
        (having(Keys={"id": {"S": "\ud83d" * 130}}), "Keys.id: S must be text that UTF-8 can hold"),
        (having(Keys={"id": {"S": "\ud83d"}}), "Keys.id: S must be text that UTF-8 can hold"),
        *(
            (
                having(ApproximateCreationDateTime=value),
                "ApproximateCreationDateTime: expected seconds since 1970 as a number",
            )
            for value in (
                *(float("nan"), float("inf"), -1, 1e300, 10**400, 1_714_564_802_000, "1714564802"),
                *(
                    "2024-05-01T12:00:02Z",
                    datetime(2024, 5, 1, 12, tzinfo=UTC).replace(tzinfo=None),
                ),
            )
        ),
    ],
)
def test_a_malformed_record_says_what_is_wrong(bad: Any, message: str) -> None:
    with pytest.raises(MalformedRecord) as error:
        Change.from_record(bad, SOURCE)
    assert str(error.value).startswith(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
)


@given(st.data())
def test_any_delivery_is_a_change_or_malformed(data: st.DataObject) -> None:
    """No other exception: one strange record must not fail its batch."""
    read, good = data.draw(
        st.sampled_from(
            [
                (Change.from_record, record(2, PLACED, SHIPPED)),
                (change_from_log_record, log_record(entry_of(change(2, PLACED, SHIPPED)))),
            ]
        )
    )
    holder = data.draw(st.sampled_from([good, good["dynamodb"], good["dynamodb"]["NewImage"]]))
    name = data.draw(st.sampled_from([*holder, None]))
    if name is None:
        good = data.draw(JSON)
    else:
        holder[name] = data.draw(JSON | st.dictionaries(st.sampled_from("SMBOL"), JSON))
    with contextlib.suppress(MalformedRecord):
        assert read(good, SOURCE).item_id


def test_a_malformed_image_says_where() -> None:
    bad = having(NewImage={**record(1, None, PLACED)["dynamodb"]["NewImage"], "price": {"N": "x"}})
    read = Change.from_record(bad, SOURCE)
    with pytest.raises(MalformedValue, match=r"^NewImage\.price: "):
        _ = read.new_image


@pytest.mark.parametrize(("table", "epoch"), [("", "0001"), ("a/b", "0001"), ("orders", "1")])
def test_a_source_of_another_form_is_refused(table: str, epoch: str) -> None:
    with pytest.raises(ValueError, match=r"logical name|epoch"):
        Source(table, epoch)


def test_keys_are_part_of_the_identity_with_their_types() -> None:
    def identity(**keys: Any) -> str:
        return change(1, None, keys, keys=tuple(keys)).item_id

    assert identity(id=Decimal(1)) == "orders/N=1"
    assert identity(id=b"") == "orders/B="
    assert identity(b="2", a="1") == "orders/S=1/S=2"
