"""The ports in memory keep the contracts that the real ones keep."""

import pytest

from dynamodb_streams_cdc.testing.memory import (
    MemoryAttempts,
    MemoryIdempotencyStore,
    MemoryImageStore,
    MemoryIndex,
    MemoryLedger,
    MemoryLog,
)
from tests.contracts.attempts import AttemptsContract
from tests.contracts.idempotency_store import IdempotencyStoreContract
from tests.contracts.image_store import ImageStoreContract
from tests.contracts.index import IndexContract
from tests.contracts.ledger import LedgerContract
from tests.contracts.log import LogContract


class TestMemoryLedger(LedgerContract):
    @pytest.fixture
    def ledger(self) -> MemoryLedger:
        return MemoryLedger()


class TestMemoryLog(LogContract):
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
