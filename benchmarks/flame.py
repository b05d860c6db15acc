"""Draws the flame graph of one function, alone on its engines.

    python -m benchmarks.flame SINK FILE.svg

SINK is aggregation, audit or search. The graph begins at `deliver`, when everything is warm. It is
drawn by py-spy, which uv fetches and which reads this process: run it as root, or allow ptrace.
"""

import os
import signal
import subprocess
import sys
from uuid import uuid4

from benchmarks.harness.delivery import deliver
from benchmarks.harness.operated import Operated
from benchmarks.harness.records import batches, changes
from benchmarks.suites.shard import SINKS, prepare
from lambdas.example_domain.stories.purchases import SAMPLE
from local.services import service

CHANGES = 20_000
WARM_UP = 2_000
RATE = 500
"""Samples a second."""


def main(arguments: list[str]) -> int:
    """Deliver changes to the function while py-spy samples; return the exit status."""
    if len(arguments) != 2 or arguments[0] not in SINKS:
        sys.stderr.write(__doc__ or "")
        return 2
    sink, file = arguments
    events = batches(changes(SAMPLE, CHANGES))
    with service.dynamodb_local() as dynamodb, service.opensearch() as node:
        stores = Operated(f"flame-{uuid4()}", dynamodb.url, node.url)
        prepare(stores, sink)
        function = stores.functions[sink]
        deliver(function, batches(changes(SAMPLE, WARM_UP, shop="warm-up/")))
        spy = ["py-spy", "record", "--rate", str(RATE), "--output", file, "--pid", str(os.getpid())]
        sampler = subprocess.Popen(
            ["uv", "tool", "run", *spy], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert sampler.stdout is not None
        for line in sampler.stdout:
            sys.stderr.write(line)
            if "Sampling" in line:
                break
        deliver(function, events)
        sampler.send_signal(signal.SIGINT)
        sys.stderr.write(sampler.communicate()[0])
        return sampler.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
