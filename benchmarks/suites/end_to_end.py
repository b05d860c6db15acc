"""The deployed app on this machine: from an acknowledged write to its visibility in each sink.

The real `cdk deploy` into the emulator, a real OpenSearch, our engine as Lambda's mapping, and the
sample stories of the domain. At a pace that the app keeps up with, a change is followed until a
reader sees it: the mapping's window (a second, twice on the way to search) and OpenSearch's refresh
(a second) are included. A lone change comes while nothing else is under way: of its lag, the parts
that the settings decide are named, and an empty batch is invoked for the part of the invocation. At
full speed, the changes per second that are in every sink are compared with those that the table
takes from the same writer, and the processor time of each part is counted. The emulator is slower
than DynamoDB.
"""

import os
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console

from benchmarks.harness.rows import Options, Row
from dynamodb_streams_cdc.esm.policies import Policies
from local.console import DemoConsole
from local.declaration import TABLES, stories
from local.deployed.deployment import session
from local.deployed.pipeline import Pipeline, running_pipeline
from local.scenarios.fault_injection import NoFaults
from local.scenarios.lag import PROBE_EVERY
from local.scenarios.phases import Phase, Traffic
from local.workload.poison import Poison
from local.workload.stories import read_stories
from stacks.settings.processors import ProcessorSettings

SEED = 1
REPEATS = 2
STORIES = 3_000
AT_A_PACE = 150
PAUSE = 0.2
"""Seconds that each of four writers rests after a write: some 18 changes a second."""

ALONE = 8
PAUSE_ALONE = 4.0
"""Seconds between the writes of the one writer of lone changes: more than the longest lag."""

WINDOW = ProcessorSettings.model_fields["batching_window_seconds"].default
POLL = Policies().poll_seconds
REFRESH = 1.0
"""Seconds between two refreshes of an index: the default of OpenSearch."""

NAMED = 0.9
"""Goal: the share of the lag that the parts explain."""

SUSTAINED = 0.97
"""Goal: the share of the writer's speed. The last change waits for its windows: runs are long."""

INVOCATIONS = 20
SINKS = ("aggregation", "search", "audit")
READS = {"aggregation": 1, "audit": 1, "search": 2}
"""Streams on the way to a sink: search reads that of the change log."""

PROC = Path("/proc")


def run(options: Options) -> list[Row]:
    """Deploy once; write at a pace and at full speed in turns."""
    count = options.changes or STORIES
    paced = min(AT_A_PACE, count)
    repeats = options.repeats or REPEATS
    told = read_stories(TABLES, stories, SEED, options.records)
    alone: list[Phase] = []
    invoked: list[Mapping[str, float]] = []
    slow: list[Phase] = []
    fast: list[Phase] = []
    shares: list[Mapping[str, float]] = []
    console = DemoConsole(Console(stderr=True))
    with running_pipeline(console) as pipeline:
        traffic = Traffic(console, pipeline, SEED, NoFaults(), Poison(SEED))
        traffic.run("to warm up", told, paced)
        for _ in range(repeats):
            alone.append(
                traffic.run(
                    "one at a time",
                    told,
                    ALONE,
                    samples=ALONE,
                    workers=1,
                    open_stories=1,
                    pause=PAUSE_ALONE,
                )
            )
            invoked.append(invocation_seconds(pipeline))
            slow.append(traffic.run("at a pace", told, paced, samples=paced, pause=PAUSE))
            before = processor_seconds(pipeline)
            fast.append(traffic.run("at full speed", told, count))
            after = processor_seconds(pipeline)
            changes = fast[-1].written.changes
            shares.append({who: 1000 * (after[who] - before[who]) / changes for who in after})
    return [*_parts(alone, invoked), *_lags(slow), *_speed(fast), *_work(shares)]


def _lags(phases: list[Phase]) -> Iterator[Row]:
    for sink in SINKS:
        for name in ("p50", "p99"):
            values = [getattr(each.lags[sink], name) for each in phases]
            yield Row("end_to_end", f"visible in {sink}", f"s, {name}", values)


def _parts(phases: list[Phase], invoked: list[Mapping[str, float]]) -> Iterator[Row]:
    """Compare the median lag of a lone change with its parts; a wait is half of its interval."""
    for sink in SINKS:
        lags = [each.lags[sink].p50 for each in phases]
        reads = READS[sink]
        parts = {
            "batching window": [float(WINDOW * reads)] * len(lags),
            "read of the shard": [POLL / 2 * reads] * len(lags),
            "invocation": [
                sum(each[name] for name in ("audit", sink)[-reads:]) for each in invoked
            ],
            "refresh": [REFRESH / 2 if sink == "search" else 0.0] * len(lags),
            "probe": [PROBE_EVERY / 2] * len(lags),
        }
        known = [sum(part[turn] for part in parts.values()) for turn in range(len(lags))]
        what = f"lone change in {sink}"
        yield Row("end_to_end", what, "s, p50", lags, "its parts", known, at_least=NAMED)
        for name, values in parts.items():
            if any(values):
                yield Row("end_to_end", f"{what}: {name}", "s", values)


def invocation_seconds(pipeline: Pipeline) -> Mapping[str, float]:
    """Return the median time of an invocation with an empty batch, by sink."""
    [copies] = pipeline.tables
    client = session(pipeline.aws.url).client("lambda")
    found = {}
    for sink in SINKS:
        times = []
        for _ in range(INVOCATIONS):
            began = time.perf_counter()
            client.invoke(FunctionName=copies.resources.functions[sink], Payload=b'{"Records": []}')
            times.append(time.perf_counter() - began)
        found[sink] = statistics.median(times)
    client.close()
    return found


def _speed(phases: list[Phase]) -> Iterator[Row]:
    """Compare the changes per second that are in every sink with those that the table takes."""
    arrived = [each.written.changes / each.seconds for each in phases]
    taken = [each.written.changes / each.written.seconds for each in phases]
    yield Row(
        "end_to_end",
        "sustained",
        "changes/s",
        arrived,
        "same writes",
        taken,
        better="more",
        at_least=SUSTAINED,
    )


def _work(shares: list[Mapping[str, float]]) -> Iterator[Row]:
    names = sorted(
        {who for share in shares for who in share},
        key=lambda who: -statistics.median(share.get(who, 0.0) for share in shares),
    )
    for who in names:
        values = [share.get(who, 0.0) for share in shares]
        yield Row("end_to_end", f"processor: {who}", "ms/change", values)


def processor_seconds(pipeline: Pipeline) -> dict[str, float]:
    """Return the processor time of everything that takes part; nothing where there is no /proc."""
    assert pipeline.node is not None
    known = {
        os.getpid(): "writer and reader",
        pipeline.aws.pid: "emulator",
        pipeline.node.pid: "OpenSearch",
        pipeline.poller.pid: "poller",
    }
    emulated = os.getpgid(pipeline.aws.pid)
    seconds: dict[str, float] = defaultdict(float)
    for folder in PROC.glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        pid, group = int(folder.name), int(fields[2])
        who = known.get(pid) or ("functions" if group == emulated else None)
        if who is not None:
            user, system = int(fields[11]), int(fields[12])
            seconds[who] += (user + system) / os.sysconf("SC_CLK_TCK")
    return dict(seconds)
