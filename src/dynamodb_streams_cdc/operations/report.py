"""What the reports of all work say: whether it came to its end, and whether anything is left."""

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(kw_only=True)
class Report(ABC):
    """The result of work so far.

    Attributes:
        interrupted: whether Ctrl-C ended it.
        failed: whether an error ended it.
    """

    interrupted: bool = False
    failed: bool = False

    @property
    def ended(self) -> bool:
        """Whether the work came to its end."""
        return not (self.interrupted or self.failed)

    @property
    @abstractmethod
    def complete(self) -> bool:
        """Whether the work came to its end, and nothing is left."""
