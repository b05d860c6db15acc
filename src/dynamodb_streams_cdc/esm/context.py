"""State that the parts of one engine share."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from dynamodb_streams_cdc.esm.batch import Record
from dynamodb_streams_cdc.esm.configuration import MappingConfiguration
from dynamodb_streams_cdc.esm.metrics import Metrics
from dynamodb_streams_cdc.esm.policies import Policies

L = TypeVar("L")
"""The lane that waits for an answer."""


class LossReason(StrEnum):
    """Reason of a loss; the text is for timelines and logs."""

    UNREAD = "lost, the stream forgot them before they were read"
    FORGOTTEN = "lost, the stream forgot them after a day"
    NO_DESTINATION = "given up, and there is no destination to report it to"
    DESTINATION_FAILED = "given up, and the destination is gone"

    @property
    def given_up(self) -> bool:
        """Whether the mapping gave the records up."""
        return self in (LossReason.NO_DESTINATION, LossReason.DESTINATION_FAILED)


@dataclass(frozen=True, slots=True)
class Loss:
    """Records that are neither done nor reported."""

    reason: LossReason
    records: tuple[Record, ...]


@dataclass
class Context(Generic[L]):
    """The mapping, its policies, and the commands that wait for an answer.

    Attributes:
        outstanding: the lane that waits, by token.
        abandoned: tokens whose answers no longer matter.
        losses: since they were last asked for.
        last_result: `LastProcessingResult` as `ListEventSourceMappings` returns it.
    """

    mapping: MappingConfiguration
    policies: Policies
    new_id: Callable[[], str]
    metrics: Metrics = field(default_factory=Metrics)
    outstanding: dict[int, L] = field(default_factory=dict)
    abandoned: set[int] = field(default_factory=set)
    losses: list[Loss] = field(default_factory=list)
    last_result: str = "No records processed"
    _tokens: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def await_answer(self, lane: L) -> int:
        """Return a new token, whose answer is for `lane`."""
        token = next(self._tokens)
        self.outstanding[token] = lane
        return token

    def abandon(self, token: int) -> None:
        """Let the answer to a token count for nothing."""
        del self.outstanding[token]
        self.abandoned.add(token)

    def take(self, token: int) -> "L | None":
        """Return the lane that waits for an answer, and end its wait; None if abandoned.

        Raises:
            ValueError: the token was never given out, or has had its answer.
        """
        if token in self.abandoned:
            self.abandoned.remove(token)
            return None
        lane = self.outstanding.pop(token, None)
        if lane is None:
            message = f"no command with token {token} waits for an answer"
            raise ValueError(message)
        return lane
