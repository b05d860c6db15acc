"""Checkpoints that outlive the process, in one small file per mapping."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dynamodb_streams_cdc.errors import CdcError


class CheckpointError(CdcError):
    """Raised for a file that holds no checkpoints; names the file and the fix."""


@dataclass(frozen=True)
class CheckpointFile:
    """The places of one mapping, by shard.

    A save replaces the file as a whole: a process killed at any moment leaves the places before it
    or those after it, never half of them. One process at a time may use a file.
    """

    path: Path

    def exists(self) -> bool:
        """Return whether the file is there; it may hold no places."""
        return self.path.exists()

    def load(self) -> dict[str, str]:
        """Return the places saved last, by shard; none if there is no file.

        Raises:
            CheckpointError: the file holds something else.
        """
        try:
            found = json.loads(self.path.read_text("utf-8"))["checkpoints"]
            return {_text(shard): _text(place) for shard, place in found.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = (
                f"{self.path} is not a checkpoint file ({error!r}); remove it to let the mapping "
                "begin at its starting position"
            )
            raise CheckpointError(message) from error

    def save(self, checkpoints: Mapping[str, str]) -> None:
        """Keep these places instead of all earlier ones."""
        fresh = self.path.with_name(f".{self.path.name}.new")
        with fresh.open("w", encoding="utf-8") as file:
            json.dump({"checkpoints": dict(checkpoints)}, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)


def _text(value: object) -> str:
    if not isinstance(value, str):
        message = f"{value!r} instead of text"
        raise TypeError(message)
    return value
