"""Progress of the demo: one line for each stage.

On a terminal a stage shows a spinner and its progress; elsewhere (a log, a pipe) it prints a plain
line when it begins, a few while it goes on, and one with its outcome.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from dynamodb_streams_cdc.errors import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

_WIDTH = 100
_PLAIN_EVERY = 5.0  # seconds between two lines of one stage in a log


def _one_line(text: str) -> Text:
    return Text(visible(text), no_wrap=True, overflow="ellipsis")


class Stage:
    """One step of the demo; `outcome` is printed at its end."""

    def __init__(self, show: Callable[[str], None], name: str) -> None:
        self._show = show
        self.outcome = name

    def say(self, doing: str) -> None:
        self._show(doing)


class DemoConsole:
    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        if not self.console.is_terminal:
            self.console.width = _WIDTH
        self._began = time.monotonic()

    def print(self, *what: RenderableType) -> None:
        self.console.print(*what)

    def line(self, text: str = "", style: str = "") -> None:
        """Print text literally: without markup (`[x]`, `:x:`) and without breaking lines."""
        self.console.print(Text(visible(text), style), soft_wrap=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        began = time.monotonic()
        if self.console.is_terminal:
            with self.console.status(_one_line(name)) as status:
                stage = Stage(lambda doing: status.update(_one_line(f"{name}: {doing}")), name)
                yield stage
        else:
            self.line(f"{name} ...")
            stage = Stage(self._plainly(), name)
            yield stage
        line = Text.assemble(
            (f"{self.seconds:6.1f} s", "dim"),
            f"  {visible(stage.outcome)} ",
            (f"({time.monotonic() - began:.1f} s)", "dim"),
        )
        self.console.print(line, soft_wrap=True)

    def _plainly(self) -> Callable[[str], None]:
        last = time.monotonic()

        def show(doing: str) -> None:
            nonlocal last
            if time.monotonic() - last >= _PLAIN_EVERY:
                last = time.monotonic()
                self.line(f"          {doing}")

        return show
