"""What every dead-letter store must do; run against the one in memory and the one on S3."""

import json

from dynamodb_streams_cdc.operations.dead_letter_store import DeadLetterStore

LAMBDAS = "aws/lambda/1111/shardId-1/2019/11/14/2019-11-14T18.16.05-a"
OWN = "dead-letters/search/0a/0001_2024-05-01T12:00:00.000_7.json"
DEAD_LETTER = {"timestamp": "2019-11-14T18:16:05.568Z", "payload": "{}"}


def read(store: DeadLetterStore, key: str) -> object:
    """Return a stored document; None if there is none."""
    body = store.read(key)
    return None if body is None else json.loads(body)


class DeadLetterStoreContract:
    """For a class with a fixture `store`."""

    def test_a_dead_letter_is_kept_once(self, store: DeadLetterStore) -> None:
        assert store.keep(OWN, DEAD_LETTER) is True
        assert store.keep(OWN, {"payload": "another"}) is False
        assert read(store, OWN) == DEAD_LETTER

    def test_dead_letters_are_listed_by_key_with_size_and_time(
        self, store: DeadLetterStore
    ) -> None:
        for key in (OWN, LAMBDAS):
            store.keep(key, DEAD_LETTER)
        found = list(store.dead_letters())
        assert [stored.key for stored in found] == [LAMBDAS, OWN]
        assert {stored.size for stored in found} == {len(json.dumps(DEAD_LETTER))}
        assert all(stored.written_at > 1_500_000_000 for stored in found)

    def test_an_archived_dead_letter_is_none_of_the_dead_letters(
        self, store: DeadLetterStore
    ) -> None:
        store.keep(OWN, DEAD_LETTER)
        assert store.archive(OWN) is True
        assert list(store.dead_letters()) == []
        assert store.read(OWN) is None
        assert not store.holds(OWN)
        assert read(store, f"archive/{OWN}") == DEAD_LETTER

    def test_archiving_what_is_gone_says_so_and_keeps_the_archive(
        self, store: DeadLetterStore
    ) -> None:
        store.keep(OWN, DEAD_LETTER)
        store.archive(OWN)
        assert store.archive(OWN) is False
        assert store.archive(LAMBDAS) is False
        assert store.holds(f"archive/{OWN}")
        assert not store.holds(f"archive/{LAMBDAS}")

    def test_a_dead_letter_that_is_archived_again_replaces_its_copy(
        self, store: DeadLetterStore
    ) -> None:
        """A process that is killed between copying and deleting leaves both."""
        store.keep(f"archive/{OWN}", {"payload": "older"})
        store.keep(OWN, DEAD_LETTER)
        assert store.archive(OWN) is True
        assert read(store, f"archive/{OWN}") == DEAD_LETTER

    def test_what_is_not_there(self, store: DeadLetterStore) -> None:
        assert store.read(OWN) is None
        assert not store.holds(OWN)
        assert list(store.dead_letters()) == []
