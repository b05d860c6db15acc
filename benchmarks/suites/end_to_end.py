"""The deployed app on this machine: from an acknowledged write to its visibility in each sink.

The real `cdk deploy` into the emulator, a real OpenSearch, our engine as Lambda's mapping, and the
sample stories of the domain. A lone change, which comes while nothing else is under way, is
followed until a reader sees it. Its lag is compared with the parts that the settings decide, such
as the mapping's window (a second, twice on the way to search) and OpenSearch's refresh (a second),
and with the time of an invocation with an empty batch. At full speed, the changes per second that
are in every sink are compared with those that the table takes from the same writer. The emulator is
slower than DynamoDB.
"""

import statistics
import time
from collections.abc import Iterator, Mapping

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
WARM_UP = 150
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


def run(options: Options) -> list[Row]:
    """Deploy once; write one at a time and at full speed in turns."""
    count = options.changes or STORIES
    repeats = options.repeats or REPEATS
    told = read_stories(TABLES, stories, SEED, options.records)
    alone: list[Phase] = []
    invoked: list[Mapping[str, float]] = []
    fast: list[Phase] = []
    console = DemoConsole(Console(stderr=True))
    with running_pipeline(console) as pipeline:
        traffic = Traffic(console, pipeline, SEED, NoFaults(), Poison(SEED))
        traffic.run("to warm up", told, min(WARM_UP, count))
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
            fast.append(traffic.run("at full speed", told, count))
    return [*_parts(alone, invoked), _speed(fast)]


def _parts(phases: list[Phase], invoked: list[Mapping[str, float]]) -> Iterator[Row]:
    """Compare the median lag of a lone change with its parts; a wait is half of its interval."""
    for sink in SINKS:
        lags = [each.lags[sink].p50 for each in phases]
        reads = READS[sink]
        refresh = REFRESH / 2 if sink == "search" else 0.0
        waits = (WINDOW + POLL / 2) * reads + refresh + PROBE_EVERY / 2
        known = [waits + sum(each[name] for name in ("audit", sink)[-reads:]) for each in invoked]
        what = f"lone change in {sink}"
        yield Row("end_to_end", what, "s, p50", lags, "its parts", known, at_least=NAMED)


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


def _speed(phases: list[Phase]) -> Row:
    """Compare the changes per second that are in every sink with those that the table takes."""
    arrived = [each.written.changes / each.seconds for each in phases]
    taken = [each.written.changes / each.written.seconds for each in phases]
    return Row(
        "end_to_end",
        "sustained",
        "changes/s",
        arrived,
        "same writes",
        taken,
        better="more",
        at_least=SUSTAINED,
    )
