"""A number that a sink cannot hold is refused where it comes in, and spoils nothing for others."""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_streams_cdc import Aggregation, PermanentError, Search
from dynamodb_streams_cdc.aws.opensearch import OpenSearchIndex
from dynamodb_streams_cdc.aws.opensearch_errors import MISSING
from dynamodb_streams_cdc.sinks.base import ItemVersion
from dynamodb_streams_cdc.sinks.contributions import DECIMALS, DIGITS, HEADROOM, add, checked, fits
from dynamodb_streams_cdc.sinks.documents import encoded
from dynamodb_streams_cdc.sinks.number_fields import EXACT_DOUBLE, RANGES, NumberFields
from dynamodb_streams_cdc.testing.memory import MemoryLedger
from lambdas.example_domain.order import INDEX, Order, contributions, document
from tests.factories import change, deadline, order

LARGEST = 10 ** (DIGITS - HEADROOM - DECIMALS)


def units(quantity: Any, number: str = "00004-0001") -> dict[str, Any]:
    item = order(number)
    item["lines"][0]["quantity"] = quantity
    return item


def raw_contributions(image: Mapping[str, Any]) -> Any:
    """What an unbounded model would make of an order."""
    return {"month#1997-01": {"units": image["lines"][0]["quantity"]}}


def _check(document: Any, properties: Any) -> None:
    NumberFields.of(properties).check(document)


