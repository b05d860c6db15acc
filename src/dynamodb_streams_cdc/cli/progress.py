"""Progress of long work on the terminal's error stream: count, rate, time left."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from dynamodb_streams_cdc.cli.output import stderr_console
from dynamodb_streams_cdc.errors import visible

EVERY_SECONDS = 10.0
"""Between two lines, where no person looks on."""


class Progress:
    """Progress of one piece of work.

    Attributes:
        total: how much there is, about; 0 if that is not known.
    """

    def __init__(self, console: Console, total: int, noun: str = "items") -> None:
        self.total = total
        self._console, self._noun = console, noun
        self._status = console.status("") if console.is_terminal else None
        self._begun = time.monotonic()
        self._first: int | None = None
        self._told = self._begun

    def __enter__(self) -> "Progress":
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, done: int, phase: str = "") -> None:
        """Show how much is done, by all runs of the job."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._begun = done, now
        text = Text(visible(self._text(done, now - self._begun, phase)))
        if self._status is not None:
            self._status.update(text)
        elif now - self._told >= EVERY_SECONDS:
            self._told = now
            self._console.print(text, soft_wrap=True)

    def say(self, text: str) -> None:
        """Show a sentence that stays."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _text(self, done: int, seconds: float, phase: str) -> str:
        assert self._first is not None
        rate = (done - self._first) / seconds if seconds > 0 else 0.0
        parts = [f"{phase}: " if phase else "", f"{done:,} {self._noun}"]
        if rate:
            parts.append(f", {rate:,.0f} a second")
            if self.total > done:
                parts.append(f", about {_span((self.total - done) / rate)} left")
        return "".join(parts)


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{rest} s"


@contextmanager
def progress(total: int, noun: str = "items", *, quiet: bool = False) -> Iterator[Progress]:
    """Show progress; on nothing at all if `quiet`."""
    console = Console(file=sys.stderr, quiet=True) if quiet else stderr_console()
    with Progress(console, total, noun) as made:
        yield made
