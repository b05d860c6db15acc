"""What all markers must do; run against those in memory and those on DynamoDB."""

import pytest

from dynamodb_streams_cdc import IdempotencyStore, Once
from tests.factories import change, order


class IdempotencyStoreContract:
    """For a class with a fixture `store`."""

    def test_a_marker_is_seen_once_it_is_written(self, store: IdempotencyStore) -> None:
        assert not store.seen("once/mail/orders/S=1/v1")
        store.mark("once/mail/orders/S=1/v1", 60)
        assert store.seen("once/mail/orders/S=1/v1")
        assert not store.seen("once/mail/orders/S=1/v2")

    def test_a_transaction_is_done_once(self, store: IdempotencyStore) -> None:
        placed = change(1, None, order())
        once = Once(store, "mail")
        assert once.transact(placed, [])
        assert not once.transact(placed, [])
        assert Once(store, "other").transact(placed, [])

    def test_an_effect_that_failed_is_tried_again(self, store: IdempotencyStore) -> None:
        placed = change(1, None, order())
        once = Once(store, "mail")
        sent: list[str] = []

        def fail() -> None:
            message = "the mail server is down"
            raise ConnectionError(message)

        with pytest.raises(ConnectionError):
            once.run(placed, fail)
        assert once.run(placed, lambda: sent.append("mail"))
        assert not once.run(placed, lambda: sent.append("mail"))
        assert sent == ["mail"]
