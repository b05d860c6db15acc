"""Tests that every image store passes: the one in memory and the one on S3."""

import pytest

from dynamodb_streams_cdc import PermanentError
from dynamodb_streams_cdc.sinks.log_entries import ImageStore


class ImageStoreContract:
    """For a class with a fixture `image_store`."""

    def test_an_object_is_written_once(self, image_store: ImageStore) -> None:
        image_store.keep("a/1.json", "é")
        image_store.keep("a/1.json", "overwritten")
        assert image_store.read("a/1.json") == "é"

    def test_an_object_that_is_gone_is_nobodys_outage(self, image_store: ImageStore) -> None:
        with pytest.raises(PermanentError, match=r"a/2\.json") as gone:
            image_store.read("a/2.json")
        assert gone.value.reason == "LargeImageGone"
