"""`Once`: how often an effect is repeated while its marker cannot be written."""

from dataclasses import dataclass
from functools import partial

import pytest

from dynamodb_streams_cdc import Once, RetryableError, idempotency
from dynamodb_streams_cdc.errors import AccessDeniedError
from dynamodb_streams_cdc.testing.memory import MemoryIdempotencyStore
from tests.factories import change, order

PLACED = change(1, None, order())


@dataclass
class Failing(MemoryIdempotencyStore):
    """Writes no marker while `error` is set."""

    error: Exception | None = None

    def mark(self, key: str, keep_seconds: int) -> None:
        if self.error is not None:
            raise self.error
        super().mark(key, keep_seconds)


def tried(once: Once, effects: list[str], version: int = 1) -> None:
    changed = change(version, None, order())
    with pytest.raises(RetryableError):
        once.run(changed, partial(effects.append, changed.version))


@pytest.mark.parametrize("error", [RetryableError("throttled"), AccessDeniedError("denied")])
def test_a_failed_marker_does_not_repeat_the_effect(error: Exception) -> None:
    store, sent = Failing(error=error), list[str]()
    once = Once(store, "mail")
    for _ in range(20):
        tried(once, sent)
    assert len(sent) == 1

    store.error = None
    assert not once.run(PLACED, lambda: sent.append("again"))
    assert len(sent) == 1
    assert len(store.keys) == 1
    assert not Once(store, "mail").run(PLACED, lambda: sent.append("again"))


def test_a_new_process_repeats_the_effect_once() -> None:
    store, sent = Failing(error=RetryableError("throttled")), list[str]()
    for once in (Once(store, "mail"), Once(store, "mail")):
        tried(once, sent)
        tried(once, sent)
    assert len(sent) == 2


def test_a_written_marker_is_not_remembered() -> None:
    """Memory holds the effects without a marker only: an erased marker is as if never written."""
    store, sent = Failing(error=RetryableError("throttled")), list[str]()
    once = Once(store, "mail")
    tried(once, sent)
    store.error = None
    once.run(PLACED, lambda: sent.append("again"))
    store.keys.clear()
    assert once.run(PLACED, lambda: sent.append("again"))


def test_the_oldest_unmarked_effect_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MOST_UNMARKED", 2)
    store, sent = Failing(error=RetryableError("throttled")), list[str]()
    once = Once(store, "mail")
    for version in (1, 2, 3):
        tried(once, sent, version)
    tried(once, sent, 3)
    tried(once, sent, 2)
    assert len(sent) == 3
    tried(once, sent, 1)
    assert len(sent) == 4
