"""A process with a folder and a log of its own, which ends when its starter does."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from local.services.process_guard import ProcessGuard

LOG_NAME = "process.log"
_TAIL_LINES = 12


class GuardedProcess:
    """A process under a `ProcessGuard`.

    As a context manager it is started on entry and gone, with its folder, on exit. In between it
    can be stopped (or killed) and started again.
    """

    folder: Path
    pid: int = 0
    _guard: ProcessGuard | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def guard(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        grace: float,
        directory: Path | None = None,
    ) -> ProcessGuard:
        """Return the guard of the process; the first call makes it."""
        if self._guard is None:
            self._guard = ProcessGuard(
                command,
                folder=self.folder,
                log=self.log,
                environment=environment,
                directory=directory,
                grace=grace,
            )
        return self._guard

    def start(self) -> None:
        """Start the process and return when it is ready to work."""
        raise NotImplementedError

    def stop(self) -> None:
        """End the process politely and keep the folder: `start` brings it back with its data."""
        if self._guard is not None:
            self._guard.stop()

    def kill(self) -> None:
        """End the process with SIGKILL, as a crash does, and keep the folder."""
        if self._guard is not None:
            self._guard.kill()

    def close(self) -> None:
        """End the process and remove its folder; return when both are gone."""
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> Path:
        return self.folder / LOG_NAME

    @property
    def status(self) -> int | None:
        """Exit status of the process; None while it runs, and before its first start."""
        return None if self._guard is None else self._guard.status()

    @property
    def running(self) -> bool:
        return self._guard is not None and self._guard.status() is None

    def tail(self, lines: int = _TAIL_LINES, *, without: re.Pattern[str] | None = None) -> str:
        """Return the last lines of the log.

        With a pattern, those that do not begin with it, the same ones once, where they came last.
        """
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        kept = text.splitlines()
        if without:
            others = [line for line in reversed(kept) if not without.match(line)]
            kept = [*dict.fromkeys(others)][::-1]
        return "\n".join(kept[-lines:])
