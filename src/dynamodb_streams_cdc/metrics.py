"""Counts of an invocation as CloudWatch metrics, through the log: no request, no client.

One line in the embedded metric format
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
"""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from dynamodb_streams_cdc.counts import Counts

NAMESPACE = "DynamoDbStreamsCdc"


@dataclass(frozen=True)
class LogMetrics:
    """`Metrics` written to standard output under the dimensions `Environment` and `Processor`.

    Names are those of `Counts` in camel case: Received, Applied, Stale, StaleButNewer,
    DeadLettered, Reported, Repaired, Canaries, BreakerOpen, AccessDenied.
    """

    environment: str
    processor: str

    def emit(self, counts: Counts) -> None:
        """Write one line."""
        values = {_camel(name): value for name, value in asdict(counts).items()}
        publish(self.environment, self.processor, values)


def publish(environment: str, processor: str, values: Mapping[str, int]) -> None:
    """Write one line with counts by the names of their metrics."""
    line = {
        "_aws": {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE,
                    "Dimensions": [["Environment", "Processor"]],
                    "Metrics": [{"Name": name, "Unit": "Count"} for name in values],
                }
            ],
        },
        "Environment": environment,
        "Processor": processor,
        **values,
    }
    sys.stdout.write(json.dumps(line) + "\n")


def _camel(name: str) -> str:
    return name.title().replace("_", "")
