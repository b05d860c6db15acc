"""The ports in memory keep the contracts that the real ones keep."""

import time
from collections.abc import Callable

import pytest

from dynamodb_streams_cdc.testing.memory import (
    MemoryAttempts,
    MemoryErasureRecords,
    MemoryIdempotencyStore,
    MemoryImageStore,
    MemoryIndex,
    MemoryLedger,
    MemoryLog,
    MemoryMarkers,
    MemoryObjects,
)
from tests.contracts.attempts import AttemptsContract
from tests.contracts.erasure import (
    ErasableLedgerContract,
    ErasableLogContract,
    ErasableMarkersContract,
    ErasureRecordsContract,
    ObjectVersionsContract,
)
from tests.contracts.idempotency_store import IdempotencyStoreContract
from tests.contracts.image_store import ImageStoreContract
from tests.contracts.index import IndexContract
from tests.contracts.ledger import LedgerContract
from tests.contracts.log import LogContract


class TestMemoryLedger(LedgerContract, ErasableLedgerContract):
    @pytest.fixture
    def ledger(self) -> MemoryLedger:
        return MemoryLedger()


class TestMemoryLog(LogContract, ErasableLogContract):
    @pytest.fixture
    def log(self) -> MemoryLog:
        return MemoryLog()


class TestMemoryIndex(IndexContract):
    @pytest.fixture
    def index(self) -> MemoryIndex:
        return MemoryIndex()


class TestMemoryIdempotencyStore(IdempotencyStoreContract):
    @pytest.fixture
    def store(self) -> MemoryIdempotencyStore:
        return MemoryIdempotencyStore()


class TestMemoryAttempts(AttemptsContract):
    @pytest.fixture
    def attempts(self) -> MemoryAttempts:
        return MemoryAttempts()


class TestMemoryImageStore(ImageStoreContract):
    @pytest.fixture
    def image_store(self) -> MemoryImageStore:
        return MemoryImageStore()


class TestMemoryErasureRecords(ErasureRecordsContract):
    @pytest.fixture
    def records(self) -> MemoryErasureRecords:
        return MemoryErasureRecords()


class TestMemoryMarkers(ErasableMarkersContract):
    @pytest.fixture
    def markers(self) -> MemoryMarkers:
        return MemoryMarkers()

    @pytest.fixture
    def mark(self, markers: MemoryMarkers) -> Callable[[str], object]:
        def mark(key: str) -> None:
            markers.keys.add(key)
            markers.written_at[key] = time.time()

        return mark


class TestMemoryObjects(ObjectVersionsContract):
    @pytest.fixture
    def objects(self) -> MemoryObjects:
        return MemoryObjects()

    @pytest.fixture
    def put(self, objects: MemoryObjects) -> Callable[[str, bytes], object]:
        return objects.objects.__setitem__
