"""Ours beside what people would use instead: all of it, or the benchmarks that are named.

    python -m benchmarks [NAME ...] [--json FILE] [--records FILE] [--changes N] [--repeats N]

Each row: ours, the peer, the ratio (above 1, ours is ahead) and its least and greatest turn.
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from rich.console import Console

from benchmarks.common import Options, Row, machine, print_rows
from local.errors import EngineError
from local.purchases import SAMPLE, PurchasesError

NAMES = (
    "parse",
    "runner",
    "aggregation",
    "audit",
    "batch_sizes",
    "windows",
    "search",
    "cold_start",
    "end_to_end",
    "growth",
    "engine",
    "build",
)


def main() -> int:
    """Print the table of each benchmark as soon as it is done; write JSON if asked to."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    parser.add_argument("--records", type=Path, default=SAMPLE, metavar="FILE", help="of purchases")
    parser.add_argument("--changes", type=int, metavar="N", help="for each variant in each turn")
    parser.add_argument("--repeats", type=int, metavar="N", help="turns of each variant")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NAMES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}: choose from {', '.join(NAMES)}")
    options = Options(arguments.records, arguments.changes, arguments.repeats)
    rows: list[Row] = []
    try:
        for name in arguments.names or NAMES:
            found = import_module(f"benchmarks.{name}").run(options)
            print_rows(found)
            rows += found
    except (EngineError, PurchasesError) as error:
        Console(stderr=True).print(str(error), markup=False)
        return 1
    if arguments.json:
        arguments.json.write_text(json.dumps(_document(rows), indent=2) + "\n", "utf-8")
    return 0


def _document(rows: list[Row]) -> dict[str, object]:
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "rows": [row.as_json() for row in rows],
    }


if __name__ == "__main__":
    sys.exit(main())
