"""Compares ours with alternatives: all benchmarks, or those that are named.

    python -m benchmarks [NAME ...] [--json FILE] [--records FILE] [--changes N] [--repeats N]

Each row: ours, the peer, the ratio (above 1: ours is better), its minimum and maximum by turn.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from rich.console import Console

from benchmarks.harness.rows import Options, Row, machine, print_rows
from lambdas.example_domain.stories.purchases import SAMPLE, PurchasesError
from local.services.errors import ServiceError

NAMES = (
    "parse",
    "runner",
    "aggregation",
    "audit",
    "search",
    "cold_start",
    "end_to_end",
    "growth",
    "engine",
    "operate",
)


USAGE = 'make bench [BENCH="NAME ..."] [RECORDS=FILE] [CHANGES=N] [REPEATS=N]'


def main() -> int:
    """Print the table of each benchmark as soon as it is done; write JSON if asked to."""
    parser = argparse.ArgumentParser(
        usage=f"{USAGE}\n       python -m benchmarks [NAME ...] [--json FILE] ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to FILE")
    parser.add_argument(
        "--records", type=Path, default=SAMPLE, metavar="FILE", help="file of purchases"
    )
    parser.add_argument("--changes", type=_count, metavar="N", help="changes per variant and turn")
    parser.add_argument("--repeats", type=_count, metavar="N", help="turns of each variant")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NAMES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}: choose from {', '.join(NAMES)}")
    options = Options(arguments.records, arguments.changes, arguments.repeats)
    console = Console(stderr=True)
    try:
        measure(arguments.names or NAMES, options, arguments.json, console)
    except (ServiceError, PurchasesError) as error:
        console.print(str(error), markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted. Earlier results are above.")
        return 130
    return 0


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        message = f"expected a whole number of at least 1, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def measure(names: Sequence[str], options: Options, path: Path | None, console: Console) -> None:
    """Run benchmarks one after the other; print and write the rows of each when it ends."""
    rows: list[Row] = []
    for number, name in enumerate(names, start=1):
        console.print(f"{number} of {len(names)}: {name}")
        found = import_module(f"benchmarks.suites.{name}").run(options)
        print_rows(found)
        rows += found
        if path:
            path.write_text(_document(rows), "utf-8")


def _document(rows: list[Row]) -> str:
    """Return JSON with a line for each row."""
    about = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine()}
    lines = ",\n".join(json.dumps(asdict(row)) for row in rows)
    return f'{json.dumps(about)[:-1]}, "rows": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    sys.exit(main())