class TestSums:
    def test_the_blame_falls_on_the_record_that_is_absurd(self) -> None:
        ledger = MemoryLedger()
        sink = Aggregation(ledger, raw_contributions)
        absurd = change(1, None, units(Decimal("1E+38"), "1-1"))
        healthy = [change(n, None, units(Decimal(1), f"{n}-1")) for n in (2, 3)]
        outcome = sink.apply([absurd, *healthy], deadline())
        [(blamed, error)] = outcome.failures.items()
        assert (blamed, outcome.applied) == (absurd, 2)
        assert isinstance(error, PermanentError)
        assert error.reason == "AmountOutOfRange"
        assert str(error).startswith("month#1997-01.units: an amount must be less than 10^20")
        assert "38" not in str(error)
        assert ledger.total("month#1997-01") == {"units": 2}

    @pytest.mark.parametrize(
        ("amount", "is_on"),
        [
            (0, True),
            (LARGEST - 1, True),
            (LARGEST, False),
            (-LARGEST, False),
            (10**400, False),
            (Decimal("1E+999999"), False),
            (Decimal(LARGEST) - Decimal("0.000001"), True),
            (Decimal("0.000001"), True),
            (Decimal("0.0000001"), False),
            (Decimal("-1.5000000000000"), True),
            (Decimal("1.50000000000001"), False),
            (Decimal("1E-999999"), False),
            (Decimal("0E-999999"), True),
        ],
    )
    def test_an_amount_is_on_a_grid_of_26_digits(self, amount: Any, is_on: bool) -> None:
        assert fits(amount, DECIMALS) is is_on

    @given(st.lists(st.decimals(-2 * LARGEST, 2 * LARGEST, places=DECIMALS + 1), max_size=20))
    def test_sums_of_what_fits_have_38_digits(self, amounts: list[Decimal]) -> None:
        taken = [amount for amount in amounts if fits(amount, DECIMALS)]
        total = add([{"a": {"m": amount}} for amount in taken]).get("a", {}).get("m", Decimal(0))
        millionths = Fraction(total) * 10**DECIMALS
        assert millionths.denominator == 1
        assert abs(millionths) * (10**HEADROOM // max(1, len(taken))) < 10**DIGITS

    def test_places_are_settable(self) -> None:
        wei = {"a": {"m": Decimal("0.000000000000000001")}}
        with pytest.raises(PermanentError, match="at most 6 decimal places"):
            checked(wei)
        assert checked(wei, 18) == wei
        with pytest.raises(PermanentError, match="less than 10\\^8"):
            checked({"a": {"m": 10**8}}, 18)

    @pytest.mark.parametrize("decimals", [-1, 26])
    def test_places_have_a_range(self, decimals: int) -> None:
        with pytest.raises(ValueError, match="from 0 to 25"):
            Aggregation(MemoryLedger(), contributions, decimals=decimals)


class TestDocuments:
    @pytest.mark.parametrize("kind", RANGES)
    def test_whole_numbers_have_the_range_of_their_field(self, kind: str) -> None:
        least, greatest = RANGES[kind]
        properties = {"n": {"type": kind}}
        for bound in (least, greatest):
            _check(encoded({"n": bound}), properties)
        beyond: list[int | Decimal] = [least - 1, greatest + 1, Decimal("1E+100"), 10**400]
        for number in beyond:
            with pytest.raises(PermanentError, match=f"n: the index's {kind} holds") as refused:
                _check(encoded({"n": number}), properties)
            assert refused.value.reason == "NumberOutOfRange"

    def test_a_scaled_float_would_saturate(self) -> None:
        properties = {"total": {"type": "scaled_float", "scaling_factor": 100}}
        _check(encoded({"total": Decimal("90071992547409.92")}), properties)
        with pytest.raises(PermanentError, match="total: the index's scaled_float") as refused:
            _check(encoded({"total": Decimal("90071992547409.93")}), properties)
        assert "9.93" not in str(refused.value)

    @pytest.mark.parametrize(
        "within",
        [{"lines": [{"n": 1}, {"n": 2**31}]}, {"lines": {"n": [1, 2**31]}}],
        ids=["in a list", "a list"],
    )
    def test_fields_of_fields(self, within: Any) -> None:
        properties = {"lines": {"type": "nested", "properties": {"n": {"type": "integer"}}}}
        with pytest.raises(PermanentError, match=r"lines\.n: the index's integer"):
            _check(encoded(within), properties)

    @pytest.mark.parametrize("name", ["price", "price.n"])
    def test_the_other_types_of_a_field_are_checked(self, name: str) -> None:
        properties = {name: {"type": "keyword", "fields": {"number": {"type": "double"}}}}
        _check(encoded({name: "a text"}), properties)
        with pytest.raises(PermanentError, match=f"{name}: the index's double"):
            _check(encoded({name: 2**60}), properties)

    @pytest.mark.parametrize(
        ("name", "within"),
        [
            ("price", {"price": {"n": [[1], [1, [2**60]]]}}),
            ("price", {"price": [[{"n": 2**60}]]}),
            ("price", {"price.n": 2**60}),
            ("price.n", {"price": {"n": 2**60}}),
            ("price.n", {"price.n": 2**60}),
        ],
    )
    def test_nested_lists_and_dotted_names_are_checked(self, name: str, within: Any) -> None:
        """A double would round such a number, and say nothing."""
        double = {"type": "double"}
        properties = {name: {"properties": {"n": double}} if name == "price" else double}
        with pytest.raises(PermanentError, match=r"price\.n: the index's double"):
            _check(encoded(within), properties)

    @pytest.mark.parametrize(
        "value", [None, True, "twelve", "NaN", "", {"a": 2**70}, Decimal("0.1"), [], b"\xff"]
    )
    def test_other_values_are_left_to_the_index(self, value: Any) -> None:
        _check(encoded({"n": value, "other": 2**70}), {"n": {"type": "byte"}})

    def test_one_document_is_refused_and_the_others_are_sent(self) -> None:
        client: Any = Client()
        index = OpenSearchIndex(client, "orders", {"n": {"type": "long"}}, {})
        sink = Search(index, lambda image: {"n": image["lines"][0]["quantity"]})
        changes = [
            change(n, None, units(quantity, f"{n}-1")) for n, quantity in enumerate((1, 2**63, 3))
        ]
        outcome = sink.apply(changes, deadline())
        assert list(outcome.failures) == [changes[1]]
        assert (outcome.applied, client.sent) == (2, 2)

    def test_a_repair_refuses_it_too(self) -> None:
        client: Any = Client()
        index = OpenSearchIndex(client, "orders", {"n": {"type": "long"}}, {})
        sink = Search(index, lambda image: {"n": 2**63})
        held = sink.upsert_of(ItemVersion.of(change(1, None, order())), order(), 0)
        with pytest.raises(PermanentError, match="n: the index's long"):
            index.replace(None, held, deadline())


class Client:
    """Takes every document of a bulk request."""

    sent = 0

    @property
    def indices(self) -> "Client":
        return self

    def get_alias(self, **_: Any) -> Any:
        return {"error": {"type": MISSING}}

    def bulk(self, body: bytes, **_: Any) -> Any:
        documents = body.count(b'{"create"')
        self.sent += documents
        return {"items": [{"create": {"status": 201, "result": "created"}}] * documents}


class TestOrders:
    def test_every_order_fits_both_sinks(self) -> None:
        """The model's bounds are compared with the sinks'."""
        total = Decimal("9999999999999.99")
        largest = order(total=str(total))
        largest["lines"][0]["quantity"] = 10**9
        Order.of(largest)
        _check(encoded(document(largest)), INDEX.properties)
        checked(contributions(largest))
        factor = INDEX.properties["total"]["scaling_factor"]
        assert total * factor <= EXACT_DOUBLE

    @pytest.mark.parametrize(
        "absurd", [units(10**9 + 1), units(Decimal("1E+38")), order(total="10000000000000.00")]
    )
    def test_an_absurd_order_is_not_an_order(self, absurd: dict[str, Any]) -> None:
        for reader in (contributions, document):
            with pytest.raises(ValueError, match=r"\d validation error"):
                reader(absurd)
