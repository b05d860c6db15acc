"""Draws where the time goes: docs/images/flame-*.svg, with py-spy.

    python -m benchmarks.harness.flame [aggregation] [audit] [search] [cold_start]

py-spy looks at a process that it starts itself hundreds of times a second: that needs no privileges
and costs the process nothing. In the drawings of the sinks, waiting for an answer is time as well.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from benchmarks.harness.common import Options
from benchmarks.harness.records import batches, changes, stream
from benchmarks.peers.indexers import ours
from benchmarks.suites.aggregation import deliver
from benchmarks.suites.cold_start import MODULES, RUNTIME, answers, command, environment, installed
from benchmarks.suites.search import INSERTS, UPDATES, prepared
from benchmarks.suites.sinks import counted
from local.deployed.deployment import ROOT
from local.services.engines import dynamodb_local, opensearch
from local.workload.purchases import SAMPLE
from stacks.packaging import fetch, package

IMAGES = ROOT / "docs" / "images"
SECONDS = 20.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw what is named, or everything."""
    drawings: dict[str, Callable[[], None]] = {
        "aggregation": partial(on_dynamodb, "aggregation"),
        "audit": partial(on_dynamodb, "audit"),
        "search": search,
        "cold_start": cold_start,
    }
    parser = argparse.ArgumentParser(prog="python -m benchmarks.harness.flame", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(drawings)}")
    parser.add_argument("--work", nargs=2, metavar=("NAME", "URL"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        work(*options.work)
        return 0
    for name in options.names or drawings:
        drawings[name]()
    return 0


def on_dynamodb(name: str) -> None:
    """Draw a sink beside a DynamoDB Local that has warmed up."""
    with dynamodb_local() as engine:
        draw_at_work(name, engine.url, f"The {name} function: the lives of orders")


def search() -> None:
    """Draw the search function beside a node that has warmed up."""
    with opensearch() as node:
        draw_at_work("search", node.url, "The search function: placed and shipped orders")


def draw_at_work(name: str, url: str, title: str) -> None:
    """Warm an engine up, then draw a process that does the same."""
    work(name, url)
    program = [sys.executable, "-m", "benchmarks.harness.flame", "--work", name, url]
    draw(name, title, ["--rate", "200", "--idle"], program)


def work(name: str, url: str) -> None:
    """Process orders for a while."""
    ends = time.monotonic() + SECONDS
    if name == "search":
        placed_and_shipped = prepared(Options())
        while time.monotonic() < ends:
            write = ours(url, uuid4().hex)
            for phase in (INSERTS, UPDATES):
                for event in placed_and_shipped.events[phase]:
                    write(event)
        return
    records = stream(SAMPLE)
    with counted(name, url, units=False) as sink:
        while time.monotonic() < ends:
            deliver(sink.function, batches(list(islice(records, 1_000))))


def cold_start() -> None:
    """Draw the first answer of the aggregation function."""
    fetch("host")
    with answers() as url, TemporaryDirectory(prefix="cdc-flame-") as folder:
        runtime = installed(Path(folder, "runtime"), RUNTIME)
        event = json.dumps({"Records": changes(Options().records, 1)})
        program = command(MODULES["aggregation"], event)
        environ = environment(url, [package("host"), runtime])
        subprocess.run(program, cwd=folder, env=environ, capture_output=True, check=True)
        title = "The aggregation function, from a fresh interpreter to its first answer"
        draw("cold-start", title, ["--rate", "2000"], program, environ)


def draw(
    name: str,
    title: str,
    options: Sequence[str],
    program: Sequence[str],
    environ: Mapping[str, str] | None = None,
) -> None:
    """Run a program under py-spy and keep the drawing, under a title of its own."""
    IMAGES.mkdir(exist_ok=True)
    image = IMAGES / f"flame-{name}.svg"
    spy = Path(sys.executable).with_name("py-spy")
    recording = [str(spy), "record", "--function", "--output", str(image), *options]
    subprocess.run([*recording, "--", *program], cwd=ROOT, env=environ, check=True)
    drawn = image.read_text("utf-8")
    image.write_text(re.sub(r">[^<]*py-spy record[^<]*<", f">{title}<", drawn), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
