"""What every overflow must do; run against the one in memory and the one on S3."""

import pytest

from dynamodb_streams_cdc import Overflow, PermanentError


class OverflowContract:
    @pytest.fixture
    def overflow(self) -> Overflow:
        raise NotImplementedError

    def test_an_object_is_written_once(self, overflow: Overflow) -> None:
        overflow.keep("a/1.json", "é")
        overflow.keep("a/1.json", "overwritten")
        assert overflow.read("a/1.json") == "é"

    def test_an_object_that_is_gone_is_nobodys_outage(self, overflow: Overflow) -> None:
        with pytest.raises(PermanentError, match=r"a/2\.json") as gone:
            overflow.read("a/2.json")
        assert gone.value.reason == "OverflowGone"
