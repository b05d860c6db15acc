"""Counts of an invocation, and their metrics.

`LogMetrics` writes them to the log, which takes no request and no client: one line in the embedded
metric format
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
"""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

from dynamodb_streams_cdc.names import METRICS_NAMESPACE, Metric


@dataclass
class Counts:
    """Numbers of records of one invocation, by outcome.

    `skipped` counts changes of items that the sink does not hold, `unknown` those of them whose
    item is of no entity. `canaries` counts the canary's changes that the sink has. `breaker_open`
    is 1 if the breaker kept records from becoming dead letters, `access_denied` 1 if the function
    lacked a permission.
    """

    received: int = 0
    applied: int = 0
    stale: int = 0
    skipped: int = 0
    unknown: int = 0
    version_order_violations: int = 0
    dead_lettered: int = 0
    reported: int = 0
    repaired: int = 0
    canaries: int = 0
    breaker_open: int = 0
    access_denied: int = 0


class Metrics(Protocol):
    """Destination of an invocation's counts."""

    def emit(self, counts: Counts) -> None:
        """Publish the counts."""


class NoMetrics:
    """`Metrics` that publishes nothing."""

    def emit(self, counts: Counts) -> None:
        """Publish nothing."""


@dataclass(frozen=True)
class LogMetrics:
    """`Metrics` written to standard output under the dimensions `Pipeline` and `Processor`.

    The names of the metrics are in `names.Metric`.
    """

    pipeline: str
    processor: str

    def emit(self, counts: Counts) -> None:
        """Write one line."""
        values = {Metric[name.upper()]: value for name, value in asdict(counts).items()}
        publish(self.pipeline, self.processor, values)


def publish(pipeline: str, processor: str, values: Mapping[Metric, int]) -> None:
    """Write one line with counts by the names of their metrics."""
    line = {
        "_aws": {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": METRICS_NAMESPACE,
                    "Dimensions": [["Pipeline", "Processor"]],
                    "Metrics": [{"Name": name, "Unit": "Count"} for name in values],
                }
            ],
        },
        "Pipeline": pipeline,
        "Processor": processor,
        **{name.value: count for name, count in values.items()},
    }
    sys.stdout.write(json.dumps(line) + "\n")
