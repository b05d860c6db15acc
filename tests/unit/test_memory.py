"""The ports in memory keep the contracts that the real ones keep."""

import pytest

from dynamodb_streams_cdc.testing.memory import (
    MemoryAttempts,
    MemoryIndex,
    MemoryLedger,
    MemoryLog,
    MemoryMarkers,
    MemoryOverflow,
)
from tests.contracts.attempts import AttemptsContract
from tests.contracts.index import IndexContract
from tests.contracts.ledger import LedgerContract
from tests.contracts.log import LogContract
from tests.contracts.markers import MarkersContract
from tests.contracts.overflow import OverflowContract


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


class TestMemoryMarkers(MarkersContract):
    @pytest.fixture
    def markers(self) -> MemoryMarkers:
        return MemoryMarkers()


class TestMemoryAttempts(AttemptsContract):
    @pytest.fixture
    def attempts(self) -> MemoryAttempts:
        return MemoryAttempts()


class TestMemoryOverflow(OverflowContract):
    @pytest.fixture
    def overflow(self) -> MemoryOverflow:
        return MemoryOverflow()
