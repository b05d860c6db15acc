"""Turns of variants, and rows with a ratio and its spread.

The single-core speed of a machine changes within a run, so only variants that take turns are
compared: a ratio is formed within each turn, and a row has the median, minimum and maximum.
"""

import gc
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from rich.console import Console
from rich.table import Table

from lambdas.example_domain.stories.purchases import SAMPLE

OURS = "ours"
_T = TypeVar("_T")
_Name = TypeVar("_Name")


@dataclass(frozen=True)
class Options:
    """Size of a measurement.

    Attributes:
        records: the file of purchases that the records are made from.
        changes: how many changes each variant gets in a turn; `None`: the benchmark's default. A
            benchmark that measures something else scales with it.
        repeats: turns of each variant; `None`: the benchmark's default.
    """

    records: Path = SAMPLE
    changes: int | None = None
    repeats: int | None = None


@dataclass(frozen=True)
class Row:
    """Ours and one peer, or ours alone.

    Attributes:
        benchmark: the module's name, such as `parse`.
        name: of the measurement, such as `nested`.
        unit: of the values: `us/record`, `events/s`.
        ours: one value for each turn.
        peer: name of the alternative; empty for a figure without one.
        theirs: the peer's value in the same turns.
        better: which values are better.
        at_least: the goal for the ratio, if there is one.
        at_most: the goal for our own value, if there is one. Zero must be reached in every turn;
            for other goals, the median decides.
    """

    benchmark: str
    name: str
    unit: str
    ours: Sequence[float]
    peer: str = ""
    theirs: Sequence[float] = ()
    better: Literal["less", "more"] = "less"
    at_least: float | None = None
    at_most: float | None = None

    @property
    def ratios(self) -> list[float]:
        """How many times better ours was in each turn: above 1, ours is better.

        Empty without a peer, and if a value is zero.
        """
        if not self.theirs or not all((*self.ours, *self.theirs)):
            return []
        pairs = zip(self.ours, self.theirs, strict=True)
        if self.better == "more":
            return [ours / theirs for ours, theirs in pairs]
        return [theirs / ours for ours, theirs in pairs]

    @property
    def ratio(self) -> float | None:
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; `None` where there is none."""
        if self.at_least is None and self.at_most is None:
            return None
        enough = self.at_least is None or (self.ratio is not None and self.ratio >= self.at_least)
        decisive = max if self.at_most == 0 else statistics.median
        little = self.at_most is None or decisive(self.ours) <= self.at_most
        return enough and little

    @property
    def goal(self) -> str:
        """The goal in words."""
        if self.at_least is not None:
            return f"at least {self.at_least:.3g} x"
        return "" if self.at_most is None else f"at most {self.at_most:.3g}"

    @classmethod
    def from_json(cls, described: Mapping[str, Any]) -> "Row":
        """Return the row of a file that `make bench` wrote."""
        return cls(**{each.name: described[each.name] for each in fields(cls)})


def turns(variants: Mapping[_Name, Callable[[], _T]], repeats: int) -> dict[_Name, list[_T]]:
    """Return the results of each variant by turn; another one begins every turn."""
    results: dict[_Name, list[_T]] = {name: [] for name in variants}
    names = list(variants)
    for turn in range(repeats):
        first = turn % len(names)
        for name in [*names[first:], *names[:first]]:
            gc.collect()  # garbage of one variant is not collected in the time of the next
            results[name].append(variants[name]())
    return results


def compare(
    benchmark: str,
    name: str,
    unit: str,
    values: Mapping[str, Sequence[float]],
    *,
    better: Literal["less", "more"] = "less",
    goals: Mapping[str, float] | None = None,
    at_most: float | None = None,
) -> list[Row]:
    """Return a row for ours and each of its peers.

    `values` are those of all variants by turn, ours under `OURS`; `goals` are ratios by peer,
    `at_most` is the goal for our value.
    """
    ours = values[OURS]
    goals = goals or {}
    return [
        Row(benchmark, name, unit, ours, peer, theirs, better, goals.get(peer), at_most)
        for peer, theirs in values.items()
        if peer != OURS
    ]


def by_name(results: Mapping[str, Sequence[object]], name: str) -> dict[str, list[float]]:
    """Return one attribute of each variant's results."""
    return {variant: [getattr(each, name) for each in found] for variant, found in results.items()}


def machine() -> dict[str, Any]:
    """Return the properties of the machine that figures depend on."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def print_rows(rows: Iterable[Row], console: Console | None = None) -> None:
    """Print the table: medians, and the ratio with its minimum and maximum."""
    console = console or Console(width=None if sys.stdout.isatty() else 150)
    table = Table(box=None, header_style="bold")
    for header in ("", "", "ours", "peer", "", "unit", "ratio", "spread", "goal", ""):
        right = header in ("ours", "ratio", "spread") or len(table.columns) == 4
        table.add_column(header, justify="right" if right else "left", no_wrap=True)
    before = None
    for row in rows:
        table.add_row(*_cells(row, before))
        before = row
    console.print(table)


def _cells(row: Row, before: Row | None) -> list[str]:
    theirs = figure(statistics.median(row.theirs)) if row.theirs else ""
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    spread = f"{min(row.ratios):.2f}-{max(row.ratios):.2f}" if row.ratios else _spread(row.ours)
    met = {None: "", True: "met", False: "[bold red]missed[/]"}[row.met]
    same = before is not None and before.benchmark == row.benchmark
    return [
        "" if same else row.benchmark,
        "" if same and before is not None and before.name == row.name else row.name,
        figure(statistics.median(row.ours)),
        row.peer,
        theirs,
        row.unit,
        ratio,
        spread,
        row.goal,
        met,
    ]


def _spread(values: Sequence[float]) -> str:
    return f"{figure(min(values))}-{figure(max(values))}" if len(set(values)) > 1 else ""


def figure(value: float) -> str:
    """Return a number with about three digits."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
