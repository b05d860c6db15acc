"""What every letter box must do; run against the one in memory and the one on S3."""

import json

import pytest

from dynamodb_streams_cdc.operations.dead_letter_store import LetterBox

LAMBDAS = "aws/lambda/1111/shardId-1/2019/11/14/2019-11-14T18.16.05-a"
OWN = "letters/search/0a/0001_2024-05-01T12:00:00.000_7.json"
LETTER = {"timestamp": "2019-11-14T18:16:05.568Z", "payload": "{}"}


class LetterBoxContract:
    @pytest.fixture
    def box(self) -> LetterBox:
        raise NotImplementedError

    def test_a_letter_is_kept_once(self, box: LetterBox) -> None:
        assert box.keep(OWN, LETTER) is True
        assert box.keep(OWN, {"payload": "another"}) is False
        body = box.read(OWN)
        assert body is not None
        assert json.loads(body) == LETTER

    def test_letters_are_listed_by_key_with_size_and_time(self, box: LetterBox) -> None:
        for key in (OWN, LAMBDAS):
            box.keep(key, LETTER)
        found = list(box.letters())
        assert [stored.key for stored in found] == [LAMBDAS, OWN]
        assert {stored.size for stored in found} == {len(json.dumps(LETTER))}
        assert all(stored.written_at > 1_500_000_000 for stored in found)

    def test_an_archived_letter_is_none_of_the_letters(self, box: LetterBox) -> None:
        box.keep(OWN, LETTER)
        assert box.archive(OWN) is True
        assert list(box.letters()) == []
        assert box.read(OWN) is None
        assert not box.holds(OWN)
        archived = box.read(f"archive/{OWN}")
        assert archived is not None
        assert json.loads(archived) == LETTER

    def test_archiving_what_is_gone_says_so_and_keeps_the_archive(self, box: LetterBox) -> None:
        box.keep(OWN, LETTER)
        box.archive(OWN)
        assert box.archive(OWN) is False
        assert box.archive(LAMBDAS) is False
        assert box.holds(f"archive/{OWN}")
        assert not box.holds(f"archive/{LAMBDAS}")

    def test_a_letter_that_is_archived_again_replaces_its_copy(self, box: LetterBox) -> None:
        """Whoever is killed between copying and deleting leaves both."""
        box.keep(f"archive/{OWN}", {"payload": "older"})
        box.keep(OWN, LETTER)
        assert box.archive(OWN) is True
        archived = box.read(f"archive/{OWN}")
        assert archived is not None
        assert json.loads(archived) == LETTER

    def test_what_is_not_there(self, box: LetterBox) -> None:
        assert box.read(OWN) is None
        assert not box.holds(OWN)
        assert list(box.letters()) == []
